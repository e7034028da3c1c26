"""The files of a recording: rosbags reads the sound ones, `recovery` the damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2

from vpr_ros.bags import recover_mcap, recover_ros1, recover_sqlite
from vpr_ros.bags.recovery import RecoveredStorage, ScanType
from vpr_ros.errors import BagError

SCANS: dict[bytes, ScanType] = {
    recover_mcap.MAGIC: recover_mcap.McapScan,
    recover_ros1.MAGIC: recover_ros1.Ros1Scan,
    recover_sqlite.MAGIC: recover_sqlite.SqliteScan,
}


class Storage(Protocol):
    """One file of a recording; stamps are those of the recorder, `stop_ns` is excluded."""

    path: Path
    connections: list[Connection]
    start_ns: int
    end_ns: int
    notes: list[str]

    def messages(
        self, topics: Collection[str], start_ns: int, stop_ns: int
    ) -> Iterator[tuple[Connection, int, bytes]]: ...

    def close(self) -> None: ...


class LibraryStorage:
    """A sound file, read by rosbags in the order of time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._reader = Reader1(path) if path.suffix == '.bag' else Reader2(path)
        self._reader.open()
        self.connections = list(self._reader.connections)
        self.start_ns, self.end_ns = self._reader.start_time, self._reader.end_time - 1
        if not all(
            isinstance(x.topic, str) and isinstance(x.msgtype, str) for x in self.connections
        ):
            raise ValueError('the list of topics is damaged')

    def messages(
        self, topics: Collection[str], start_ns: int, stop_ns: int
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield the messages; past damage that the index did not show, continue by recovery."""
        wanted, read = [x for x in self.connections if x.topic in topics], Counter[str]()
        if not wanted:
            return
        try:
            for message in self._reader.messages(wanted, start_ns, stop_ns):
                read[message[0].topic] += 1
                yield message
            if start_ns <= self.start_ns and stop_ns > self.end_ns:
                self._note_shortage(wanted, read)
            return
        except Exception as error:  # damaged bytes fail anywhere inside the library
            reason = _reason(error)
        recovered = recover(self.path, reason)
        for note in recovered.notes:
            self._note(note)
        for message in recovered.messages(topics, start_ns, stop_ns):
            read[message[0].topic] -= 1
            if read[message[0].topic] < 0:
                yield message

    def _note_shortage(self, wanted: list[Connection], read: Counter[str]) -> None:
        """Tell what the library passed over: it takes zeros in a chunk for records to skip."""
        announced = sum(x.msgcount for x in wanted)
        if read.total() < announced:
            self._note(
                f'{announced - read.total()} of {announced} messages of '
                f'{", ".join(sorted({x.topic for x in wanted}))} are lost in {self.path.name}.'
            )

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def close(self) -> None:
        self._reader.close()


def open_file(path: Path) -> Storage:
    """Open one file of a recording, sound or damaged.

    Raises:
        BagError: it is empty, not a recording of ROS, or nothing of it can be read.
    """
    if not path.stat().st_size:
        raise BagError(f'{path} is empty (0 bytes): nothing was recorded.')
    if recover_sqlite.unfinished(path):
        return recover(path, 'its recorder did not end, so a write-ahead log lies beside it')
    try:
        storage = LibraryStorage(path)
    except Exception as error:  # as above
        return recover(path, _reason(error))
    if not any(x.msgcount for x in storage.connections):
        storage.close()
        raise BagError(f'{path} holds no messages.')
    return storage


def recover(path: Path, reason: str) -> RecoveredStorage:
    """Open a damaged file by its first bytes, whatever its name is."""
    with path.open('rb') as file:
        start = file.read(max(map(len, SCANS)))
    for magic, scan in SCANS.items():
        if start.startswith(magic):
            return RecoveredStorage(path, scan, reason)
    raise BagError(f'{path} is not a recording; expected a .bag, .mcap or .db3 file.')


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [repr(error)])[0].rstrip('.')
