"""The file of a map: its identity, durable writes, copies, and what is read from it on demand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np

from vpr_ros.maps import place_rows, schema
from vpr_ros.maps.evidence import SideTables
from vpr_ros.maps.files import copy_database, writing
from vpr_ros.maps.transaction import Transaction
from vpr_ros.records import Camera, LocalFeatures

IN_MEMORY = ':memory:'

Opened = TypeVar('Opened', bound='MapFile')


class MapFile:
    """One open SQLite file.

    What is kept `beside` the places (local features, cameras, a calibrator) is written with them.
    """

    def __init__(self, database: sqlite3.Connection, path: str, writable: bool) -> None:
        self.path, self.writable = path, writable
        self._database, self._closed = database, False
        self._transaction = Transaction(database, path, writable)
        self.info = schema.read_info(database, path)
        self.projection, self.agreement = schema.read_projection(database, self.info, path)
        self.beside = SideTables(database, path, self._transaction.write)

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(commit=kind is None)

    @property
    def full_dim(self) -> int:
        """Length of the descriptors that the map takes, which a projection may shorten."""
        return self.projection.full_dim if self.projection else self.info.dim

    @property
    def keeps_cosines(self) -> bool:
        """Whether similarities are cosines, or near enough for a threshold of cosines."""
        return self.projection is None or self.projection.keeps_cosines

    def add_session(self, name: str, source: str = '') -> int:
        """Begin a mapping session and return its id."""
        cursor = self._transaction.write(
            'INSERT INTO sessions (name, source, created) VALUES (?, ?, ?)',
            (*map(_storable, (name, source)), schema.now()),
        )
        return int(cursor.lastrowid or 0)

    def commit(self) -> None:
        """Make everything added so far durable, as one new revision.

        Raises:
            MapWriteError: it cannot be written now; the next commit tries it again.
        """
        revision = self.info.revision + 1
        if self._transaction.commit(revision):
            self.info = replace(self.info, revision=revision)

    def save_as(self, path: Path | str, overwrite: bool = False) -> None:
        """Commit, and write the map as it is now to another file, whole or not at all.

        The copy is the same map, of the same identity. Its own file is only made durable.

        Args:
            path: of the copy.
            overwrite: replace a file of this name.

        Raises:
            MapExistsError: there is such a file, and it is not to be overwritten.
            MapWriteError: it cannot be written, or another process is writing to it.
        """
        self.commit()
        if self._is_own(path):
            self._transaction.fold_journal()
            return
        with writing(Path(path), overwrite) as part:
            copy_database(self._database, part)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the rows as they are at one moment, whoever else writes to the file."""
        self.commit()
        self._database.execute('BEGIN')
        try:
            yield self._database
        finally:
            self._database.execute('ROLLBACK')

    def local_features(self, place_ids: Sequence[int]) -> tuple[LocalFeatures, np.ndarray]:
        """Local features of K places, read from the file now.

        Returns:
            Them, padded to the same number, and which places have any, (K,) bool.

        Raises:
            MapError: they cannot be read, or are damaged.
        """
        return self.beside.features(place_ids)

    def camera(self, name: str) -> Camera | None:
        """The camera of this name, where it is known."""
        return self.beside.cameras.get(name)

    def descriptors(self) -> np.ndarray:
        """All descriptors as they are stored, (N, info.dim), float32, in the order of `places`."""
        rows = self._database.execute('SELECT descriptor FROM places ORDER BY id')
        return place_rows.from_blobs((blob for (blob,) in rows), self.info.dim)

    def thumbnail(self, place_id: int) -> bytes | None:
        """JPEG of a place, or None."""
        query = 'SELECT thumbnail FROM places WHERE id = ?'
        row = self._database.execute(query, (place_id,)).fetchone()
        return row[0] if row else None

    def sessions(self) -> list[tuple[int, str, str, str]]:
        """Id, name, source and creation time of every session."""
        return list(self._database.execute('SELECT id, name, source, created FROM sessions'))

    def close(self, commit: bool = True) -> None:
        """Commit, or forget what was not committed, and release the file; once is enough.

        Raises:
            MapWriteError: it cannot be written; the file is released all the same.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if commit:
                self.commit()
            else:
                self._transaction.rollback()
            if self.path != IN_MEMORY:
                self._transaction.fold_journal(close=True)
        finally:
            self._database.close()

    def _is_own(self, path: Path | str) -> bool:
        """Whether this is another name of the map's own file."""
        try:
            return self.path != IN_MEMORY and Path(path).samefile(self.path)
        except OSError:
            return False  # one of the two is not there


def _storable(text: str) -> str:
    """Text for SQLite, which takes UTF-8 alone; names of files may be any bytes."""
    return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')
