"""Folders of images whose names say where they were taken: `@utm_east@utm_north@...@.jpg`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.imagefile import SUFFIXES
from vpr_ros.training.sources.grouping import compact, group_views
from vpr_ros.training.sources.pictures import FilePictures
from vpr_ros.training.sources.tables import FIRST_ROW, read_table, whole_numbers
from vpr_ros.training.views import ViewSet

# Of the fields between the @, counted from 1.
ZONE_FIELD, BAND_FIELD, HEADING_FIELD = 3, 4, 9
FIRST_NORTHERN_BAND = 'N'
TABLE = 'survey.csv'

Note = Callable[[str], None]


def read_folder(folder: Path, note: Note = lambda sentence: None) -> ViewSet:
    """All images below a folder; the sub-folders just below it are its sessions.

    Fields of a name, between the @: east, north, zone number, zone letter, latitude, longitude,
    panorama, tile, heading in degrees clockwise from north, and more; all but the first two may be
    empty. A UTM zone is an area. Places are those of `survey.csv` where there is one, else views
    are grouped by distance and heading.

    Args:
        folder: holds the images, at any depth.
        note: told how many images have other names and are left out.

    Raises:
        DatasetError: no image, or a name or row that cannot be read.
    """
    images = sorted(path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES)
    paths = [path for path in images if path.name.startswith('@')]
    if not paths:
        raise DatasetError(
            f'{folder} has no images with @utm_east@utm_north@ names, no Images and Dataframes of '
            'GSV-Cities and no train_val of MSLS: expected one of these, a recording or a .vprmap'
        )
    if len(paths) < len(images):
        note(f'{folder}: {len(images) - len(paths)} images without @ names were left out')
    spots = [_spot(path) for path in paths]
    position = np.array([(spot.east_m, spot.north_m) for spot in spots])
    heading = np.deg2rad(90.0 - np.array([spot.heading_deg for spot in spots]))
    zones, areas = np.unique([spot.zone for spot in spots], return_inverse=True)
    sessions = [path.relative_to(folder).parts[0] for path in paths]
    sessions = ['' if name.startswith('@') else name for name in sessions]
    return ViewSet(
        FilePictures(paths), position, heading, _places(folder, paths, position, heading, areas),
        areas.astype(np.int64), np.unique(sessions, return_inverse=True)[1].astype(np.int64),
        tuple(f'{folder.name} {zone}' if len(zones) > 1 else folder.name for zone in zones),
    )  # fmt: skip


class _Spot(NamedTuple):
    east_m: float
    north_m: float
    heading_deg: float  # clockwise from north; nan: not said
    zone: str  # of UTM, with its hemisphere; positions of two zones have nothing in common


def _spot(path: Path) -> _Spot:
    fields = [*path.name.split('@'), *[''] * HEADING_FIELD]
    try:
        east, north = float(fields[1]), float(fields[2])
        said = fields[HEADING_FIELD].strip()
        heading = float(said) if said else np.nan
    except ValueError:
        raise DatasetError(
            f'{path}: expected a name @utm_east@utm_north@...@.jpg with numbers; rename or '
            'remove it'
        ) from None
    if not np.isfinite([east, north]).all() or np.isinf(heading):
        raise DatasetError(f'{path}: the position is not finite; rename or remove it')
    number, band = fields[ZONE_FIELD].strip(), fields[BAND_FIELD].strip().upper()
    half = ('N' if band >= FIRST_NORTHERN_BAND else 'S') if band else ''
    return _Spot(east, north, heading, f'{number.lstrip("0")}{half}')


def _places(
    folder: Path, paths: list[Path], position: np.ndarray, heading: np.ndarray, areas: np.ndarray
) -> np.ndarray:
    if (folder / TABLE).is_file():
        return compact(_labels(folder / TABLE, paths), areas)
    labels = np.full(len(paths), -1, np.int64)
    for area in np.unique(areas):
        rows = areas == area
        labels[rows] = group_views(position[rows], heading[rows])
    return compact(labels, areas)


def _labels(table: Path, paths: list[Path]) -> np.ndarray:
    """Places (N,) that the table gives to images; -1 where it does not name one."""
    rows = read_table(table, ('file', 'place'))
    places = whole_numbers(rows, 'place', table)
    row_of = {row['file']: number for number, row in enumerate(rows)}
    names = [path.relative_to(table.parent).as_posix() for path in paths]
    for name in sorted(row_of.keys() - set(names), key=row_of.__getitem__)[:1]:
        raise DatasetError(
            f'{table}, row {row_of[name] + FIRST_ROW}, names {name}, which is not there: copy the '
            'folder whole'
        )
    return np.array([places[row_of[name]] if name in row_of else -1 for name in names])
