"""The record stream of an mcap file, without footer and summary (mcap.dev/spec)."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)

from vpr_ros.bags.recovery import CHUNK_LIMIT_BYTES, Message, inflate, settled
from vpr_ros.errors import BagError

MAGIC = b'\x89MCAP0\r\n'
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
RECORDS, PRIVATE, HEAD_BYTES = range(0x01, 0x10), 0x80, 9
DEFINITIONS = {
    'ros1msg': MessageDefinitionFormat.MSG,
    'ros2msg': MessageDefinitionFormat.MSG,
    'ros2idl': MessageDefinitionFormat.IDL,
    'omgidl': MessageDefinitionFormat.IDL,
}


class McapScan:
    """One pass over an mcap file; see `recovery.Scan`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: dict[int, Connection] = {}
        self.damage: list[str] = []
        self._schemas: dict[int, tuple[str, str, str]] = {}

    def __iter__(self) -> Iterator[Message]:
        with self.path.open('rb') as file:
            size = file.seek(0, 2)
            file.seek(len(MAGIC))
            try:
                yield from settled(self._records(file, size))
            except BagError as error:
                self.damage.append(f'damaged from byte {file.tell()} of {size}: {error}')

    def _records(self, file: BinaryIO, size: int) -> Iterator[Message]:
        """Messages of the file, in chunks and outside."""
        while head := file.read(HEAD_BYTES):
            start, left = file.tell(), size - file.tell()
            op, length = _unpack_head(head)
            if op in (DATA_END, FOOTER):
                return
            if op == CHUNK:
                yield from self._chunk(file, start, min(length, left))
            elif length <= left and op in (SCHEMA, CHANNEL, MESSAGE):
                yield from self._record(op, file.read(length))
            if length > left:
                self.damage.append(f'cut within the record at byte {start} of {size}')
                return
            file.seek(start + length)
        self.damage.append(f'ends at byte {size} without a footer')

    def _chunk(self, file: BinaryIO, start: int, length: int) -> Iterator[Message]:
        """Messages of a chunk, which may be cut: then those before the cut."""
        try:
            _, _, size, checksum, name = struct.unpack('<QQQII', file.read(32))
            if name > length:
                raise BagError('its compression has no name')
            compression = file.read(name).decode()
            (packed,) = struct.unpack('<Q', file.read(8))
            if max(packed, size) > CHUNK_LIMIT_BYTES:
                raise BagError(f'announces {max(packed, size)} bytes')
            data = inflate(file.read(min(packed, length - 40 - name)), compression, size)
            if len(data) != size:
                self.damage.append(f'chunk at byte {start}: {len(data)} of {size} bytes readable')
            elif checksum and crc32(data) != checksum:
                raise BagError('its checksum does not match')
            yield from settled(self._chunk_records(data))
        except (BagError, ValueError, struct.error) as error:
            self.damage.append(f'chunk at byte {start} is damaged: {error}')

    def _chunk_records(self, data: bytes) -> Iterator[Message]:
        at = 0
        while at + HEAD_BYTES <= len(data):
            op, length = _unpack_head(data[at : at + HEAD_BYTES])
            at += HEAD_BYTES + length
            if at <= len(data):
                yield from self._record(op, data[at - length : at])

    def _record(self, op: int, body: bytes) -> Iterator[Message]:
        try:
            if op == SCHEMA:
                (number,) = struct.unpack_from('<H', body)
                name, encoding, text = _strings(body, 2, 3)
                self._schemas[number] = (name, encoding, text)
            elif op == CHANNEL:
                self._channel(body)
            elif op == MESSAGE:
                number, _, stamp_ns, _ = struct.unpack_from('<HIQQ', body)
                if number not in self.connections:
                    raise ValueError(f'channel {number} is not described')
                yield number, stamp_ns, body[22:]
        except (struct.error, ValueError) as error:
            self.damage.append(f'a record of {len(body)} bytes is damaged: {error}')

    def _channel(self, body: bytes) -> None:
        number, schema = struct.unpack_from('<HH', body)
        topic, encoding = _strings(body, 4, 2)
        name, format_, text = self._schemas.get(schema, ('', '', ''))
        definition = MessageDefinition(
            DEFINITIONS.get(format_, MessageDefinitionFormat.NONE), text
        )
        self.connections[number] = Connection(
            number, topic, name, definition, '', 0, ConnectionExtRosbag2(encoding, []), None
        )


def _unpack_head(head: bytes) -> tuple[int, int]:
    """Code and length of a record; a head that is cut announces more than can follow."""
    op, length = struct.unpack('<BQ', head.ljust(HEAD_BYTES, b'\xff'))
    if op not in RECORDS and op < PRIVATE:
        raise BagError(f'there is no record {op}')
    return op, length


def _strings(body: bytes, at: int, count: int) -> list[str]:
    """Strings, each after its length, that start at byte `at`."""
    result = []
    for _ in range(count):
        (length,) = struct.unpack_from('<I', body, at)
        result.append(body[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return result
