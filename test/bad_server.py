"""A web server on loopback that misbehaves as told, one way for each request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """How one request is answered; by default as it should be."""

    status: int = 200
    body: bytes | None = None  # another file than the server's
    etag: str | None = '"one"'
    modified: str = ''
    ranges: bool = True  # knows Range
    if_range: bool = True  # knows If-Range
    ends_after: int | None = None  # bytes of the body, then the connection ends
    stalls_after: int | None = None  # bytes of the body, then nothing more comes
    drips: bool = False  # a byte now and then
    length: int | None = None  # claims this Content-Length
    says_length: bool = True
    chunked: bool = False
    shift: int = 0  # sends a range that begins elsewhere
    redirect: str = ''


class BadServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(('127.0.0.1', 0), Handler)
        self.content = content
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()

    def url(self, path: str = '/weights.pth') -> str:
        return f'http://127.0.0.1:{self.server_address[1]}{path}'

    def next_answer(self, path: str, headers: dict[str, str]) -> Answer:
        """The next of the answers; the last one over and over; a good one if there is none."""
        self.requests.append((path, headers))
        if not self.answers:
            return Answer()
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def ranges_asked(self) -> list[str]:
        return [headers.get('range', '') for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: BadServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.next_answer(self.path, headers)
        self.close_connection = True
        with suppress(OSError):  # the client had enough
            self._send(answer, headers)

    def _send(self, answer: Answer, asked: dict[str, str]) -> None:
        body = self.server.content if answer.body is None else answer.body
        if answer.redirect:
            self._head(302, {'Location': answer.redirect, 'Content-Length': '0'})
            return
        if answer.status != 200:
            self._head(answer.status, {'Content-Length': '0'})
            return
        fields = {'ETag': answer.etag} if answer.etag else {}
        fields |= {'Last-Modified': answer.modified} if answer.modified else {}
        status, start = 200, 0
        same = not answer.if_range or asked.get('if-range') in (answer.etag, answer.modified)
        if answer.ranges and 'range' in asked and same:
            start = int(asked['range'].removeprefix('bytes=').rstrip('-')) + answer.shift
            if start >= len(body):
                self._head(416, {'Content-Range': f'bytes */{len(body)}'})
                return
            status = 206
            fields['Content-Range'] = f'bytes {start}-{len(body) - 1}/{len(body)}'
        self._body(answer, body[start:], status, fields)

    def _body(self, answer: Answer, body: bytes, status: int, fields: dict[str, str]) -> None:
        if answer.chunked:
            fields['Transfer-Encoding'] = 'chunked'
        elif answer.says_length:
            fields['Content-Length'] = str(len(body) if answer.length is None else answer.length)
        self._head(status, fields)
        if answer.chunked:
            body = b'%x\r\n%b\r\n0\r\n\r\n' % (len(body), body)
        if answer.drips:
            for byte in body:
                self.wfile.write(bytes([byte]))
                if self.server.over.wait(0.02):
                    return
        stops = answer.stalls_after if answer.ends_after is None else answer.ends_after
        self.wfile.write(body[:stops])
        if answer.stalls_after is not None:
            self.server.over.wait(30)

    def _head(self, status: int, fields: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header('Connection', 'close')
        self.end_headers()


@contextmanager
def serving(content: bytes) -> Iterator[BadServer]:
    """A server of one file under every path."""
    server = BadServer(content)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
