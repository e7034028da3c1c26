"""The tables of a map file, and how a place becomes a row and comes back."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from vpr_ros.errors import MapError
from vpr_ros.maps.projection import Projection
from vpr_ros.records import Place, Pose

FORMAT = 2
READABLE = (1, 2)  # 1 knows no projection

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    source TEXT NOT NULL,          -- bag or topic the images came from
    created TEXT NOT NULL          -- ISO 8601, UTC
);
CREATE TABLE places (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never re-used
    session_id INTEGER NOT NULL REFERENCES sessions(id),
    stamp_ns INTEGER NOT NULL,
    camera TEXT NOT NULL,
    x REAL, y REAL, z REAL, qx REAL, qy REAL, qz REAL, qw REAL,  -- base in map; NULL: unknown
    travelled_m REAL,
    thumbnail BLOB,                -- JPEG
    descriptor BLOB NOT NULL       -- fp16, little endian, unit length before the projection
);
"""

PROJECTION_TABLE = """
CREATE TABLE projection (          -- one row, in maps with compressed descriptors
    components BLOB NOT NULL,      -- float32, little endian, (dim, full_dim)
    full_dim INTEGER NOT NULL,
    kept REAL NOT NULL,
    agreement TEXT NOT NULL        -- JSON: what the compression did to this map's own search
)
"""

COLUMNS = (
    'id, session_id, stamp_ns, camera, x, y, z, qx, qy, qz, qw, travelled_m'  # as Place reads them
)


@dataclass(frozen=True)
class MapInfo:
    """Identity of a map and of the model it is bound to: the table `meta`.

    `dim` is the length of the stored descriptors. `binding` is the model's fingerprint, or the
    hash of it and of the projection that shortens its descriptors.
    """

    uuid: str
    revision: int
    model: str
    fingerprint: str
    dim: int
    frame: str
    format: int
    created: str
    binding: str = ''


def read_info(database: sqlite3.Connection, path: str) -> MapInfo:
    """Read the table `meta`.

    Raises:
        MapError: another format, or a key that is missing or not what it should be.
    """
    meta = dict(database.execute('SELECT key, value FROM meta'))
    try:
        numbers = {key: int(meta[key]) for key in ('revision', 'dim', 'format')}
        info = MapInfo(**{**meta, **numbers})
    except (KeyError, ValueError, TypeError) as error:
        raise MapError(f'{path} is damaged: its metadata lack or garble {error}') from None
    if info.format not in READABLE:
        raise MapError(
            f'{path} has map format {info.format}, this version reads {FORMAT}: '
            'build the map again or use the version that made it'
        )
    return info


def read_projection(
    database: sqlite3.Connection, info: MapInfo, path: str
) -> tuple[Projection | None, dict[str, float]]:
    """The projection of a compressed map, and what was measured of it.

    Raises:
        MapError: it is missing or not the one that the map was made with.
    """
    if info.format == 1 or info.binding == info.fingerprint:
        return None, {}
    query = 'SELECT components, full_dim, kept, agreement FROM projection'
    try:
        blob, full_dim, kept, agreement = database.execute(query).fetchone()
        components = np.frombuffer(blob, '<f4').reshape(info.dim, full_dim)
        projection = Projection(components, kept)
        measured = json.loads(agreement)
    except (TypeError, ValueError, sqlite3.Error):
        raise MapError(f'{path} is damaged: its projection is missing or garbled') from None
    if projection.binding(info.fingerprint) != info.binding:
        raise MapError(f'{path} is damaged: its projection is not the one it was made with')
    return projection, measured


def write_projection(
    database: sqlite3.Connection, projection: Projection, agreement: dict[str, float]
) -> None:
    """Add the projection to the tables of a new map; the caller commits."""
    blob = np.ascontiguousarray(projection.components, '<f4').tobytes()
    database.execute(PROJECTION_TABLE)
    database.execute(
        'INSERT INTO projection VALUES (?, ?, ?, ?)',
        (blob, projection.full_dim, projection.kept, json.dumps(agreement)),
    )


def create_database(
    path: str, info: MapInfo, projection: Projection | None, agreement: dict[str, float]
) -> sqlite3.Connection:
    """Lay out an empty map in a new file.

    Raises:
        MapError: it cannot be written.
    """
    meta = {key: str(value) for key, value in asdict(info).items()}
    try:
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        database.execute('PRAGMA journal_mode = WAL')
        database.execute('BEGIN')
        for statement in TABLES.split(';\n'):
            if statement.strip():
                database.execute(statement)
        database.executemany('INSERT INTO meta VALUES (?, ?)', meta.items())
        if projection is not None:
            write_projection(database, projection, agreement)
        database.execute('COMMIT')
    except sqlite3.Error as error:
        raise MapError(f'cannot write a map at {path}: {error}') from None
    return database


def place_row(place: Place, descriptor: np.ndarray, thumbnail: bytes | None) -> tuple[Any, ...]:
    """Values of a new row, without its id."""
    pose = place.pose
    coordinates = (None,) * 7 if pose is None else (*pose.position_m, *pose.quaternion)
    blob = np.asarray(descriptor, dtype='<f2').tobytes()
    return (
        place.session_id, place.stamp_ns, place.camera, *coordinates, place.travelled_m,
        thumbnail, blob,
    )  # fmt: skip


def as_stored(descriptor: np.ndarray) -> np.ndarray:
    """What the file will give back, so that a live map and a reopened one answer alike."""
    return descriptor.astype(np.float16).astype(np.float32)


def place_from_row(row: tuple[Any, ...]) -> Place:
    """The inverse of `place_row`, from the COLUMNS of a row."""
    id_, session_id, stamp_ns, camera, *pose, travelled_m = row
    known = pose[0] is not None
    return Place(
        id=id_,
        session_id=session_id,
        stamp_ns=stamp_ns,
        pose=Pose(tuple(pose[:3]), tuple(pose[3:])) if known else None,  # type: ignore[arg-type]
        camera=camera,
        travelled_m=travelled_m,
    )


def now() -> str:
    """Time of creation as it is stored: ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')
