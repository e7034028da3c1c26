"""GSV-Cities as published (Ali-bey et al. 2022): `Images/CITY/*.jpg` and `Dataframes/CITY.csv`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.training.sources.geodesy import to_plane
from vpr_ros.training.sources.grouping import compact
from vpr_ros.training.sources.pictures import FilePictures
from vpr_ros.training.sources.tables import FIRST_ROW, numbers, read_table, whole_numbers
from vpr_ros.training.views import ViewSet, joined

COLUMNS = ('place_id', 'year', 'month', 'northdeg', 'city_id', 'lat', 'lon', 'panoid')
WHOLE = COLUMNS[:4]

Note = Callable[[str], None]


def is_gsv_cities(folder: Path) -> bool:
    return (folder / 'Dataframes').is_dir() and (folder / 'Images').is_dir()


def read_gsv_cities(folder: Path, note: Note = lambda sentence: None) -> ViewSet:
    """Every city that has both a table and images, an area each; a session is a month.

    Args:
        folder: holds `Images` and `Dataframes`.
        note: told of cities that have a table but no images.

    Raises:
        DatasetError: no city, or a table that cannot be read.
    """
    tables = sorted((folder / 'Dataframes').glob('*.csv'))
    cities = [path for path in tables if (folder / 'Images' / path.stem).is_dir()]
    if not cities:
        raise DatasetError(
            f'{folder} has no city with both Dataframes/CITY.csv and Images/CITY: is it whole?'
        )
    absent = [path.stem for path in tables if path not in cities]
    if absent:
        note(f'{folder}: {len(absent)} cities without images left out: {", ".join(absent)}')
    return joined([_city(folder, path) for path in cities])


def _city(folder: Path, table: Path) -> ViewSet:
    rows = read_table(table, COLUMNS)
    if not rows:
        raise DatasetError(f'{table} has no rows')
    value = {name: whole_numbers(rows, name, table) for name in WHOLE}
    value |= {name: numbers(rows, name, table) for name in ('lat', 'lon')}
    images = folder / 'Images' / table.stem
    there = set(os.listdir(images))
    paths = [images / _file(row, there) for row in rows]
    none = np.zeros(len(rows), np.int64)
    return ViewSet(
        FilePictures(paths, lambda index: f'{table}, row {index + FIRST_ROW}'),
        to_plane(value['lat'], value['lon']), np.deg2rad(90.0 - value['northdeg']),
        compact(value['place_id'], none), none, value['year'] * 12 + value['month'],
        (table.stem,),
    )  # fmt: skip


def _file(row: dict[str, str], there: set[str]) -> str:
    """The file of a row: the first of the names in use that is there, else the published one."""
    written = (row['lat'], row['lon'])
    # The authors' loader writes the coordinates as Python prints them, which drops end zeros.
    printed = (str(float(row['lat'])), str(float(row['lon'])))
    names = [
        f'{image_name(row, *point)}{suffix}'
        for point in (written, printed) for suffix in ('.jpg', '.JPG')
    ]  # fmt: skip
    return next((name for name in names if name in there), names[0])


def image_name(row: dict[str, str], latitude: str, longitude: str) -> str:
    """Name of the file of a row, without its suffix."""
    place, year, month, north = (int(float(row[key])) for key in WHOLE)
    return (
        f'{row["city_id"]}_{place:07d}_{year:04d}_{month:02d}_{north:03d}_{latitude}_{longitude}_'
        f'{row["panoid"]}'
    )
