"""What was written to a map and is not durable yet.

A full disk can make SQLite undo a whole transaction. The statements are therefore kept until they
are committed, and run again when there is room: the places of a live map outlive the fault, with
the same ids.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from vpr_ros.errors import MapWriteError

LOG_BYTES = 64_000_000  # of statements kept; about 2000 places with thumbnail and local features
SET_REVISION = "UPDATE meta SET value = ? WHERE key = 'revision'"


class Transaction:
    """The writes to one open map, durable after `commit`."""

    def __init__(self, database: sqlite3.Connection, path: str, writable: bool) -> None:
        self._database, self._path, self._writable = database, path, writable
        self._dirty = False
        self._log: list[tuple[str, tuple]] = []
        self._room = LOG_BYTES  # negative: the log is incomplete and was dropped

    def write(self, statement: str, values: tuple = ()) -> sqlite3.Cursor:
        """Run a statement; it is durable after `commit`.

        Raises:
            MapWriteError: the map was opened for reading, or cannot be written.
        """
        self._require_writable()
        with self._telling():
            self._begin()
            cursor = self._database.execute(statement, values)
        self._dirty = True
        self._remember(statement, values)
        return cursor

    def write_all(self, statement: str, rows: Sequence[tuple]) -> None:
        """Run a statement for each row, for all of them or none; durable after `commit`.

        Raises:
            MapWriteError: the map was opened for reading, or cannot be written.
        """
        self._require_writable()
        with self._telling():
            self._begin()
            self._database.execute('SAVEPOINT all_rows')
            try:
                self._database.executemany(statement, rows)
            except BaseException:
                if self._database.in_transaction:  # else it was undone altogether
                    self._database.execute('ROLLBACK TO all_rows')
                raise
            self._database.execute('RELEASE all_rows')
        self._dirty = True
        for values in rows:
            self._remember(statement, values)

    def commit(self, revision: int) -> bool:
        """Make what was written durable as this revision; False where there was nothing.

        Raises:
            MapWriteError: it cannot be written now; it is tried again with the next commit.
        """
        if not self._dirty:
            return False
        with self._telling():
            self._begin()
            self._database.execute(SET_REVISION, (str(revision),))
            self._database.execute('COMMIT')
        self._forget()
        return True

    def rollback(self) -> None:
        """Forget what was not committed."""
        self._undo()
        self._forget()

    @contextmanager
    def bulk(self, revision: int) -> Iterator[sqlite3.Connection]:
        """Give the connection for many statements, durable together as this revision, or undone.

        Whatever was written before is to be committed first.

        Raises:
            MapWriteError: the map was opened for reading, or cannot be written.
        """
        self._require_writable()
        with self._telling():
            try:
                self._database.execute('BEGIN IMMEDIATE')
                yield self._database
                self._database.execute(SET_REVISION, (str(revision),))
                self._database.execute('COMMIT')
            except BaseException:
                self._undo()
                raise

    def fold_journal(self, close: bool = False) -> None:
        """Move what the journal holds into the file itself; readers may delay that, no harm done.

        Args:
            close: also remove the journal, so that the map is readable without write permission.
                Beside readers it stays, but empty: the map is one file to copy in any case.
        """
        pragmas = ['wal_checkpoint(TRUNCATE)', *(['journal_mode = DELETE'] if close else [])]
        for pragma in pragmas if self._writable else []:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute(f'PRAGMA {pragma}').fetchall()

    def _require_writable(self) -> None:
        if not self._writable:
            raise MapWriteError(
                f'{self._path} was opened for reading: open it for writing to add places'
            )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise MapWriteError(f'cannot write to {self._path}: {error}') from None

    def _begin(self) -> None:
        """Begin, with everything that SQLite undid."""
        if self._database.in_transaction:
            return
        if self._room < 0:
            raise MapWriteError(
                f'what was written to {self._path} since the last commit is lost: make room on '
                'the disk and open the map again'
            )
        self._database.execute('BEGIN')
        try:
            for statement, values in self._log:
                self._database.execute(statement, values)
        except sqlite3.Error:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._database.in_transaction:
            self._database.execute('ROLLBACK')

    def _remember(self, statement: str, values: tuple) -> None:
        if self._room < 0:
            return
        self._room -= sum(len(value) for value in values if isinstance(value, bytes))
        self._log.append((statement, values))
        if self._room < 0:
            self._log = []

    def _forget(self) -> None:
        self._dirty, self._log, self._room = False, [], LOG_BYTES
