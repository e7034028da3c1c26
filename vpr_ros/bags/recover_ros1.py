"""The record stream of a ROS 1 bag, without its index (wiki.ros.org/Bags/Format/2.0)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.typesys.msg import normalize_msgtype

from vpr_ros.bags.recovery import CHUNK_LIMIT_BYTES, Message, inflate, settled
from vpr_ros.errors import BagError

MAGIC = b'#ROSBAG V2.0\n'
MESSAGE, CHUNK, CONNECTION = 2, 5, 7
DAMAGE = (BagError, KeyError, ValueError, IndexError, struct.error)  # of a record's fields
Fields = dict[str, bytes]


class Ros1Scan:
    """One pass over a ROS 1 bag, or over the `.bag.active` of a recorder that died."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: dict[int, Connection] = {}
        self.damage: list[str] = []

    def __iter__(self) -> Iterator[Message]:
        with self.path.open('rb') as file:
            size = file.seek(0, 2)
            file.seek(len(MAGIC))
            try:
                yield from settled(self._messages(file, size))
            except DAMAGE as error:
                self.damage.append(f'damaged before byte {file.tell()} of {size}: {error!r}')

    def _messages(self, stream: BinaryIO, size: int) -> Iterator[Message]:
        """Messages of a file of `size` bytes, or of the data of a chunk."""
        for fields, length in _records(stream, size):
            left = size - stream.tell()
            if fields['op'][0] == CHUNK:
                yield from self._chunk(fields, stream, min(length, left))
            elif length <= left:
                yield from self._record(fields, stream, length)
            if length > left:
                self.damage.append(f'cut {length - left} bytes before the end of a record')

    def _chunk(self, fields: Fields, stream: BinaryIO, length: int) -> Iterator[Message]:
        """Messages of a chunk, which may be cut: then those before the cut."""
        start = stream.tell()
        try:
            (size,) = struct.unpack('<I', fields['size'])
            if max(size, length) > CHUNK_LIMIT_BYTES:
                raise BagError(f'announces {max(size, length)} bytes')
            data = inflate(stream.read(length), fields['compression'].decode(), size)
            if len(data) != size:
                self.damage.append(f'chunk at byte {start}: {len(data)} of {size} bytes readable')
            yield from settled(self._messages(BytesIO(data), len(data)))
        except DAMAGE as error:
            self.damage.append(f'chunk at byte {start} is damaged: {error!r}')

    def _record(self, fields: Fields, stream: BinaryIO, length: int) -> Iterator[Message]:
        op = fields['op'][0]
        if op == CONNECTION:
            self._connection(fields, _fields(stream.read(length)))
        elif op == MESSAGE:
            (connection_id,) = struct.unpack('<I', fields['conn'])
            seconds, nanoseconds = struct.unpack('<II', fields['time'])
            if connection_id not in self.connections:
                raise ValueError(f'connection {connection_id} is not described')
            yield connection_id, seconds * 10**9 + nanoseconds, stream.read(length)

    def _connection(self, fields: Fields, about: Fields) -> None:
        (number,) = struct.unpack('<I', fields['conn'])
        definition = MessageDefinition(
            MessageDefinitionFormat.MSG, about['message_definition'].decode()
        )
        self.connections[number] = Connection(
            number,
            fields['topic'].decode(),
            normalize_msgtype(about['type'].decode()),
            definition,
            about['md5sum'].decode(),
            0,
            ConnectionExtRosbag1(None, None),
            None,
        )


def _records(stream: BinaryIO, size: int) -> Iterator[tuple[Fields, int]]:
    """Header fields and data length of each record; the stream then stands at the data."""
    while stream.tell() < size:
        (length,) = struct.unpack('<I', stream.read(4))
        if length > size - stream.tell():
            raise ValueError('header of a record is cut')
        fields = _fields(stream.read(length))
        (length,) = struct.unpack('<I', stream.read(4))
        start = stream.tell()
        yield fields, length
        stream.seek(start + length)


def _fields(header: bytes) -> Fields:
    fields, at = {}, 0
    while at < len(header):
        (length,) = struct.unpack_from('<I', header, at)
        name, _, value = header[at + 4 : at + 4 + length].partition(b'=')
        fields[name.decode()] = value
        at += 4 + length
    return fields
