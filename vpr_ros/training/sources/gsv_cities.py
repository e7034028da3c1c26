"""GSV-Cities as published (Ali-bey et al. 2022): `Images/CITY/*.jpg` and `Dataframes/CITY.csv`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.training.sources.geodesy import to_plane
from vpr_ros.training.sources.pictures import FilePictures
from vpr_ros.training.sources.tables import numbers, read_table
from vpr_ros.training.views import ViewSet, joined

COLUMNS = ('place_id', 'year', 'month', 'northdeg', 'city_id', 'lat', 'lon', 'panoid')


def is_gsv_cities(folder: Path) -> bool:
    return (folder / 'Dataframes').is_dir() and (folder / 'Images').is_dir()


def read_gsv_cities(folder: Path) -> ViewSet:
    """Every city that has both a table and images, an area each; a session is a month.

    Raises:
        DatasetError: no city, or a table that cannot be read.
    """
    tables = sorted((folder / 'Dataframes').glob('*.csv'))
    cities = [path for path in tables if (folder / 'Images' / path.stem).is_dir()]
    if not cities:
        raise DatasetError(
            f'{folder} has no city with both Dataframes/CITY.csv and Images/CITY: is it whole?'
        )
    return joined([_city(folder, path) for path in cities])


def _city(folder: Path, table: Path) -> ViewSet:
    rows = read_table(table, COLUMNS)
    if not rows:
        raise DatasetError(f'{table} has no rows')
    value = {name: numbers(rows, name, table) for name in COLUMNS[:4] + ('lat', 'lon')}
    paths = [folder / 'Images' / table.stem / image_name(row) for row in rows]
    month = (value['year'] * 12 + value['month']).astype(np.int64)
    return ViewSet(
        FilePictures(paths), to_plane(value['lat'], value['lon']),
        np.deg2rad(90.0 - value['northdeg']), value['place_id'].astype(np.int64),
        np.zeros(len(rows), np.int64), month, (table.stem,),
    )  # fmt: skip


def image_name(row: dict[str, str]) -> str:
    """Name of the file of a row; latitude and longitude stand in it as they do in the table."""
    place, year, month = (int(float(row[key])) for key in ('place_id', 'year', 'month'))
    north = int(float(row['northdeg']))
    return (
        f'{row["city_id"]}_{place:07d}_{year:04d}_{month:02d}_{north:03d}_{row["lat"]}_'
        f'{row["lon"]}_{row["panoid"]}.jpg'
    )
