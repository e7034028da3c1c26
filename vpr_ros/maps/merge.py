"""The places of one map added to another, all of them or none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.errors import MapDamagedError, MapError, MapFrameError, MapModelError
from vpr_ros.maps import evidence, schema
from vpr_ros.maps.compress import Progress, Stage, silent
from vpr_ros.maps.files import copy_database, writing
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.records import Camera

REPORTED = 256  # places between two reports of progress

ROW = 'camera, x, y, z, qx, qy, qz, qw, travelled_m, thumbnail, descriptor'
GET_SESSIONS = """
SELECT s.id, s.name, s.source, s.created, min(p.stamp_ns) FROM sessions s
JOIN places p ON p.session_id = s.id GROUP BY s.id ORDER BY s.id
"""
PUT_SESSION = 'INSERT INTO sessions (name, source, created) VALUES (?, ?, ?)'
GET_PLACES = f'SELECT id, session_id, stamp_ns, {ROW} FROM places ORDER BY id'
PUT_PLACE = f'INSERT INTO places (id, session_id, stamp_ns, {ROW}) VALUES ({",".join("?" * 14)})'
LAST_ID = """
SELECT max((SELECT coalesce(max(id), 0) FROM places),
           (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'places'))
"""


@dataclass(frozen=True)
class Merged:
    """What a map has gained."""

    places: int
    sessions: int
    cameras: tuple[str, ...]  # whose model it did not know


def merge(
    target: PlaceMap, source: PlaceMap, progress: Progress = lambda done, total: None
) -> Merged:
    """Add the places of `source` to `target`: durable when this returns, undone when it raises.

    They become its last rows, with new ids, as new sessions; stamps, poses and way travelled stay,
    and the descriptors bit for bit. The calibrator of the target stays.

    Args:
        target: open for writing.
        source: made with the same model, in the same frame.
        progress: called with places done and places in all.

    Raises:
        MapModelError: made with another model, or compressed otherwise.
        MapFrameError: poses in a frame of another name.
        MapDamagedError: the source cannot be read to its end.
        MapWriteError: the target is open for reading, or cannot be written.
        MapError: the places are in the target already, or a camera differs from its namesake.
    """
    _check(target, source)
    cameras = _new_cameras(target, source)
    with source.reading() as given, target.growing() as database:
        sessions = _add_sessions(given, database, source.path)
        evidence.create_tables(database)
        texts = [(name, evidence.camera_to_json(camera)) for name, camera in cameras.items()]
        database.executemany(evidence.PUT_CAMERA, texts)
        rows = _Rows(given, source, sessions, database.execute(LAST_ID).fetchone()[0], progress)
        database.executemany(PUT_PLACE, rows.places())
        database.executemany(evidence.PUT_FEATURES, rows.features())
    return Merged(len(rows.ids), len(sessions), tuple(cameras))


def merge_files(
    sources: Sequence[Path | str],
    path: Path | str,
    overwrite: bool = False,
    stage: Stage = silent,
) -> Merged:
    """Write a new map of the places of several, whole or not at all.

    It has its own identity; ids of the first map stay, and so does its calibrator.

    Args:
        sources: map files, two or more; `path` may be one of them.
        path: the file to write.
        overwrite: replace an existing file.
        stage: called with the name of each step.

    Returns:
        What the first map has gained.

    Raises:
        MapError: as `merge`, or the file exists or cannot be written.
    """
    gained = []
    with writing(Path(path), overwrite) as part:
        with PlaceMap.open(sources[0], None) as first, first.reading() as database:
            copy_database(database, part)
        _make_its_own(part)
        with PlaceMap.open(part, None, writable=True) as whole:
            for name in sources[1:]:
                with PlaceMap.open(name, None) as source:
                    gained.append(merge(whole, source, stage(f'adding {name}')))
    return Merged(
        sum(one.places for one in gained),
        sum(one.sessions for one in gained),
        tuple(name for one in gained for name in one.cameras),
    )


def _make_its_own(part: Path) -> None:
    with closing(schema.open_database(part, writable=True)) as database:
        schema.write_identity(database, schema.read_info(database, str(part)))


def _check(target: PlaceMap, source: PlaceMap) -> None:
    """Refuse a source whose descriptors or poses mean something else."""
    ours, theirs, path = target.info, source.info, source.path
    if theirs.fingerprint != ours.fingerprint:
        raise MapModelError(
            f'{path} was made with {theirs.model}:{theirs.fingerprint[:16]}, the map it is to '
            f'join with {ours.model}:{ours.fingerprint[:16]}: build one of them again'
        )
    if (theirs.binding, theirs.dim) != (ours.binding, ours.dim):
        raise MapModelError(
            f'descriptors of {path} have {theirs.dim} values of another compression, those of '
            f'the map it is to join {ours.dim}: merge whole maps, and compress the result'
        )
    if theirs.uuid == ours.uuid:
        raise MapError(f'{path} is the map it is to join, or a copy of it: {ours.uuid}')
    if theirs.frame != ours.frame:
        raise MapFrameError(
            f'poses of {path} are in frame {theirs.frame!r}, those of the map it is to join in '
            f'{ours.frame!r}: both need the same'
        )


def _new_cameras(target: PlaceMap, source: PlaceMap) -> dict[str, Camera]:
    """Models that the target lacks, or knows without their mounting."""
    new = {}
    for name, theirs in source.beside.cameras.items():
        ours = target.camera(name)
        if ours is None or (ours.base is None and theirs.base is not None):
            new[name] = theirs
        if ours is not None and not _agree(ours, theirs):
            raise MapError(
                f'camera {name!r} of {source.path} has other intrinsics or another mounting than '
                'the one of that name in the map it is to join: build one of the two maps again '
                'with another name for the camera'
            )
    return new


def _agree(one: Camera, other: Camera) -> bool:
    lenses = [(c.size, c.fx, c.fy, c.cx, c.cy, c.distortion) for c in (one, other)]
    mounted = one.base is None or other.base is None or one.base == other.base
    return lenses[0] == lenses[1] and mounted


def _add_sessions(
    given: sqlite3.Connection, database: sqlite3.Connection, path: str
) -> dict[int, int]:
    """Sessions that have places, and which new ones they become."""
    known = {row[1:] for row in database.execute(GET_SESSIONS)}
    new: dict[int, int] = {}
    for number, *session, first_ns in _read(given, GET_SESSIONS, path):
        if (*session, first_ns) in known:
            raise MapError(
                f'session {session[0]!r} of {path}, recorded {session[2]}, is in the map it is to '
                'join already'
            )
        new[number] = int(database.execute(PUT_SESSION, session).lastrowid or 0)
    return new


class _Rows:
    """Rows of the source as the target shall have them, one after the other."""

    def __init__(
        self,
        given: sqlite3.Connection,
        source: PlaceMap,
        sessions: dict[int, int],
        last: int,
        progress: Progress,
    ) -> None:
        self.ids: dict[int, int] = {}  # of the source's places: what they become
        self._given, self._path, self._sessions = given, source.path, sessions
        self._last, self._total, self._progress = last, len(source), progress
        self._bytes = 2 * source.info.dim

    def places(self) -> Iterator[tuple]:
        for place_id, session_id, *row in _read(self._given, GET_PLACES, self._path):
            if session_id not in self._sessions or not self._sound(row[-1]):
                raise MapDamagedError(
                    f'place {place_id} of {self._path} is damaged: see `vpr map check`'
                )
            self.ids[place_id] = self._last + len(self.ids) + 1
            yield (self.ids[place_id], self._sessions[session_id], *row)
            if len(self.ids) % REPORTED == 0 or len(self.ids) == self._total:
                self._progress(len(self.ids), self._total)

    def features(self) -> Iterator[tuple[int, bytes]]:
        if not self._given.execute(evidence.HAS_FEATURES).fetchone()[0]:
            return
        query = 'SELECT place_id, features FROM local_features'
        for place_id, features in _read(self._given, query, self._path):
            if place_id in self.ids:  # what belongs to no place is left behind
                yield self.ids[place_id], features

    def _sound(self, blob: bytes) -> bool:
        return len(blob) == self._bytes and bool(np.isfinite(np.frombuffer(blob, '<f2')).all())


def _read(given: sqlite3.Connection, query: str, path: str) -> Iterator[tuple]:
    """Rows of the source; what goes wrong is its fault and not the target's."""
    try:
        yield from given.execute(query)
    except sqlite3.Error as error:
        raise MapDamagedError(f'cannot read {path}: {error}') from None
