"""Pictures that were decoded or rendered once, in a file that is read as if it were memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_ros.errors import DatasetError

STORED_SIZE = (288, 384)  # height, width
FORMAT = 1


def cache_folder() -> Path:
    """Where stored pictures lie; safe to delete."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'vpr_ros' / 'training'


def key_of(*parts: Any) -> str:
    """A name for what is stored, from everything that it depends on."""
    text = json.dumps([FORMAT, STORED_SIZE, *parts], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Store:
    """A growing array of pictures, and a table of what is known of each; whole or not there."""

    def __init__(self, folder: Path, key: str) -> None:
        self.images = folder / f'{key}.npy'
        self.table = folder / f'{key}.npz'

    def read(self) -> dict[str, np.ndarray] | None:
        """The columns that were stored, None if there are none."""
        if not (self.images.is_file() and self.table.is_file()):
            return None
        with np.load(self.table, allow_pickle=False) as file:
            return dict(file)

    def write(
        self, pictures: Iterable[np.ndarray], columns: dict[str, list[Any]]
    ) -> dict[str, np.ndarray]:
        """Store pictures one by one; `columns` are complete when the last one was taken.

        Raises:
            DatasetError: the disk has no room.
        """
        self.images.parent.mkdir(parents=True, exist_ok=True)
        raw, part = (self.images.with_suffix(f'.{os.getpid()}.{end}') for end in ('raw', 'part'))
        try:
            with raw.open('wb') as file:
                count = sum(1 for picture in pictures if file.write(_stored(picture).tobytes()))
            _with_header(raw, part, count)
            table = {name: np.array(values) for name, values in columns.items()}
            rest = self.table.with_suffix(f'.{os.getpid()}.npz')
            np.savez(rest, **table)  # type: ignore[arg-type]
            os.replace(rest, self.table)
            os.replace(part, self.images)
        except OSError as error:
            raise DatasetError(
                f'cannot store pictures in {self.images.parent}: {error.strerror}; make room '
                'there or set XDG_CACHE_HOME to another disk'
            ) from None
        finally:
            raw.unlink(missing_ok=True)
            part.unlink(missing_ok=True)
        return table


def _with_header(raw: Path, part: Path, count: int) -> None:
    """Turn raw pixels into a .npy file, picture by picture."""
    if not count:
        np.save(part.open('wb'), np.zeros((0, *STORED_SIZE, 3), np.uint8))
        return
    shape = (count, *STORED_SIZE, 3)
    target = np.lib.format.open_memmap(part, 'w+', dtype=np.uint8, shape=shape)
    source = np.memmap(raw, np.uint8, 'r', shape=shape)
    for first in range(0, count, 64):
        target[first : first + 64] = source[first : first + 64]
    target.flush()


def _stored(image: np.ndarray) -> np.ndarray:
    if image.shape[:2] == STORED_SIZE:
        return np.ascontiguousarray(image)
    return cv2.resize(image, STORED_SIZE[::-1], interpolation=cv2.INTER_AREA)
