"""Descriptors of as many images as there are, outside of memory, and distances between them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import torch

from vpr_ros.errors import DatasetError

Describe = Callable[[np.ndarray], np.ndarray]
"""From image numbers (n,) to unit descriptors (n, D), float32 or float16."""

IMAGES_AT_ONCE = 2048
BLOCK_BYTES = (
    1 << 23
)  # of a block of descriptors as float32: larger ones are mapped anew each time
TABLE_BYTES = 1 << 27  # of a block of distances
SAME = 2e-3  # descriptors nearer than this differ by less than the rounding of float16


class Descriptions:
    """Unit descriptors of N images as float16, each computed once, when it is first asked for.

    They lie in a temporary file that has no name and goes with its process; memory holds what the
    system keeps of it. The file grows to 2 D bytes for each image that was asked for.
    """

    def __init__(self, describe: Describe, images: int, device: torch.device) -> None:
        self._describe, self._device = describe, device
        self._slots = np.full(images, -1, np.int64)
        self._squares = torch.zeros(0)  # of the lengths, of as many as were compared with
        self._used = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._rows: torch.Tensor | None = None

    def close(self) -> None:
        self._rows = None
        self._file.close()

    def require(
        self, images: np.ndarray, report: Callable[[int], None] = lambda done: None
    ) -> None:
        """Compute the descriptors (n,) that are not there yet, in the given order.

        Raises:
            DatasetError: the disk is full.
        """
        first = np.unique(images, return_index=True)[1]
        images = images[np.sort(first)]
        images = images[self._slots[images] < 0]
        for start in range(0, len(images), IMAGES_AT_ONCE):
            some = images[start : start + IMAGES_AT_ONCE]
            self._append(some, self._describe(some))
            report(len(some))

    def distances(self, groups: np.ndarray) -> np.ndarray:
        """Euclidean distances of descriptors within groups of images.

        Args:
            groups: (B, n), all described.

        Returns:
            (B, n, n), float32.

        Raises:
            DatasetError: a descriptor is not finite.
        """
        blocks = []
        for some in np.array_split(groups, min(len(groups), self._blocks(groups.size))):
            rows = self._gather(self._slots[some.ravel()]).view(*some.shape, -1)
            products = torch.bmm(rows, rows.transpose(1, 2))
            squares = torch.diagonal(products, dim1=1, dim2=2)
            _require_finite(squares)
            squared = squares[:, :, None] + squares[:, None, :] - 2.0 * products
            blocks.append(squared.clamp_(min=0.0).sqrt_().cpu().numpy())
        return np.concatenate(blocks)

    def distances_from(
        self, seeds: np.ndarray, stretch: slice
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Distances of some images to a stretch of those that were described first.

        Blocks of the stretch are multiplied with many seeds at once.

        Args:
            seeds: (s,) image numbers, described.
            stretch: positions in the order of description, m of them.

        Yields:
            Position in `seeds` and distances (m,), float32; 0 for what looks the same.

        Raises:
            DatasetError: a descriptor is not finite.
        """
        self._measure(stretch.stop)
        widest = max(stretch.stop - stretch.start, self._length)
        at_once = max(1, TABLE_BYTES // (4 * widest))
        for first in range(0, len(seeds), at_once):
            slots = self._slots[seeds[first : first + at_once]]
            table = self._distance_table(slots, stretch)
            table[table < SAME] = 0.0
            for position, row in enumerate(table):
                yield first + position, row

    def _distance_table(self, slots: np.ndarray, stretch: slice) -> np.ndarray:
        left = self._gather(slots)
        table = torch.empty(len(slots), stretch.stop - stretch.start)
        edges = np.linspace(
            stretch.start, stretch.stop, self._blocks(stretch.stop - stretch.start) + 1
        ).astype(int)
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            right = self._stored(slice(start, stop))
            table[:, start - stretch.start : stop - stretch.start] = (left @ right.T).cpu()
        squares = torch.linalg.vector_norm(left, dim=1).square_().cpu()
        table.mul_(-2.0).add_(squares[:, None]).add_(self._squares[stretch])
        return table.clamp_(min=0.0).sqrt_().numpy()

    def _measure(self, count: int) -> None:
        """Squared lengths of the first descriptors: rounding to float16 changed them a little."""
        first, squares = len(self._squares), [self._squares]
        for start in range(first, count, IMAGES_AT_ONCE):
            rows = self._stored(slice(start, min(count, start + IMAGES_AT_ONCE)))
            squares.append(torch.linalg.vector_norm(rows, dim=1).square_().cpu())
            _require_finite(squares[-1])
        self._squares = torch.cat(squares)

    @property
    def _length(self) -> int:
        assert self._rows is not None
        return self._rows.shape[1]

    def _blocks(self, rows: int) -> int:
        return max(1, -(-rows * 4 * self._length // BLOCK_BYTES))

    def _gather(self, slots: np.ndarray) -> torch.Tensor:
        assert self._rows is not None
        rows = self._rows.index_select(0, torch.from_numpy(slots))
        return rows.to(self._device).float()

    def _stored(self, slots: slice) -> torch.Tensor:
        assert self._rows is not None
        return self._rows[slots].to(self._device).float()

    def _append(self, images: np.ndarray, found: np.ndarray) -> None:
        rows = torch.from_numpy(np.ascontiguousarray(found)).half()
        if self._rows is None:
            self._open(rows.shape[1])
        self._write(rows.numpy())
        self._slots[images] = np.arange(self._used, self._used + len(images))
        self._used += len(images)

    def _open(self, length: int) -> None:
        """Map the file at its full length: what is not written takes no room on the disk."""
        self._file.truncate(2 * length * len(self._slots))
        shape = (len(self._slots), length)
        self._rows = torch.from_numpy(np.memmap(self._file, np.float16, 'r+', shape=shape))

    def _write(self, rows: np.ndarray) -> None:
        """Not through the map: a full disk would then end the process without a word."""
        self._file.seek(self._used * rows[0].nbytes)
        try:
            self._file.write(rows.data)
            self._file.flush()
        except OSError as error:
            raise DatasetError(
                f'the folder for temporary files, {tempfile.gettempdir()}, cannot take the '
                f'descriptors of {self._used + len(rows)} images: {error.strerror}; make room or '
                'set TMPDIR to another folder'
            ) from error


def _require_finite(squares: torch.Tensor) -> None:
    lost = int((~torch.isfinite(squares)).sum())
    if lost:
        raise DatasetError(
            f'{lost} of {squares.numel()} descriptors are not finite: the weights are spoilt, go '
            'back to an earlier checkpoint and lower the learning rate'
        )
