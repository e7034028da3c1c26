"""PlaceMap: one SQLite file with places and descriptors, bound to the model that made them.

SQLite in WAL mode gives atomic commits, recovery after a kill or a power cut, and readers beside a
writer. Whatever is not committed yet is at most the last `commit()` interval.
"""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from vpr_ros.errors import MapError
from vpr_ros.maps import schema
from vpr_ros.maps.evidence import SideTables
from vpr_ros.maps.index import ExactIndex, PlaceIndex
from vpr_ros.maps.schema import MapInfo
from vpr_ros.records import Camera, Candidate, LocalFeatures, Place

IN_MEMORY = ':memory:'


class PlaceMap:
    """Places in the order they were recorded, and the search among them.

    Use `create` or `open`. Rows of the index and of `places` correspond. What is kept `beside` the
    places (local features, cameras, a calibrator) is written with them.
    """

    def __init__(self, database: sqlite3.Connection, path: str, writable: bool) -> None:
        self.path = path
        self.writable = writable
        self._database = database
        self.info = schema.read_info(database, path)
        self.projection, self.agreement = schema.read_projection(database, self.info, path)
        self.places: list[Place] = []
        self.beside = SideTables(database, path, self._write)
        self._index: PlaceIndex = ExactIndex(self.info.dim, by_distance=not self.keeps_cosines)
        self._dirty = False
        self._load()

    @classmethod
    def create(
        cls,
        path: Path | str,
        model: str,
        fingerprint: str,
        dim: int,
        frame: str = 'map',
    ) -> PlaceMap:
        """Create an empty map.

        Args:
            path: a file that does not exist yet, or IN_MEMORY.
            model: name of the model whose descriptors it will hold.
            fingerprint: that model's fingerprint.
            dim: length of a descriptor.
            frame: frame of the poses.

        Raises:
            MapError: the file exists already or cannot be written.
        """
        if str(path) != IN_MEMORY and Path(path).exists():
            raise MapError(f'{path} exists already: choose another name or remove it')
        info = MapInfo(
            str(uuid.uuid4()), 0, model, fingerprint, dim, frame, schema.FORMAT, schema.now(),
            binding=fingerprint,
        )  # fmt: skip
        return cls(schema.create_database(str(path), info), str(path), writable=True)

    @classmethod
    def open(
        cls, path: Path | str, fingerprint: str | None, model: str = '', writable: bool = False
    ) -> PlaceMap:
        """Open a map for the model that made it.

        Args:
            path: the `.vprmap` file.
            fingerprint: of the model that will query it; None reads without searching.
            model: that model's name, for the error.
            writable: whether places will be added.

        Raises:
            MapError: no such file, not a map, damaged, of another format, or another model's.
        """
        database = schema.open_database(path, writable)
        try:
            if writable:
                database.execute('PRAGMA journal_mode = WAL')
            place_map = cls(database, str(path), writable)
        except sqlite3.Error as error:
            raise MapError(f'{path} is not a readable map: {error}') from None
        info = place_map.info
        if fingerprint is not None and info.fingerprint != fingerprint:
            place_map.close()
            raise MapError(
                f'{path} was made with {info.model}:{info.fingerprint[:16]}, this is '
                f'{model}:{fingerprint[:16]}: use that model or build the map again'
            )
        return place_map

    def __len__(self) -> int:
        return len(self.places)

    @property
    def full_dim(self) -> int:
        """Length of the descriptors that the map takes, which a projection may shorten."""
        return self.projection.full_dim if self.projection else self.info.dim

    @property
    def keeps_cosines(self) -> bool:
        """Whether similarities are cosines, or near enough for a threshold of cosines."""
        return self.projection is None or self.projection.keeps_cosines

    def __enter__(self) -> PlaceMap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(commit=kind is None)

    def add_session(self, name: str, source: str = '') -> int:
        """Begin a mapping session and return its id."""
        cursor = self._write(
            'INSERT INTO sessions (name, source, created) VALUES (?, ?, ?)',
            (name, source, schema.now()),
        )
        return int(cursor.lastrowid or 0)

    def add(
        self,
        place: Place,
        descriptor: np.ndarray,
        thumbnail: bytes | None = None,
        local: LocalFeatures | None = None,
    ) -> Place:
        """Append a place; it is found by `search` at once and is on disk after `commit`.

        Args:
            place: its id is ignored; the map gives one.
            descriptor: (D,) of the model, float32, unit length; a compressed map shortens it.
            thumbnail: small JPEG for people to look at, and for geometry.
            local: of one image; stored compactly.

        Returns:
            The place with its id.

        Raises:
            MapError: another length of descriptor, values that are not finite, or a map that was
                opened for reading.
        """
        descriptor = self._shortened(descriptor)
        row = schema.place_row(place, descriptor, thumbnail)
        cursor = self._write(
            'INSERT INTO places (session_id, stamp_ns, camera, x, y, z, qx, qy, qz, qw, '
            'travelled_m, thumbnail, descriptor) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)',
            row,
        )
        place = replace(place, id=int(cursor.lastrowid or 0))
        if local is not None:
            self.beside.put_features(place.id, local)
        self.places.append(place)
        self._index.add(schema.as_stored(descriptor)[None])
        return place

    def commit(self) -> None:
        """Make everything added so far durable, as one new revision."""
        if not self._dirty:
            return
        revision = self.info.revision + 1
        try:
            self._database.execute(
                "UPDATE meta SET value = ? WHERE key = 'revision'", (str(revision),)
            )
            self._database.execute('COMMIT')
        except sqlite3.Error as error:
            raise MapError(f'cannot write to {self.path}: {error}') from None
        self._dirty = False
        self.info = replace(self.info, revision=revision)

    def search(self, descriptor: np.ndarray, k: int, before: int | None = None) -> list[Candidate]:
        """Find the places that resemble a descriptor most.

        Args:
            descriptor: (D,) of the model, float32, unit length; a compressed map shortens it.
            k: places wanted.
            before: only the first so many places are searched.

        Returns:
            At most k candidates, most similar first.

        Raises:
            MapError: another length of descriptor, or values that are not finite.
        """
        rows, similarities = self._index.search(self._shortened(descriptor), k, before)
        return [
            Candidate(self.places[row], float(similarity))
            for row, similarity in zip(rows, similarities, strict=True)
        ]

    def similarities(self, descriptor: np.ndarray, before: int | None = None) -> np.ndarray:
        """Similarity of a descriptor to every place.

        Args:
            descriptor: (D,) of the model, float32, unit length; a compressed map shortens it.
            before: only the first so many places are compared.

        Returns:
            (N,), float32, in the order of `places`; -inf from `before` on.

        Raises:
            MapError: another length of descriptor, or values that are not finite.
        """
        found = self._index.similarities(self._shortened(descriptor))
        if before is not None:
            found[before:] = -np.inf
        return found

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
        return schema.from_blobs((blob for (blob,) in rows), self.info.dim)

    def thumbnail(self, place_id: int) -> bytes | None:
        """JPEG of a place, or None."""
        query = 'SELECT thumbnail FROM places WHERE id = ?'
        row = self._database.execute(query, (place_id,)).fetchone()
        return row[0] if row else None

    def sessions(self) -> list[tuple[int, str, str, str]]:
        """Id, name, source and creation time of every session."""
        return list(self._database.execute('SELECT id, name, source, created FROM sessions'))

    def close(self, commit: bool = True) -> None:
        """Commit, or forget what was not committed, and release the file."""
        if commit:
            self.commit()
        elif self._dirty:
            self._database.execute('ROLLBACK')
        self._dirty = False
        if self.writable and self.path != IN_MEMORY:
            # Fold the journal in, so that the map is one file to copy and readable without
            # write permission. With readers attached SQLite declines, and the journal stays.
            with contextlib.suppress(sqlite3.Error):
                self._database.execute('PRAGMA journal_mode = DELETE')
        self._database.close()

    def _shortened(self, descriptor: np.ndarray) -> np.ndarray:
        """The descriptor as this map stores it."""
        if descriptor.shape != (self.full_dim,) or not np.isfinite(descriptor).all():
            raise MapError(
                f'expected a finite descriptor of shape ({self.full_dim},), '
                f'found shape {descriptor.shape}'
            )
        return self.projection.apply(descriptor) if self.projection else descriptor

    def _write(self, statement: str, values: tuple) -> sqlite3.Cursor:
        if not self.writable:
            raise MapError(
                f'{self.path} was opened for reading: open it for writing to add places'
            )
        try:
            if not self._dirty:
                self._database.execute('BEGIN')
                self._dirty = True
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise MapError(f'cannot write to {self.path}: {error}') from None

    def _load(self) -> None:
        rows = self._database.execute(f'SELECT {schema.COLUMNS} FROM places ORDER BY id')
        self.places = [schema.place_from_row(row) for row in rows]
        if schema.count_places(self._database, self.info, self.path):
            self._index.add(self.descriptors())
