"""Ways to read pictures on demand, from several threads at once."""

from __future__ import annotations

import io
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vpr_ros.errors import ImageError
from vpr_ros.imagefile import FORMATS, check_size, first_line, read_image


class FilePictures:
    """Image files."""

    def __init__(self, paths: Sequence[Path | str]) -> None:
        self.paths = [str(path) for path in paths]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.paths[index]

    def read(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])

    def check(self, index: int) -> str:
        path = self.paths[index]
        try:
            with Image.open(path, formats=FORMATS) as image:
                check_size(path, *image.size)
        except Exception as error:  # a decoder may raise anything at all on damaged bytes
            return f'{path} cannot be read as an image: {first_line(error)}'
        return ''


class StoredPictures:
    """Pictures of one size in a memory map of the file system: of recordings and renderings."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.images = np.load(path, mmap_mode='r')  # (N, H, W, 3) uint8
        self.names = list(names)

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return self.names[index]

    def read(self, index: int) -> np.ndarray:
        return np.array(self.images[index])

    def check(self, index: int) -> str:
        return ''


class MapPictures:
    """Thumbnails of the places of a map."""

    def __init__(self, path: Path, places: Sequence[int]) -> None:
        self.path, self.places = path, list(places)
        self._local = threading.local()

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        return f'{self.path}, place {self.places[index]}'

    def _bytes(self, index: int) -> bytes | None:
        if not hasattr(self._local, 'database'):
            address = f'file:{self.path}?mode=ro'
            self._local.database = sqlite3.connect(address, uri=True, check_same_thread=False)
        rows = self._local.database.execute(
            'SELECT thumbnail FROM places WHERE id = ?', (self.places[index],)
        )
        row = rows.fetchone()
        return row[0] if row else None

    def read(self, index: int) -> np.ndarray:
        data = self._bytes(index)
        if not data:
            raise ImageError(f'{self.name(index)} has no thumbnail')
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return np.array(image.convert('RGB'))
        except Exception as error:
            raise ImageError(f'{self.name(index)}: {first_line(error)}') from None

    def check(self, index: int) -> str:
        return '' if self._bytes(index) else f'{self.name(index)} has no thumbnail'
