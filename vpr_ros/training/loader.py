"""Pictures from disk to batches, read ahead by threads: the decoders leave Python while they work.

The order is that of the plan whatever the number of threads, and memory holds AHEAD batches.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np

from vpr_ros.errors import DatasetError, ImageError
from vpr_ros.training.views import Pictures

AHEAD = 3
# Room for crops around the network's input, and for cameras wider than it is.
OVERSIZE = (1.2, 1.6)


@dataclass(frozen=True)
class Lost:
    """A picture that could not be read."""

    index: int
    name: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Pictures (B, H, W, 3) uint8 RGB, and which ones they are in the end."""

    images: np.ndarray
    indices: np.ndarray  # (B,): a lost picture is replaced by a view beside it
    labels: np.ndarray  # (B,)


@dataclass
class Loader:
    """Reads pictures scaled to one size."""

    pictures: Pictures
    size: tuple[int, int]  # height, width
    threads: int = 0  # 0: one a core
    lost: dict[int, Lost] = field(default_factory=dict)  # by index, each named once

    def batches(
        self, rows: Iterable[tuple[np.ndarray, np.ndarray]], blank: bool = False
    ) -> Iterator[Batch]:
        """Read batches in order.

        Args:
            rows: indices (B,) and labels (B,) of each batch.
            blank: lost pictures are black; else others of the batch stand in for them.

        Raises:
            DatasetError: no picture of a batch can be read, and `blank` is not set.
        """
        count = self.threads or len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(count, thread_name_prefix='decoder') as pool:
            waiting: deque[tuple[np.ndarray, np.ndarray, list[Future]]] = deque()
            try:
                for indices, labels in rows:
                    jobs = [pool.submit(self._read, int(index)) for index in indices]
                    waiting.append((indices, labels, jobs))
                    if len(waiting) > AHEAD:
                        yield self._assembled(*waiting.popleft(), blank)
                while waiting:
                    yield self._assembled(*waiting.popleft(), blank)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, index: int) -> np.ndarray | Lost:
        try:
            image = self.pictures.read(index)
        except ImageError as error:
            return Lost(index, self.pictures.name(index), str(error))
        if image.shape[:2] == self.size:
            return image
        smaller = image.shape[0] * image.shape[1] > self.size[0] * self.size[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return cv2.resize(image, self.size[::-1], interpolation=how)

    def _assembled(
        self, indices: np.ndarray, labels: np.ndarray, jobs: list[Future], blank: bool
    ) -> Batch:
        pictures = [job.result() for job in jobs]
        for row, picture in enumerate(pictures):
            if isinstance(picture, Lost):
                self.lost.setdefault(picture.index, picture)
                pictures[row] = np.zeros((*self.size, 3), np.uint8) if blank else picture
        good = [row for row, picture in enumerate(pictures) if not isinstance(picture, Lost)]
        if not good:
            raise DatasetError(
                f'none of the {len(indices)} pictures of a batch can be read, the first because '
                f'{pictures[0].reason}: are the files still there?'
            )
        rows = stand_ins(good, labels)
        return Batch(np.stack([pictures[row] for row in rows]), indices[rows], labels[rows])


def stand_ins(good: list[int], labels: np.ndarray) -> list[int]:
    """For each row itself if it is good, else one of its place where there is one, else any.

    So a batch keeps its shape.

    Args:
        good: rows whose picture could be read, at least one.
        labels: place of each row, (B,).
    """
    return [
        min(good, key=lambda other: (other != row, labels[other] != labels[row], other))
        for row in range(len(labels))
    ]


def stored_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which pictures are kept for a network input of this size."""
    return round(OVERSIZE[0] * size[0]), round(OVERSIZE[1] * size[1])
