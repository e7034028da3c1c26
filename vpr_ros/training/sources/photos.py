"""Photographs of anything, of which nothing is known: to learn a teacher's features from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.imagefile import SUFFIXES
from vpr_ros.training.sources.pictures import FilePictures
from vpr_ros.training.views import ViewSet


def read_photos(folder: Path) -> ViewSet:
    """All images below a folder, each a place of one view, at no position.

    In a batch of several views a place such a photograph stands for itself, in as many augmented
    versions.

    Raises:
        DatasetError: no image.
    """
    paths = sorted(path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DatasetError(f'photos: expected images below {folder}, found none')
    nowhere = np.full((len(paths), 2), np.nan)
    return ViewSet(
        FilePictures(paths), nowhere, nowhere[:, 0], np.arange(len(paths)),
        np.zeros(len(paths), np.int64), np.zeros(len(paths), np.int64), (f'photos {folder.name}',),
    )  # fmt: skip
