"""Mapillary Street-Level Sequences as published (Warburg et al. 2020), its training cities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.training.sources.pictures import FilePictures
from vpr_ros.training.sources.tables import is_true, numbers, read_table
from vpr_ros.training.views import ViewSet, joined

TEST_CITIES = ('cph', 'sf')  # the validation set of the field: never trained on
PARTS = ('database', 'query')


def is_msls(folder: Path) -> bool:
    return (folder / 'train_val').is_dir()


def read_msls(folder: Path, forward_only: bool = False) -> ViewSet:
    """Every training city, an area each; panoramas and images of the car's own panel left out.

    Places are the clusters of the data set, sessions its sequences. The two cities on which the
    field validates are left out.

    Args:
        folder: holds `train_val`.
        forward_only: only images marked as looking forward.

    Raises:
        DatasetError: no city, or a table that cannot be read.
    """
    cities = [
        city for city in sorted((folder / 'train_val').iterdir())
        if city.is_dir() and city.name not in TEST_CITIES
    ]  # fmt: skip
    parts = [_city(city, forward_only) for city in cities]
    if not parts:
        raise DatasetError(f'{folder}/train_val has no city to train on: is the data set whole?')
    return joined(parts)


def _city(city: Path, forward_only: bool) -> ViewSet:
    found: list[tuple[Path, float, float, float, str, str]] = []
    for part in PARTS:
        if (city / part).is_dir():
            found += _part(city / part, forward_only)
    if not found:
        raise DatasetError(f'{city} has neither database nor query: is the data set whole?')
    paths, east, north, heading, cluster, sequence = zip(*found, strict=True)
    places = np.unique(cluster, return_inverse=True)[1].astype(np.int64)
    sessions = np.unique(sequence, return_inverse=True)[1].astype(np.int64)
    return ViewSet(
        FilePictures(list(paths)), np.column_stack([east, north]), np.array(heading), places,
        np.zeros(len(found), np.int64), sessions, (city.name,),
    )  # fmt: skip


def _part(folder: Path, forward_only: bool) -> list[tuple[Path, float, float, float, str, str]]:
    table, raw_table = folder / 'postprocessed.csv', folder / 'raw.csv'
    rows = read_table(
        table, ('key', 'easting', 'northing', 'unique_cluster', 'control_panel', 'view_direction')
    )
    raw = {row['key']: row for row in read_table(raw_table, ('key', 'ca', 'pano'))}
    sequences = _sequences(folder)
    east, north = numbers(rows, 'easting', table), numbers(rows, 'northing', table)
    found = []
    for index, row in enumerate(rows):
        key = row['key']
        if key not in raw:
            raise DatasetError(f'{table}, row {index + 2}: {key} is not in {raw_table}')
        sideways = forward_only and row['view_direction'] != 'Forward'
        if is_true(row['control_panel']) or is_true(raw[key]['pano']) or sideways:
            continue
        compass = numbers([raw[key]], 'ca', raw_table)[0]
        # Clusters are numbered for database and query together.
        found.append((
            folder / 'images' / f'{key}.jpg', float(east[index]), float(north[index]),
            float(np.deg2rad(90.0 - compass)), row['unique_cluster'],
            sequences.get(key, folder.name),
        ))  # fmt: skip
    return found


def _sequences(folder: Path) -> dict[str, str]:
    table = folder / 'seq_info.csv'
    if not table.is_file():
        return {}
    return {row['key']: row['sequence_key'] for row in read_table(table, ('key', 'sequence_key'))}
