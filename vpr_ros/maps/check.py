"""Whether a map file is whole: every page, every place, and everything kept beside them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from vpr_ros.errors import MapDamagedError, MapError
from vpr_ros.maps import evidence, schema
from vpr_ros.maps.compress import Progress
from vpr_ros.maps.local_features import unpack
from vpr_ros.maps.place_map import PlaceMap

SHOWN = 5  # places named in one finding, and findings about pages
LENGTH_TOLERANCE = 0.01  # fp16 rounds each value by at most 2^-11 of it
REPORTED = 256  # places between two reports of progress

WITHOUT_SESSION = 'SELECT id FROM places WHERE session_id NOT IN (SELECT id FROM sessions)'
WITHOUT_PLACE = 'SELECT place_id FROM local_features WHERE place_id NOT IN (SELECT id FROM places)'
HALF_A_POSE = """
SELECT id FROM places WHERE (x IS NULL) + (y IS NULL) + (z IS NULL) + (qx IS NULL) +
    (qy IS NULL) + (qz IS NULL) + (qw IS NULL) NOT IN (0, 7)
    OR abs(qx * qx + qy * qy + qz * qz + qw * qw - 1.0) > 0.01
"""


@dataclass(frozen=True)
class Checked:
    """What a map holds, and what is wrong with it, a sentence each."""

    places: int = 0
    sessions: int = 0
    thumbnails: int = 0
    local_features: int = 0
    findings: tuple[str, ...] = ()


def check_pages(path: Path | str) -> None:
    """Read every page of a map file.

    What SQLite can see: a bit that changed within a value is not among it, see `check_map`.

    Raises:
        MapDamagedError: something is wrong; the sentence says what is wrong first.
        MapError: there is no such file, or it may not be read.
    """
    if wrong := _pages(path):
        raise MapDamagedError(f'{path} is damaged: {wrong[0]}; copy it again or build it anew')


def check_map(path: Path | str, progress: Progress = lambda done, total: None) -> Checked:
    """Look at everything in a map file.

    Args:
        path: the `.vprmap` file.
        progress: called with places looked at and places in all.

    Raises:
        MapError: there is no such file, or it may not be read.
    """
    findings = _pages(path)
    try:
        with PlaceMap.open(path, None) as place_map, place_map.reading() as database:
            look = _Look(place_map, database)
            look.at_rows()
            look.at_places(progress)
            look.at_what_is_beside()
            counts = len(place_map), len(place_map.sessions()), look.thumbnails, look.features
            return Checked(*counts, (*findings, *look.findings()))
    except MapError as error:
        told = str(error)  # of what is no database at all, its pages tell the same
        return Checked(findings=(*(x for x in findings if x not in told), told))
    except sqlite3.Error as error:
        return Checked(findings=(*findings, f'{path} cannot be read to its end: {error}'))


def _pages(path: Path | str) -> tuple[str, ...]:
    with closing(schema.open_database(path, writable=False)) as database:
        try:
            rows = database.execute(f'PRAGMA integrity_check({SHOWN})').fetchall()
        except sqlite3.Error as error:
            return (str(error),)
    return tuple(' '.join(text.split()) for (text,) in rows if text != 'ok')


class _Look:
    """One pass over the tables of an open map."""

    def __init__(self, place_map: PlaceMap, database: sqlite3.Connection) -> None:
        self.thumbnails = self.features = 0
        self._map, self._database = place_map, database
        self._wrong: dict[str, list[int]] = {}
        self._there = bool(database.execute(evidence.HAS_FEATURES).fetchone()[0])

    def findings(self) -> list[str]:
        """One sentence for each kind of fault, with the first places that have it."""
        return [_sentence(what, places) for what, places in self._wrong.items()]

    def at_rows(self) -> None:
        """Rows that refer to nothing, and poses that are none."""
        self._ask('without a session', WITHOUT_SESSION)
        self._ask('a pose that is incomplete or no rotation', HALF_A_POSE)
        if self._there:
            self._ask('local features without a place', WITHOUT_PLACE)

    def at_places(self, progress: Progress) -> None:
        """Descriptors and thumbnails."""
        rows = self._database.execute('SELECT id, descriptor, thumbnail FROM places ORDER BY id')
        for done, (place_id, descriptor, thumbnail) in enumerate(rows, start=1):
            if fault := self._fault(descriptor):
                self._add(fault, place_id)
            if thumbnail is not None:
                self.thumbnails += 1
                if not _is_jpeg(thumbnail):
                    self._add('a thumbnail that is no whole JPEG', place_id)
            if done % REPORTED == 0 or done == len(self._map):
                progress(done, len(self._map))

    def at_what_is_beside(self) -> None:
        """Local features and the calibrator."""
        if not self._there:
            return
        for place_id, blob in self._database.execute(
            'SELECT place_id, features FROM local_features'
        ):
            self.features += 1
            try:
                unpack([blob])
            except MapError:
                self._add('damaged local features', place_id)
        try:
            json.loads(self._map.beside.calibrator() or '{}')
        except ValueError:
            self._add('a calibrator that is garbled', 0)

    def _fault(self, blob: bytes) -> str:
        row = np.frombuffer(blob, '<f2').astype(np.float32)
        length = float(np.linalg.norm(row))
        if not np.isfinite(length):
            return 'a descriptor that is not finite'
        if not self._map.keeps_cosines:
            return ''
        least = 0.0 if self._map.projection else 1.0 - LENGTH_TOLERANCE  # projected, it is shorter
        if not least <= length <= 1.0 + LENGTH_TOLERANCE:
            return 'a descriptor that is not of unit length'
        return ''

    def _ask(self, what: str, query: str) -> None:
        for (place_id,) in self._database.execute(query):
            self._add(what, place_id)

    def _add(self, what: str, place_id: int) -> None:
        self._wrong.setdefault(what, []).append(place_id)


def _sentence(what: str, places: list[int]) -> str:
    if places == [0]:
        return what
    named = ', '.join(map(str, places[:SHOWN])) + (', ...' if len(places) > SHOWN else '')
    return f'{what}: {len(places)} place{"s" * (len(places) > 1)} ({named})'


def _is_jpeg(data: bytes) -> bool:
    try:
        with Image.open(BytesIO(data), formats=('JPEG',)) as image:
            image.load()
    except Exception:  # a decoder may raise anything at all on damaged bytes
        return False
    return True
