"""Pictures that were decoded or rendered once, in a file that is read as if it were memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.training.sources.pictures import STORED_SIZE

FORMAT = 2
PICTURE_BYTES = 3 * STORED_SIZE[0] * STORED_SIZE[1]
COUNT = 'pictures'  # column of the table: how many there are


def cache_folder() -> Path:
    """Where stored pictures lie; safe to delete."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'vpr_ros' / 'training'


def key_of(*parts: Any) -> str:
    """A name for what is stored, from everything that it depends on."""
    text = json.dumps([FORMAT, STORED_SIZE, *parts], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def state_of(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of a file, or of every file in a folder.

    The folder's own time would not tell that a file in it has grown.
    """
    files = sorted(p for p in path.rglob('*') if p.is_file()) if path.is_dir() else [path]
    states = [(file, file.stat()) for file in files]
    return [(str(file.absolute()), state.st_size, state.st_mtime_ns) for file, state in states]


class Store:
    """A growing array of pictures, and a table of what is known of each; whole or not there."""

    def __init__(self, folder: Path, key: str) -> None:
        self.images = folder / f'{key}.raw'
        self.table = folder / f'{key}.npz'

    def read(self) -> dict[str, np.ndarray] | None:
        """The columns that were stored; None if there are none, or they are damaged."""
        try:
            with np.load(self.table, allow_pickle=False) as file:
                columns = dict(file)
            whole = self.images.stat().st_size == int(columns.pop(COUNT)) * PICTURE_BYTES
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        return columns if whole else None

    def write(
        self, pictures: Iterable[np.ndarray], columns: dict[str, list[Any]]
    ) -> dict[str, np.ndarray]:
        """Store pictures one by one; `columns` are complete when the last one was taken.

        Plain writes, because a full disk then is an error; under a memory map it ends the process.

        Raises:
            DatasetError: the disk has no room, or the folder cannot be written.
        """
        raw, rest = (self.table.with_suffix(f'.{os.getpid()}.{end}') for end in ('raw', 'npz'))
        try:
            self.images.parent.mkdir(parents=True, exist_ok=True)
            with raw.open('wb') as file:
                count = sum(1 for picture in pictures if file.write(_stored(picture).tobytes()))
            table = {name: np.array(values) for name, values in columns.items()}
            np.savez(rest, **table, **{COUNT: np.array(count)})  # type: ignore[arg-type]
            os.replace(raw, self.images)
            os.replace(rest, self.table)
        except OSError as error:
            raise DatasetError(
                f'cannot store pictures in {self.images.parent}: {error.strerror or error}; make '
                'room there or set XDG_CACHE_HOME to another disk'
            ) from None
        finally:
            for left in (raw, rest):
                with contextlib.suppress(OSError):  # mostly: it was moved to its place
                    left.unlink()
        return table


def _stored(image: np.ndarray) -> np.ndarray:
    if image.shape[:2] == STORED_SIZE:
        return np.ascontiguousarray(image)
    return cv2.resize(image, STORED_SIZE[::-1], interpolation=cv2.INTER_AREA)
