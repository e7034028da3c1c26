"""Walk-through videos at one frame a second, in the layout of ie_tower. No positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.datasets import tower_rows
from vpr_ros.training.sources.pictures import FilePictures
from vpr_ros.training.views import ViewSet

WINDOW_S, GAP_S = 4, 3


def read_tower(folder: Path, floors: tuple[str, ...]) -> ViewSet:
    """A place is some seconds of one video; the seconds that follow belong to none.

    Raises:
        DatasetError: a file is missing, or no such floor.
    """
    rows = tower_rows(folder, floors)
    if not rows:
        raise DatasetError(f'{folder}/images.csv has no rows')
    period = WINDOW_S + GAP_S
    second = np.array([_second(row, folder) for row in rows])
    videos, video = np.unique([row['video'] for row in rows], return_inverse=True)
    _, places = np.unique(video * (second.max() + 1) + second // period, return_inverse=True)
    nowhere = np.full((len(rows), 2), np.nan)
    return ViewSet(
        FilePictures([folder / row['image_path'] for row in rows]), nowhere, nowhere[:, 0],
        np.where(second % period < WINDOW_S, places, -1).astype(np.int64),
        np.zeros(len(rows), np.int64), video.astype(np.int64),
        (f'ie_tower {"+".join(floors)}'.strip(),),
    )  # fmt: skip


def _second(row: dict[str, str], folder: Path) -> int:
    if not row['second'].isdecimal():
        raise DatasetError(
            f'{folder}/images.csv: the second of {row["image_path"]} is {row["second"]!r}, '
            'expected a whole number'
        )
    return int(row['second'])
