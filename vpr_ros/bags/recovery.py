"""Recordings without a usable index, read from front to back as far as they go."""

from __future__ import annotations

import bz2
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Protocol

import lz4.frame
from rosbags.interfaces import Connection

from vpr_ros.bags.codec import serialization
from vpr_ros.errors import BagError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK_LIMIT_BYTES = 2**30  # larger ones are taken for damage, not for memory to be allocated
PIECE_BYTES = 2**16

DECOMPRESSORS = {
    'bz2': bz2.BZ2Decompressor,
    'lz4': lz4.frame.LZ4FrameDecompressor,
    'zstd': zstd.ZstdDecompressor,
}

Message = tuple[int, int, bytes]  # connection id, recording stamp in nanoseconds, serialised


class Scan(Protocol):
    """One pass over a damaged file; it tells what it met and never raises for what is damaged."""

    connections: dict[int, Connection]
    damage: list[str]

    def __iter__(self) -> Iterator[Message]: ...


ScanType = Callable[[Path], Scan]


class RecoveredStorage:
    """A recording file that is read again from the front whenever messages are asked for.

    Raises:
        BagError: nothing can be recovered, or the messages are not those of ROS.
    """

    def __init__(self, path: Path, scan: ScanType, reason: str) -> None:
        self.path = path
        self._scan = scan
        first, counts = scan(path), Counter[int]()
        self.start_ns, self.end_ns = 2**63, -1
        for connection_id, stamp_ns, _ in _readable(first):
            counts[connection_id] += 1
            self.start_ns, self.end_ns = min(self.start_ns, stamp_ns), max(self.end_ns, stamp_ns)
        more = [f'and {len(first.damage) - 3} more'] if len(first.damage) > 3 else []
        found = '; '.join([reason, *first.damage[:3], *more])
        if not counts:
            raise BagError(f'{path} holds no readable message ({found}).')
        self.connections = [x._replace(msgcount=counts[x.id]) for x in first.connections.values()]
        formats = {serialization(x) for x in self.connections}
        if formats.isdisjoint(('cdr', 'ros1')):
            raise BagError(
                f'{path} is not a recording of ROS: its messages are serialised as '
                f'{", ".join(sorted(formats))}, expected cdr or ros1.'
            )
        self.notes = [
            f'{path.name} was read without its index, {counts.total()} messages are recovered '
            f'({found}).'
        ]

    def messages(
        self, topics: Collection[str], start_ns: int, stop_ns: int
    ) -> Iterator[tuple[Connection, int, bytes]]:
        wanted = {x.id: x for x in self.connections if x.topic in topics}
        for connection_id, stamp_ns, data in _readable(self._scan(self.path)):
            if connection_id in wanted and start_ns <= stamp_ns < stop_ns:
                yield wanted[connection_id], stamp_ns, data

    def close(self) -> None:
        """Nothing is held open between passes."""


def _readable(scan: Scan) -> Iterator[Message]:
    """Messages as far as the disk gives them."""
    try:
        yield from scan
    except OSError as error:
        scan.damage.append(f'the disk gives no more: {error.strerror}')


def settled(messages: Iterator[Message]) -> Iterator[Message]:
    """Yield each message once the record after it is found sound.

    After a power cut a file often ends in zeros, and the last message then ends in them too.
    """
    held: Message | None = None
    for message in messages:
        if held is not None:
            yield held
        held = message
    if held is not None:
        yield held


def inflate(data: bytes, compression: str, size: int) -> bytes:
    """Decompress as much of a chunk as there is, at most about `size` bytes.

    Raises:
        BagError: the compression is not known.
    """
    if compression in ('', 'none'):
        return data
    if compression not in DECOMPRESSORS:
        raise BagError(f'chunk compression {compression!r} is not known')
    decompressor, result = DECOMPRESSORS[compression](), bytearray()
    try:
        for start in range(0, len(data), PIECE_BYTES):
            if decompressor.eof or len(result) >= size:
                break
            result += decompressor.decompress(data[start : start + PIECE_BYTES])
    except Exception:  # each library has its own error; what came before it is sound
        pass
    return bytes(result)
