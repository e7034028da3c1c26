"""Ways to read pictures on demand, from several threads at once."""

from __future__ import annotations

import io
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vpr_ros.errors import ImageError
from vpr_ros.imagefile import FORMATS, check_size, first_line, read_image

STORED_SIZE = (288, 384)  # height, width


class FilePictures:
    """Image files."""

    def __init__(
        self, paths: Sequence[Path | str], origin: Callable[[int], str] = lambda index: ''
    ) -> None:
        """`origin` says which table and row named a picture, for problems; empty: none."""
        self.paths = [str(path) for path in paths]
        self._origin = origin

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.paths[index]

    def read(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])

    def check(self, index: int) -> str:
        path = Path(self.paths[index])
        try:
            problem = _header_problem(path) if path.stat().st_size else 'has no bytes'
        except FileNotFoundError:
            problem = 'is not there'
        except OSError as error:
            problem = f'cannot be read: {first_line(error)}'
        named = self._origin(index) if problem else ''
        return f'{path} {problem}' + (f' ({named})' if named else '') if problem else ''


def _header_problem(picture: Path | io.BytesIO, name: str = '') -> str:
    """What is wrong with the beginning of an image; empty: nothing."""
    try:
        with Image.open(picture, formats=FORMATS) as image:
            check_size(name, *image.size)
    except UnidentifiedImageError:
        return 'is not an image, or its header is damaged'
    except ImageError as error:
        return str(error).strip()
    except Exception as error:  # a decoder may raise anything at all on damaged bytes
        return f'cannot be read as an image: {first_line(error)}'
    return ''


class StoredPictures:
    """Pictures of STORED_SIZE in a file that is read as if it were memory: see `store`."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        shape = (len(names), *STORED_SIZE, 3)
        self.images = np.memmap(path, np.uint8, 'r', shape=shape)
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
        self._local = threading.local()  # a connection of SQLite belongs to one thread

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        return f'{self.path}, place {self.places[index]}'

    def _bytes(self, index: int) -> bytes:
        try:
            if not hasattr(self._local, 'database'):
                address = f'{self.path.resolve().as_uri()}?mode=ro'
                self._local.database = sqlite3.connect(address, uri=True)
            query = 'SELECT thumbnail FROM places WHERE id = ?'
            row = self._local.database.execute(query, (self.places[index],)).fetchone()
        except sqlite3.Error as error:
            raise ImageError(f'{self.name(index)}: the map cannot be read: {error}') from None
        if row is None or not row[0]:
            raise ImageError(f'{self.name(index)} has no thumbnail')
        return row[0]

    def read(self, index: int) -> np.ndarray:
        data = self._bytes(index)
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return np.array(image.convert('RGB'))
        except Exception as error:
            raise ImageError(f'{self.name(index)}: {first_line(error)}') from None

    def check(self, index: int) -> str:
        try:
            problem = _header_problem(io.BytesIO(self._bytes(index)))
        except ImageError as error:
            return str(error)
        return f'{self.name(index)} {problem}' if problem else ''
