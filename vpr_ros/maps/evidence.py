"""Tables beside the places: local features, cameras, the calibrator. Older maps lack them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from vpr_ros.errors import MapDamagedError
from vpr_ros.maps.local_features import pack, unpack
from vpr_ros.records import Camera, LocalFeatures, Pose

Write = Callable[[str, tuple], object]

TABLES = """
CREATE TABLE IF NOT EXISTS local_features (   -- read for candidates alone
    place_id INTEGER PRIMARY KEY REFERENCES places(id),
    features BLOB NOT NULL                    -- see maps/local_features.py
);
CREATE TABLE IF NOT EXISTS cameras (
    name TEXT PRIMARY KEY,                    -- as in places.camera
    model TEXT NOT NULL                       -- JSON: intrinsics and mounting
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calibration (      -- one row at most
    id INTEGER PRIMARY KEY CHECK (id = 0),
    calibrator TEXT NOT NULL                  -- JSON
);
"""

PUT_FEATURES = 'INSERT INTO local_features (place_id, features) VALUES (?, ?)'
PUT_CAMERA = 'INSERT OR REPLACE INTO cameras (name, model) VALUES (?, ?)'
PUT_CALIBRATOR = 'INSERT OR REPLACE INTO calibration (id, calibrator) VALUES (0, ?)'
GET_FEATURES = 'SELECT place_id, features FROM local_features WHERE place_id IN ({})'
HAS_FEATURES = "SELECT count(*) FROM sqlite_master WHERE name = 'local_features'"
MOST_VARIABLES = 500  # in one statement of SQLite


def create_tables(database: sqlite3.Connection) -> None:
    """Make what is missing; within the caller's transaction."""
    for statement in TABLES.split(';\n'):
        if statement.strip():
            database.execute(statement)


class SideTables:
    """The tables beside the places of one open map."""

    def __init__(self, database: sqlite3.Connection, path: str, write: Write) -> None:
        """Look whether they are there, and read the cameras.

        Args:
            database: connection of the map.
            path: for errors.
            write: executes a statement within the map's transaction, or refuses to.

        Raises:
            MapDamagedError: the model of a camera is garbled.
        """
        self._database, self._path, self._write = database, path, write
        self.cameras: dict[str, Camera] = {}
        self.reread()

    def reread(self) -> None:
        """Look again, after somebody else has written to the tables.

        Raises:
            MapDamagedError: the model of a camera is garbled.
        """
        self._there = bool(self._database.execute(HAS_FEATURES).fetchone()[0])
        self.cameras = self._read_cameras() if self._there else {}

    def put_features(self, place_id: int, features: LocalFeatures) -> None:
        """Store the local features of one image."""
        self._put(PUT_FEATURES, (place_id, pack(features)))

    def features(self, place_ids: Sequence[int]) -> tuple[LocalFeatures, np.ndarray]:
        """Local features of K places, padded to the same number, and who has any, (K,) bool.

        Raises:
            MapDamagedError: they cannot be read, or are damaged.
        """
        found: dict[int, bytes] = {}
        try:
            for start in range(0, len(place_ids) if self._there else 0, MOST_VARIABLES):
                some = list(place_ids[start : start + MOST_VARIABLES])
                query = GET_FEATURES.format(','.join('?' * len(some)))
                found.update(self._database.execute(query, some))
        except sqlite3.Error as error:
            raise MapDamagedError(f'cannot read local features of {self._path}: {error}') from None
        return unpack([found.get(place_id) for place_id in place_ids])

    def features_size(self) -> tuple[int, int]:
        """How many places have local features, and their bytes in all."""
        if not self._there:
            return 0, 0
        query = 'SELECT count(*), coalesce(sum(length(features)), 0) FROM local_features'
        places, size = self._database.execute(query).fetchone()
        return int(places), int(size)

    def put_camera(self, name: str, camera: Camera) -> None:
        """Remember a camera."""
        self._put(PUT_CAMERA, (name, camera_to_json(camera)))
        self.cameras[name] = camera

    def put_calibrator(self, calibrator: str) -> None:
        """Store the calibrator, JSON, in place of any before."""
        self._put(PUT_CALIBRATOR, (calibrator,))

    def calibrator(self) -> str | None:
        """JSON of the calibrator, or None."""
        if not self._there:
            return None
        row = self._database.execute('SELECT calibrator FROM calibration').fetchone()
        return row[0] if row else None

    def _put(self, statement: str, values: tuple) -> None:
        if not self._there:
            for table in TABLES.split(';\n'):
                if table.strip():
                    self._write(table, ())
            self._there = True
        self._write(statement, values)

    def _read_cameras(self) -> dict[str, Camera]:
        rows = self._database.execute('SELECT name, model FROM cameras')
        try:
            return {name: camera_from_json(model) for name, model in rows}
        except (KeyError, TypeError, ValueError):
            raise MapDamagedError(
                f'{self._path} is damaged: the model of a camera is garbled'
            ) from None


def camera_to_json(camera: Camera) -> str:
    return json.dumps(asdict(camera), allow_nan=False)


def camera_from_json(text: str) -> Camera:
    """The inverse of `camera_to_json`; raises KeyError, TypeError or ValueError."""
    data = json.loads(text)
    height, width = map(int, data['size'])
    base = data['base']
    fx, fy, cx, cy = (float(data[key]) for key in ('fx', 'fy', 'cx', 'cy'))
    distortion = tuple(map(float, data['distortion']))
    return Camera(
        (height, width), fx, fy, cx, cy, distortion, None if base is None else _pose(base)
    )


def _pose(data: dict[str, list[float]]) -> Pose:
    x, y, z = map(float, data['position_m'])
    qx, qy, qz, qw = map(float, data['quaternion'])
    return Pose((x, y, z), (qx, qy, qz, qw))
