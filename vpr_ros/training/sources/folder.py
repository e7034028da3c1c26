"""Folders of images whose names say where they were taken: `@utm_east@utm_north@...@.jpg`."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.imagefile import SUFFIXES
from vpr_ros.training.sources.grouping import group_views
from vpr_ros.training.sources.pictures import FilePictures
from vpr_ros.training.views import ViewSet

HEADING_FIELD = 9  # of the fields between the @, counted from 1
TABLE = 'survey.csv'


def read_folder(folder: Path) -> ViewSet:
    """All images below a folder, of one area; the sub-folders just below it are its sessions.

    Fields of a name, between the @: east, north, zone number, zone letter, latitude, longitude,
    panorama, tile, heading in degrees clockwise from north, and more; all but the first two may be
    empty. Places are those of `survey.csv` where there is one, else views are grouped by distance
    and heading.

    Raises:
        DatasetError: no image, or a name or row that cannot be read.
    """
    paths = sorted(p for p in folder.rglob('@*') if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise DatasetError(f'{folder} has no images with @utm_east@utm_north@ names')
    poses = np.array([_pose(path) for path in paths])
    heading = np.deg2rad(90.0 - poses[:, 2])
    table = folder / TABLE
    places = (
        _labels(table, folder, paths) if table.is_file() else group_views(poses[:, :2], heading)
    )
    sessions = [path.relative_to(folder).parts[0] for path in paths]
    sessions = ['' if name.startswith('@') else name for name in sessions]
    _, numbers = np.unique(sessions, return_inverse=True)
    none = np.zeros(len(paths), np.int64)
    return ViewSet(
        FilePictures(paths), poses[:, :2], heading, places, none, numbers.astype(np.int64),
        (folder.name,),
    )  # fmt: skip


def _pose(path: Path) -> tuple[float, float, float]:
    """East and north in metres, heading in degrees from north (nan: not said)."""
    fields = path.name.split('@')
    try:
        east, north = float(fields[1]), float(fields[2])
        said = fields[HEADING_FIELD] if len(fields) > HEADING_FIELD else ''
        heading = float(said) if said.strip() else np.nan
    except (ValueError, IndexError):
        raise DatasetError(
            f'{path}: expected a name @utm_east@utm_north@...@.jpg with numbers; rename or '
            'remove it'
        ) from None
    if not np.isfinite([east, north]).all():
        raise DatasetError(f'{path}: the position is not finite; rename or remove it')
    return east, north, heading


def _labels(table: Path, folder: Path, paths: list[Path]) -> np.ndarray:
    with table.open(newline='', encoding='utf-8') as file:
        rows = csv.DictReader(file)
        if not {'file', 'place'} <= set(rows.fieldnames or ()):
            raise DatasetError(
                f'{table}: expected columns file and place, found {rows.fieldnames}'
            )
        try:
            places = {row['file']: int(row['place']) for row in rows}
        except (TypeError, ValueError):
            raise DatasetError(f'{table}: a place is not a whole number') from None
    found = {path.relative_to(folder).as_posix() for path in paths}
    for name in sorted(places.keys() - found)[:1]:
        raise DatasetError(f'{table} names {name}, which is not there: copy the folder whole')
    return np.array([places.get(path.relative_to(folder).as_posix(), -1) for path in paths])
