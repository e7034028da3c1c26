"""PlaceMap: one SQLite file with places and descriptors, bound to the model that made them.

SQLite in WAL mode gives atomic commits, recovery after a kill or a power cut, and readers beside a
writer. Whatever is not committed yet is at most the last `commit()` interval.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from vpr_ros.errors import MapDamagedError, MapError, MapExistsError
from vpr_ros.maps import place_rows, schema
from vpr_ros.maps.index import ExactIndex, PlaceIndex
from vpr_ros.maps.map_file import IN_MEMORY, MapFile
from vpr_ros.maps.schema import MapInfo
from vpr_ros.records import Candidate, LocalFeatures, Place, Pose

__all__ = ['IN_MEMORY', 'PlaceMap']

BLOCK = 1024  # places that are read at a time


class PlaceMap(MapFile):
    """Places in the order they were recorded, and the search among them.

    Use `create` or `open`. Rows of the index and of `places` correspond.
    """

    def __init__(
        self, database: sqlite3.Connection, path: str, writable: bool, searched: bool = True
    ) -> None:
        super().__init__(database, path, writable)
        self._searched = searched
        self.places: list[Place] = []
        self._index: PlaceIndex = ExactIndex(self.info.dim, by_distance=not self.keeps_cosines)
        schema.count_places(database, self.info, path)
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
            MapExistsError: the file exists already.
            MapWriteError: it cannot be written.
        """
        if str(path) != IN_MEMORY and Path(path).exists():
            raise MapExistsError(f'{path} exists already: choose another name or remove it')
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
            fingerprint: of the model that will query it; None: it is only read, without
                descriptors in memory, and cannot be searched.
            model: that model's name, for the error.
            writable: whether places will be added.

        Raises:
            MapMissingError: no such file.
            MapDamagedError: not a map, or damaged; `MapMetadataError` in what it says of itself.
            MapFormatError: of another format.
            MapModelError: another model's.
            MapError: it may not be read.
        """
        database = schema.open_database(path, writable)
        try:
            if writable:
                database.execute('PRAGMA journal_mode = WAL')
            schema.check_model(schema.read_info(database, str(path)), path, fingerprint, model)
            return cls(database, str(path), writable, searched=fingerprint is not None)
        except sqlite3.Error as error:
            database.close()
            raise MapDamagedError(
                f'{path} is not a readable map: expected a whole .vprmap file ({error})'
            ) from None
        except BaseException:
            database.close()
            raise

    def __len__(self) -> int:
        return len(self.places)

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
            MapError: another length of descriptor, values that are not finite, or no pose.
            MapWriteError: the map was opened for reading, or cannot be written now.
        """
        descriptor, place = self._shortened(descriptor), place_rows.plain(place)
        row = place_rows.place_row(place, descriptor, thumbnail)
        cursor = self._transaction.write(place_rows.PUT_PLACE, row)
        place = replace(place, id=int(cursor.lastrowid or 0))
        if local is not None:
            self.beside.put_features(place.id, local)
        self.places.append(place)
        if self._searched:
            self._index.add(place_rows.as_stored(descriptor)[None])
        return place

    def move(self, poses: Mapping[int, Pose]) -> None:
        """Give places other poses, all of them or none; on disk after `commit`, as a new revision.

        Args:
            poses: base in map, by the id of a place.

        Raises:
            MapError: no such place, or a pose that is not finite.
            MapWriteError: the map was opened for reading, or cannot be written now.
        """
        rows = {place.id: row for row, place in enumerate(self.places)}
        for place_id, pose in poses.items():
            if place_id not in rows:
                raise MapError(f'{self.path} has no place {place_id} that could be moved')
            if not place_rows.is_sound(pose):
                raise MapError(f'place {place_id} cannot be moved to a pose that is none: {pose}')
        if not poses:
            return
        self._transaction.write_all(
            place_rows.MOVE_PLACE,
            [(*pose.position_m, *pose.quaternion, place_id) for place_id, pose in poses.items()],
        )
        for place_id, pose in poses.items():
            self.places[rows[place_id]] = replace(self.places[rows[place_id]], pose=pose)

    @contextmanager
    def growing(self) -> Iterator[sqlite3.Connection]:
        """Rows that the block inserts become places when it ends well, durably; else none does.

        Raises:
            MapWriteError: the map was opened for reading, or cannot be written.
        """
        self.commit()
        count, last = len(self), self.places[-1].id if self.places else 0
        revision = self.info.revision + 1
        try:
            with self._transaction.bulk(revision) as database:
                yield database
                self._load(after=last)
        except BaseException:
            del self.places[count:]
            self._index.truncate(count)
            raise
        self.info = replace(self.info, revision=revision)
        self.beside.reread()

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
        rows, similarities = self._index.search(self._asked(descriptor), k, before)
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
        found = self._index.similarities(self._asked(descriptor))
        if before is not None:
            found[before:] = -np.inf
        return found

    def _asked(self, descriptor: np.ndarray) -> np.ndarray:
        """The descriptor of a query as the index compares it."""
        if not self._searched:
            raise MapError(f'{self.path} was opened to be read: open it with its model to search')
        return self._shortened(descriptor)

    def _shortened(self, descriptor: np.ndarray) -> np.ndarray:
        """The descriptor as this map stores it."""
        if descriptor.shape != (self.full_dim,) or not np.isfinite(descriptor).all():
            raise MapError(
                f'expected a finite descriptor of shape ({self.full_dim},), '
                f'found shape {descriptor.shape}'
            )
        return self.projection.apply(descriptor) if self.projection else descriptor

    def _load(self, after: int = 0) -> None:
        """Take the rows of larger ids."""
        descriptor = 'descriptor' if self._searched else 'NULL'
        rows = self._database.execute(
            f'SELECT {descriptor}, {place_rows.COLUMNS} FROM places WHERE id > ? ORDER BY id',
            (after,),
        )
        while some := rows.fetchmany(BLOCK):
            if self._searched:
                self._index.add(place_rows.from_blobs((row[0] for row in some), self.info.dim))
            self.places += [place_rows.place_from_row(row[1:]) for row in some]
