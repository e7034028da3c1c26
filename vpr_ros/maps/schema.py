"""The tables of a map file, what it says of itself, and how it is opened."""

from __future__ import annotations

import json
import sqlite3
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from vpr_ros.errors import (
    MapDamagedError,
    MapError,
    MapFormatError,
    MapMetadataError,
    MapMissingError,
    MapModelError,
    MapWriteError,
)
from vpr_ros.maps import evidence
from vpr_ros.maps.projection import Projection

FORMAT = 2
MAGIC = b'SQLite format 3\x00'
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
    components BLOB NOT NULL,      -- float16, little endian, (dim, full_dim)
    full_dim INTEGER NOT NULL,
    mean BLOB,                     -- float32, little endian; NULL: none is subtracted
    kept REAL NOT NULL,
    agreement TEXT NOT NULL        -- JSON: what the compression did to this map's own search
)
"""


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
        MapFormatError: another format.
        MapMetadataError: a key is missing or not what it should be.
    """
    meta = dict(database.execute('SELECT key, value FROM meta'))
    try:
        _check_format(int(meta['format']), path)
        numbers = {key: int(meta[key]) for key in ('revision', 'dim', 'format')}
        binding = meta['fingerprint' if numbers['format'] == 1 else 'binding']
        info = MapInfo(**{**meta, **numbers, 'binding': binding})
    except (KeyError, ValueError, TypeError) as error:
        raise MapMetadataError(f'{path} is damaged: its metadata lack or garble {error}') from None
    if info.dim < 1 or info.revision < 0:
        raise MapMetadataError(
            f'{path} is damaged: descriptors of length {info.dim}, revision {info.revision}'
        )
    return info


def _check_format(number: int, path: str) -> None:
    if number not in READABLE:
        raise MapFormatError(
            f'{path} has map format {number}, this version reads {FORMAT}: '
            'build the map again or use the version that made it'
        )


def check_model(info: MapInfo, path: Path | str, fingerprint: str | None, model: str) -> None:
    """Refuse the map of another model than the one of this fingerprint, if one is given.

    Raises:
        MapModelError: it is another's.
    """
    if fingerprint is not None and info.fingerprint != fingerprint:
        raise MapModelError(
            f'{path} was made with {info.model}:{info.fingerprint[:16]}, this is '
            f'{model}:{fingerprint[:16]}: use that model or build the map again'
        )


def read_projection(
    database: sqlite3.Connection, info: MapInfo, path: str
) -> tuple[Projection | None, dict[str, float]]:
    """The projection of a compressed map, and what was measured of it.

    Raises:
        MapDamagedError: it is missing or not the one that the map was made with.
    """
    if info.binding == info.fingerprint:
        return None, {}
    query = 'SELECT components, mean, full_dim, kept, agreement FROM projection'
    try:
        components, mean, full_dim, kept, agreement = database.execute(query).fetchone()
        projection = Projection.from_bytes(components, mean, (info.dim, full_dim), kept)
        measured = json.loads(agreement)
    except (TypeError, ValueError, sqlite3.Error):
        raise MapDamagedError(f'{path} is damaged: its projection is missing or garbled') from None
    if projection.binding(info.fingerprint) != info.binding:
        raise MapDamagedError(f'{path} is damaged: its projection is not the one it was made with')
    return projection, measured


def set_projection(
    database: sqlite3.Connection,
    info: MapInfo,
    projection: Projection,
    agreement: dict[str, float],
) -> None:
    """Turn the metadata of a map into those of a new one, compressed; the caller commits."""
    components, mean = projection.to_bytes()
    database.execute(PROJECTION_TABLE)
    database.execute(
        'INSERT INTO projection (components, full_dim, mean, kept, agreement) '
        'VALUES (?, ?, ?, ?, ?)',
        (components, projection.full_dim, mean, projection.kept, json.dumps(agreement)),
    )
    binding = projection.binding(info.fingerprint)
    write_identity(database, replace(info, dim=projection.dim, format=FORMAT, binding=binding))


def write_identity(database: sqlite3.Connection, info: MapInfo) -> None:
    """Make a map of its own out of a copy of another; the caller commits."""
    info = replace(info, uuid=str(uuid.uuid4()), revision=1, created=now())
    _write_info(database, info)


def _write_info(database: sqlite3.Connection, info: MapInfo) -> None:
    meta = {key: str(value) for key, value in asdict(info).items()}
    database.executemany('INSERT OR REPLACE INTO meta VALUES (?, ?)', meta.items())


def open_database(path: Path | str, writable: bool) -> sqlite3.Connection:
    """Connect to the file of a map.

    Raises:
        MapMissingError: no such file.
        MapDamagedError: it is no file of SQLite, or was cut.
        MapError: it may not be read.
    """
    mode = 'rw' if writable else 'ro'
    try:
        if Path(path).is_dir():
            raise MapDamagedError(f'{path} is a folder: expected the .vprmap file of a map')
        if not Path(path).is_file():
            raise MapMissingError(
                f'no map at {path}: build one with `vpr map build BAG -o FILE.vprmap`'
            )
        _check_size(Path(path))
        return sqlite3.connect(
            f'{Path(path).resolve().as_uri()}?mode={mode}',
            uri=True, check_same_thread=False, isolation_level=None,
        )  # fmt: skip
    except sqlite3.Error as error:
        raise MapDamagedError(f'{path} is not a readable map: {error}') from None
    except OSError as error:
        raise MapError(f'cannot read {path}: {error.strerror}') from None


def _check_size(path: Path) -> None:
    """Refuse a file that was cut; SQLite notices only when it reads what is missing.

    Its header tells size and number of pages; with a journal beside it these may be of the past.
    """
    with path.open('rb') as file:
        header = file.read(100)
    whole_header = len(header) == 100 and header.startswith(MAGIC)
    if not whole_header or path.with_name(path.name + '-wal').exists():
        return  # SQLite says what that is
    page = int.from_bytes(header[16:18], 'big')
    whole = (65536 if page == 1 else page) * int.from_bytes(header[28:32], 'big')
    if path.stat().st_size < whole:
        raise MapDamagedError(
            f'{path} is damaged: expected {whole} bytes, found {path.stat().st_size}; '
            'copy it again or build it anew'
        )


def create_database(path: str, info: MapInfo) -> sqlite3.Connection:
    """Lay out an empty map in a new file.

    Raises:
        MapWriteError: it cannot be written.
    """
    try:
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        database.execute('PRAGMA journal_mode = WAL')
        database.execute('BEGIN')
        for statement in TABLES.split(';\n'):
            if statement.strip():
                database.execute(statement)
        evidence.create_tables(database)
        _write_info(database, info)
        database.execute('COMMIT')
    except sqlite3.Error as error:
        raise MapWriteError(f'cannot write a map at {path}: {error}') from None
    return database


def count_places(database: sqlite3.Connection, info: MapInfo, path: str) -> int:
    """Number of places.

    Raises:
        MapDamagedError: descriptors are missing or of another length.
    """
    query = 'SELECT count(*), coalesce(sum(length(descriptor)), 0) FROM places'
    count, size = database.execute(query).fetchone()
    if size != 2 * info.dim * count:
        raise MapDamagedError(f'{path} is damaged: descriptors and places do not correspond')
    return int(count)


def now() -> str:
    """Time of creation as it is stored: ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')
