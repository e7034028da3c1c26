"""Rows of the `messages` table straight from the pages of a database (sqlite.org/fileformat2).

SQLite finds rows through the pages above them. Where one of those is lost it finds none below,
although they are there: after a power cut that can be the whole recording.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

SEARCH_BYTES = 2**16
LEAF = 0x0D  # first byte of a page that holds rows of a table
INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
Row = tuple[int, int, int, bytes]  # id, topic id, stamp in nanoseconds, serialised message


class Pages:
    """Rows in the order of the file; `lost` counts those that were met but are not complete."""

    def __init__(self, file: BinaryIO) -> None:
        self.lost = 0
        self._file = file
        header = file.read(100)
        (size,) = struct.unpack_from('>H', header, 16)
        self._size = 65536 if size == 1 else max(size, 512)
        self._usable = self._size - header[20]
        self.count = self._used_bytes() // self._size

    def rows(self) -> Iterator[Row]:
        for number in range(2, self.count + 1):
            page = self._page(number)
            if page[0] != LEAF:
                continue
            (cells,) = struct.unpack_from('>H', page, 3)
            for i in range(min(cells, self._size // 2 - 4)):
                try:
                    (at,) = struct.unpack_from('>H', page, 8 + 2 * i)
                    row = self._row(page, at)
                except (IndexError, KeyError, ValueError, struct.error):
                    self.lost += 1
                    continue
                if row:
                    yield row

    def _row(self, page: bytes, at: int) -> Row | None:
        """Row of a cell; none if it is not one of `messages`."""
        length, at = _varint(page, at)
        row_id, at = _varint(page, at)
        inline = self._inline_bytes(length)
        body = page[at : at + inline]
        head, start = _varint(body, 0)
        types = []
        while start < head:
            type_, start = _varint(body, start)
            types.append(type_)
        # NULL in place of the id, two integers, a blob.
        if len(types) != 4 or types[0] or types[3] < 12 or types[3] % 2:
            return None
        topic_id, start = _integer(body, head, types[1])
        stamp_ns, start = _integer(body, start, types[2])
        if inline < length:
            (following,) = struct.unpack_from('>I', page, at + inline)
            body += self._overflow(following, length - inline)
        data = body[start : start + (types[3] - 12) // 2]
        if len(data) != (types[3] - 12) // 2:
            raise ValueError('the row is cut')
        return row_id, topic_id, stamp_ns, data

    def _inline_bytes(self, length: int) -> int:
        """Bytes of a row that lie on its own page, the others overflow to pages of their own."""
        most = self._usable - 35
        least = (self._usable - 12) * 32 // 255 - 23
        if length <= most:
            return length
        kept = least + (length - least) % (self._usable - 4)
        return kept if kept <= most else least

    def _overflow(self, number: int, length: int) -> bytes:
        """Bytes of a chain of overflow pages."""
        parts = []
        while length > 0:
            if not 1 < number <= self.count:
                raise ValueError('the row continues on a page that is lost')
            page = self._page(number)
            (number,) = struct.unpack_from('>I', page)
            parts.append(page[4 : min(4 + length, self._usable)])
            length -= len(parts[-1])
        return b''.join(parts)

    def _used_bytes(self) -> int:
        """Size of the file without pages of zeros at its end, which a power cut leaves there."""
        size = end = self._file.seek(0, 2)
        used = 0
        while end > 0 and not used:
            start = max(0, end - SEARCH_BYTES)
            self._file.seek(start)
            used = len(self._file.read(end - start).rstrip(b'\0'))
            end = start
        return size if size - (end + used) < self._size else end + used

    def _page(self, number: int) -> bytes:
        self._file.seek((number - 1) * self._size)
        return self._file.read(self._size)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends."""
    value = 0
    for i in range(8):
        value = value << 7 | data[at + i] & 0x7F
        if data[at + i] < 0x80:
            return value, at + i + 1
    return value << 8 | data[at + 8], at + 9


def _integer(data: bytes, at: int, type_: int) -> tuple[int, int]:
    if type_ in (8, 9):
        return type_ - 8, at
    size = INTEGER_BYTES[type_]
    return int.from_bytes(data[at : at + size], 'big', signed=True), at + size
