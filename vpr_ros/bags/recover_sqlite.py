"""Damaged or unfinished rosbag2 databases: rows past the pages that are missing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)

from vpr_ros.bags.recovery import Message
from vpr_ros.bags.sqlite_pages import Pages, Row

MAGIC = b'SQLite format 3\0'
ROWS = 'SELECT id, topic_id, timestamp, data FROM messages ORDER BY id'
DEFINITIONS = {'ros2msg': MessageDefinitionFormat.MSG, 'ros2idl': MessageDefinitionFormat.IDL}


class SqliteScan:
    """One pass over a rosbag2 database with damaged or missing pages, or with a log beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: dict[int, Connection] = {}
        self.damage: list[str] = []

    def __iter__(self) -> Iterator[Message]:
        last = -1
        if unfinished(self.path):
            try:
                for row in self._logged():
                    last = row[0]
                    yield row[1:]
                return
            except sqlite3.Error as error:
                self.damage.append(
                    f'its write-ahead log cannot be read ({error}); where the folder may not be '
                    'written to, copy it to one that may'
                )
        for row in self._paged():
            if row[0] > last:
                yield row[1:]

    def _logged(self) -> Iterator[Row]:
        """Rows of the database and of the write-ahead log of a recorder that died."""
        with closing(_open(self.path, 'mode=ro')) as database:
            self.connections = _connections(database)
            for row in database.execute(ROWS):
                if row[1] in self.connections:
                    yield row

    def _paged(self) -> Iterator[Row]:
        """Rows of the pages that are there, whether or not SQLite finds its way to them."""
        try:
            with closing(_open(self.path, 'immutable=1')) as database:
                self.connections = _connections(database)
        except sqlite3.Error as error:
            self.damage.append(f'the list of topics is lost: {error}')
            return
        with self.path.open('rb') as file:
            pages = Pages(file)
            for row in pages.rows():
                if row[1] in self.connections:
                    yield row
        if pages.lost:
            self.damage.append(f'{pages.lost} rows are incomplete')


def unfinished(path: Path) -> bool:
    """Tell whether messages wait in a write-ahead log, which `immutable` readers do not see."""
    log = path.with_name(path.name + '-wal')
    return log.exists() and log.stat().st_size > 0


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f'{path.absolute().as_uri()}?{mode}', uri=True)


def _connections(database: sqlite3.Connection) -> dict[int, Connection]:
    # Otherwise SQLite refuses a file that is shorter than its header says.
    database.execute('PRAGMA writable_schema = ON')
    definitions = {}
    try:
        for name, encoding, text in database.execute(
            'SELECT topic_type, encoding, encoded_message_definition FROM message_definitions'
        ):
            format_ = DEFINITIONS.get(encoding, MessageDefinitionFormat.NONE)
            definitions[name] = MessageDefinition(format_, text)
    except sqlite3.Error:
        pass  # the table came with ROS 2 Iron
    none = MessageDefinition(MessageDefinitionFormat.NONE, '')
    topics = database.execute('SELECT id, name, type, serialization_format FROM topics')
    return {
        number: Connection(
            number,
            name,
            type_,
            definitions.get(type_, none),
            '',
            0,
            ConnectionExtRosbag2(format_, []),
            None,
        )
        for number, name, type_, format_ in topics
        if isinstance(name, str) and isinstance(type_, str)
    }
