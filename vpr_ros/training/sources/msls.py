"""Mapillary Street-Level Sequences as published (Warburg et al. 2020), its training cities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.training.sources.pictures import FilePictures
from vpr_ros.training.sources.tables import FIRST_ROW, is_true, numbers, read_table
from vpr_ros.training.views import ViewSet, joined

TEST_CITIES = ('cph', 'sf')  # the validation set of the field: never trained on
PARTS = ('database', 'query')
COLUMNS = ('key', 'easting', 'northing', 'unique_cluster', 'control_panel', 'view_direction')
SAME_CLUSTER_M = 25.0

Note = Callable[[str], None]


class _Image(NamedTuple):
    path: Path
    east_m: float
    north_m: float
    heading_rad: float  # nan: not said
    cluster: str
    part: int  # position in PARTS
    sequence: str
    origin: str  # table and row


def is_msls(folder: Path) -> bool:
    return (folder / 'train_val').is_dir()


def read_msls(
    folder: Path, forward_only: bool = False, note: Note = lambda sentence: None
) -> ViewSet:
    """Every training city, an area each; panoramas and images of the car's own panel left out.

    Places are the clusters of the data set, sessions its sequences. The two cities on which the
    field validates are left out.

    Args:
        folder: holds `train_val`.
        forward_only: only images marked as looking forward.
        note: told of cities of which nothing is left.

    Raises:
        DatasetError: no city, or a table that cannot be read.
    """
    cities = [
        city for city in sorted((folder / 'train_val').iterdir())
        if city.is_dir() and city.name not in TEST_CITIES
    ]  # fmt: skip
    parts = []
    for city in cities:
        images = _images(city, forward_only)
        if images:
            parts.append(_city(city.name, images))
        else:
            note(f'{city}: no image is left without panoramas, panels and unwanted directions')
    if not parts:
        raise DatasetError(f'{folder}/train_val has no city to train on: is the data set whole?')
    return joined(parts)


def _images(city: Path, forward_only: bool) -> list[_Image]:
    parts = [part for part in PARTS if (city / part).is_dir()]
    if not parts:
        raise DatasetError(f'{city} has neither database nor query: is the data set whole?')
    return [image for part in parts for image in _part(city / part, forward_only)]


def _city(name: str, images: list[_Image]) -> ViewSet:
    position = np.array([(image.east_m, image.north_m) for image in images])
    sequences = [image.sequence for image in images]
    return ViewSet(
        FilePictures([image.path for image in images], lambda index: images[index].origin),
        position, np.array([image.heading_rad for image in images]), _places(images, position),
        np.zeros(len(images), np.int64),
        np.unique(sequences, return_inverse=True)[1].astype(np.int64), (name,),
    )  # fmt: skip


def _places(images: list[_Image], position: np.ndarray) -> np.ndarray:
    """A place a cluster, (N,); two where database and query use one number for two spots.

    No public text says that both parts count their clusters together. Where they do, the two
    halves of a cluster lie at one spot; where they do not, joining them would teach nonsense.
    """
    clusters, cluster = np.unique([image.cluster for image in images], return_inverse=True)
    part = np.array([image.part for image in images])
    half = 2 * cluster + part
    counts = np.bincount(half, minlength=2 * len(clusters))
    sums = [np.bincount(half, axis, 2 * len(clusters)) for axis in position.T]
    middles = np.column_stack(sums) / np.maximum(counts, 1)[:, None]
    apart = np.linalg.norm(middles[0::2] - middles[1::2], axis=1) > SAME_CLUSTER_M
    apart &= (counts[0::2] > 0) & (counts[1::2] > 0)
    labels = 2 * cluster + part * apart[cluster]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _part(folder: Path, forward_only: bool) -> list[_Image]:
    table, raw_table = folder / 'postprocessed.csv', folder / 'raw.csv'
    rows, raw_rows = read_table(table, COLUMNS), read_table(raw_table, ('key', 'ca', 'pano'))
    east, north = numbers(rows, 'easting', table), numbers(rows, 'northing', table)
    heading = np.deg2rad(90.0 - numbers(raw_rows, 'ca', raw_table, unknown=np.nan))
    raw_of = {row['key']: number for number, row in enumerate(raw_rows)}
    sequences, found = _sequences(folder), []
    for number, row in enumerate(rows):
        key, origin = row['key'], f'{table}, row {number + FIRST_ROW}'
        if key not in raw_of:
            raise DatasetError(f'{origin}: {key} is not in {raw_table}')
        raw = raw_of[key]
        sideways = forward_only and row['view_direction'] != 'Forward'
        if is_true(row['control_panel']) or is_true(raw_rows[raw]['pano']) or sideways:
            continue
        found.append(_Image(
            folder / 'images' / f'{key}.jpg', float(east[number]), float(north[number]),
            float(heading[raw]), row['unique_cluster'], PARTS.index(folder.name),
            sequences.get(key, folder.name), origin,
        ))  # fmt: skip
    return found


def _sequences(folder: Path) -> dict[str, str]:
    table = folder / 'seq_info.csv'
    if not table.is_file():
        return {}
    return {row['key']: row['sequence_key'] for row in read_table(table, ('key', 'sequence_key'))}
