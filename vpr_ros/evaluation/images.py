"""Images of an evaluation set, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import cv2
import numpy as np

from vpr_ros.errors import DatasetError, ImageError
from vpr_ros.imagefile import SUFFIXES, read_image

NOT_KEPT = (120, 160, 3)


class Images(Sequence[np.ndarray]):
    """N images (H, W, 3) uint8 RGB, with a name for each."""

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> np.ndarray:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        rows = range(len(self))[index]
        return [self.read(i) for i in rows] if isinstance(rows, range) else self.read(rows)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.read(i) for i in range(len(self)))


class ImageFiles(Images):
    """Image files of a folder, in the order given."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Check that every file exists, without reading any.

        Raises:
            DatasetError: files are missing; the first ones are named.
        """
        self.folder = folder
        self.names = tuple(names)
        missing = [name for name in self.names if not (folder / name).is_file()]
        if missing:
            more = f' and {len(missing) - 3} more' if len(missing) > 3 else ''
            raise DatasetError(
                f'{folder}: {len(missing)} of {len(self.names)} images are missing: '
                f'{", ".join(missing[:3])}{more}'
            )

    def read(self, index: int) -> np.ndarray:
        """Decode one image; a DatasetError names the file that cannot be read."""
        try:
            return read_image(self.folder / self.names[index])
        except ImageError as error:
            raise DatasetError(str(error)) from None


class EncodedImages(Images):
    """Images kept as JPEG in memory; None for one that was not kept, which is shown grey."""

    def __init__(self, encoded: Sequence[bytes | None], names: Sequence[str]) -> None:
        self._encoded = encoded
        self.names = tuple(names)

    def read(self, index: int) -> np.ndarray:
        data = self._encoded[index]
        if data is None:
            return np.full(NOT_KEPT, 128, np.uint8)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return cv2.cvtColor(np.asarray(image), cv2.COLOR_BGR2RGB)


class VideoFrames(Images):
    """Every `step`-th frame of a video; reading forwards is fast, going back starts again."""

    def __init__(self, path: Path, frames: int, step: int = 1) -> None:
        """Count what the file declares.

        Raises:
            DatasetError: not a video, or another number of frames than expected.
        """
        self.path, self.step = path, step
        self.names = tuple(f'frame {i}' for i in range(0, frames, step))
        self.capture = self.open()
        declared = int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if declared != frames:
            raise DatasetError(f'{path}: expected {frames} frames, found {declared}')

    def open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise DatasetError(f'{self.path}: expected a video, found no file that can be decoded')
        self.next_frame = 0
        return capture

    def read(self, index: int) -> np.ndarray:
        """Decode one frame."""
        wanted = index * self.step
        if wanted < self.next_frame:
            self.capture = self.open()
        while self.next_frame <= wanted:
            if not self.capture.grab():
                raise DatasetError(f'{self.path}: frame {self.next_frame} cannot be decoded')
            self.next_frame += 1
        ok, frame = self.capture.retrieve()
        if not ok:
            raise DatasetError(f'{self.path}: frame {wanted} cannot be decoded')
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def image_names(folder: Path) -> list[str]:
    """Names of the image files directly in a folder, sorted.

    Raises:
        DatasetError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DatasetError(f'{folder}: expected a folder of images, found none')
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not names:
        raise DatasetError(f'{folder}: expected images ({", ".join(SUFFIXES)}), found none')
    return names
