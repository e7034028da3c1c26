"""Large files over HTTP: a download that breaks off goes on where it was, or is not kept at all.

What is already there is continued only if the server says that it is still the same file; two
versions are never joined.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from vpr_ros.errors import ConfigError, DownloadError

CHUNK = 1 << 20
SLOWEST = 1024  # bytes a second; less over the time of a stall is one
PROGRESS = 1 << 16  # bytes beyond the furthest yet that make the attempts count anew
PASSING = (408, 425, 429, 500, 502, 503, 504)
RANGE_NOT_SATISFIABLE = 416

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for."""

    stall_s: float = 30.0
    attempts: int = 5  # without progress
    pause_s: float = 0.5  # before the second attempt; doubled before each further one
    longest_pause_s: float = 30.0


@dataclass(frozen=True)
class Downloaded:
    """A file that has come whole."""

    path: Path
    address: str
    sha256: str


class Interrupted(Exception):
    """This attempt failed; another may not."""


class Refused(Exception):
    """This address will not give the file."""


@dataclass(frozen=True)
class Origin:
    """What the bytes of a part are of: kept beside it."""

    address: str
    validator: str  # strong ETag, or Last-Modified; empty: the part cannot be continued
    size: int | None

    @staticmethod
    def of(address: str, response: HTTPResponse, size: int | None) -> Origin:
        tag = response.headers.get('ETag', '')
        strong = tag if tag.startswith('"') else ''
        return Origin(address, strong or response.headers.get('Last-Modified', ''), size)

    def is_same(self, other: Origin) -> bool:
        """Whether two answers are of one version of a file, as far as they say."""
        sizes = {self.size, other.size} - {None}
        return self.validator == other.validator and len(sizes) < 2


def download(
    addresses: Sequence[str],
    path: Path,
    report: Report = lambda done, total: None,
    patience: Patience | None = None,
) -> Downloaded:
    """Fetch a file from the first address that gives it.

    Until it is whole it lies beside `path` with the ending `.part`; the next call continues it.

    Args:
        addresses: http or https, best first.
        path: the file; its folder is made.
        report: takes bytes there and bytes in all, 0 while unknown.
        patience: how long a server is waited for.

    Raises:
        ConfigError: an address is not of http or https.
        DownloadError: no address gives the file, the disk is full, or another process is at it.
    """
    for address in addresses:
        if not address.lower().startswith(('http://', 'https://')):
            raise ConfigError(f'expected an http or https address, found {address}')
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Part(path, report)
    with part.opened():
        reasons = []
        for address in addresses:
            try:
                _persist(address, part, patience or Patience())
                return Downloaded(path, address, part.finished())
            except Refused as error:
                reasons.append(f'{address}: {" ".join(str(error).split())}')  # one line
    raise DownloadError(
        f'{path.name} could not be fetched: {"; ".join(reasons)}; '
        'try again later, or another address with --url'
    )


class Part:
    """The file while it grows."""

    def __init__(self, path: Path, report: Report) -> None:
        self.path = path
        self.part = path.with_name(path.name + '.part')
        self.note = path.with_name(path.name + '.part.json')
        self.report = report
        self.file: BinaryIO

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the part alone."""
        with open(self.part, 'a+b') as self.file:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DownloadError(f'another process is fetching {self.path.name}') from None
            try:
                yield
            finally:
                if not self.size:
                    self.restart()
                    self.part.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        self.file.seek(0, os.SEEK_END)
        return self.file.tell()

    def origin(self) -> Origin | None:
        """What the bytes are of, if they can be continued."""
        try:
            origin = Origin(**json.loads(self.note.read_text(encoding='utf-8')))
        except (OSError, TypeError, ValueError):
            return None
        whole = origin.size is None or self.size <= origin.size
        return origin if origin.validator and whole else None

    def restart(self, origin: Origin | None = None) -> None:
        """Forget the bytes."""
        self.note.unlink(missing_ok=True)
        self.file.truncate(0)
        if origin:
            self.note.write_text(json.dumps(asdict(origin)), encoding='utf-8')

    def reserve(self, size: int) -> None:
        """Refuse a file that does not fit before it is fetched."""
        free = shutil.disk_usage(self.path.parent).free
        if free < size:
            raise DownloadError(
                f'{self.path.parent} has {free / 1e9:.1f} GB free, expected {size / 1e9:.1f} GB '
                f'for {self.path.name}: free some, or choose another folder'
            )

    def write(self, data: bytes) -> None:
        try:
            self.file.write(data)
            self.file.flush()
        except OSError as error:
            raise DownloadError(f'cannot write {self.part}: {error.strerror}') from None

    def finished(self) -> str:
        """Give the file its name; returns its SHA-256."""
        os.fsync(self.file.fileno())
        digest = sha256(self.part)
        os.replace(self.part, self.path)
        self.note.unlink(missing_ok=True)
        return digest


def sha256(path: Path | str) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _persist(address: str, part: Part, patience: Patience) -> None:
    """Attempt until the file is whole, or too often without progress."""
    failures, furthest = 0, part.size
    while True:
        try:
            return _attempt(address, part, patience.stall_s)
        except Interrupted as error:
            failures = 0 if part.size > furthest + PROGRESS else failures
            furthest = max(furthest, part.size)
            failures += 1
            if failures >= patience.attempts:
                raise Refused(f'{error}, {failures} times') from None
        time.sleep(min(patience.pause_s * 2 ** (failures - 1), patience.longest_pause_s))


def _attempt(address: str, part: Part, stall_s: float) -> None:
    origin = part.origin()
    if origin and origin.address != address:
        origin = None  # what came from there is kept until this one gives something
    if origin and part.size == origin.size:
        return  # it was whole when the last run ended
    with _open(address, part, origin, stall_s) as response:
        size = _begin(address, part, origin, response)
        _copy(response, part, size or 0, stall_s)
    if size is not None and part.size != size:
        raise Interrupted(f'the connection ended after {part.size} of {size} bytes')


def _open(address: str, part: Part, origin: Origin | None, stall_s: float) -> HTTPResponse:
    headers = {'User-Agent': 'vpr_ros', 'Accept-Encoding': 'identity'}
    if origin and part.size:
        headers |= {'Range': f'bytes={part.size}-', 'If-Range': origin.validator}
    try:
        response = urlopen(Request(address, headers=headers), timeout=stall_s)
    except HTTPError as error:
        error.close()
        if error.code == RANGE_NOT_SATISFIABLE and origin:
            part.restart()
        elif error.code not in PASSING:
            raise Refused(f'{error.code} {error.reason}') from None
        raise Interrupted(f'{error.code} {error.reason}') from None
    except (InvalidURL, ValueError) as error:
        raise Refused(str(error)) from None
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        kind = Refused if isinstance(reason, ssl.SSLCertVerificationError) else Interrupted
        raise kind(str(reason) or type(reason).__name__) from None
    if address.startswith('https:') and not response.url.startswith('https:'):
        response.close()
        raise Refused(f'it leads to {response.url}, which is not encrypted')
    return response


def _begin(address: str, part: Part, origin: Origin | None, response: HTTPResponse) -> int | None:
    """Decide what the body continues; returns the size of the whole file, None if not said."""
    if response.status == 206:
        start, size = _range(response.headers.get('Content-Range', ''))
        if origin and start == part.size and origin.is_same(Origin.of(address, response, size)):
            return size
        part.restart()  # the file has changed, or it is not what was asked for
        raise Interrupted('the file changed')
    length = response.headers.get('Content-Length', '')
    size = int(length) if length.isdigit() else None
    part.restart(Origin.of(address, response, size))
    if size is not None:
        part.reserve(size)
    return size


def _range(text: str) -> tuple[int, int | None]:
    """Start and size of the file from `bytes START-END/SIZE`; -1 where it cannot be read."""
    span, _, size = text.removeprefix('bytes ').partition('/')
    start = span.partition('-')[0]
    return int(start) if start.isdigit() else -1, int(size) if size.isdigit() else None


def _copy(response: HTTPResponse, part: Part, total: int, stall_s: float) -> None:
    began, received = time.monotonic(), 0
    while True:
        try:
            data = response.read1(CHUNK)
        except TimeoutError:
            raise Interrupted(f'no data for {stall_s:g} s') from None
        except (OSError, HTTPException) as error:
            raise Interrupted(str(error) or type(error).__name__) from None
        if not data:
            return
        part.write(data)
        received += len(data)
        part.report(part.size, total)
        now = time.monotonic()
        if now - began > stall_s:
            if received < SLOWEST * (now - began):
                raise Interrupted(f'less than {SLOWEST} bytes a second for {stall_s:g} s')
            began, received = now, 0
