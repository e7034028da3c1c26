"""What goes into the network: augmented pictures, or the stored output of its frozen blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from vpr_ros.config import AugmentConfig, TrainConfig
from vpr_ros.errors import ConfigError, DatasetError
from vpr_ros.image import normalise
from vpr_ros.models import PlaceModel
from vpr_ros.models.networks.dinov2 import Stream
from vpr_ros.training.augment import augment
from vpr_ros.training.loader import Loader, stand_ins, stored_size
from vpr_ros.training.objective import Inputs
from vpr_ros.training.views import ViewSet

CHUNK = 64
FP16_MAX = 65504.0
Progress = Callable[[int, int], None]
Rows = tuple[np.ndarray, np.ndarray]  # images and labels of a batch


class Feed(Protocol):
    """Batches for training, and every view as it is for describing."""

    def batches(self, rows: list[Rows], seeds: list[int]) -> Iterator[tuple[Inputs, np.ndarray]]:
        """Inputs of each batch, changed by chance as its seed says, and their labels."""
        ...

    def plain(self, indices: np.ndarray) -> Iterator[Inputs]:
        """Inputs of views as they are, normalised, in chunks."""
        ...

    def lost(self, indices: np.ndarray) -> np.ndarray:
        """Which views (n,) are known by now to be unreadable: (n,), bool."""
        ...


class PictureFeed:
    """Reads pictures anew for each batch and augments them on the device."""

    def __init__(
        self, views: ViewSet, model: PlaceModel, config: TrainConfig, device: torch.device
    ) -> None:
        self.size = (config.image_size,) * 2 if config.image_size else model.input.size
        self.spec = replace(model.input, size=self.size)
        self.loader = Loader(views.pictures, stored_size(self.size), config.decoders)
        self.changes: AugmentConfig = config.augment
        self.device = device

    def batches(
        self, rows: list[Rows], seeds: list[int], blank: bool = False
    ) -> Iterator[tuple[Inputs, np.ndarray]]:
        """As `Feed` says; `blank` is that of the loader."""
        rng = torch.Generator(self.device)
        for seed, batch in zip(seeds, self.loader.batches(rows, blank), strict=True):
            pixels = self._tensor(batch.images)
            yield augment(pixels, self.size, self.changes, rng.manual_seed(seed)), batch.labels

    def plain(self, indices: np.ndarray) -> Iterator[torch.Tensor]:
        chunks = np.array_split(indices, range(CHUNK, len(indices), CHUNK))
        rows = ((chunk, chunk) for chunk in chunks if len(chunk))
        for batch in self.loader.batches(rows, blank=True):
            yield normalise(self._tensor(batch.images), self.spec)

    def lost(self, indices: np.ndarray) -> np.ndarray:
        return np.isin(indices, list(self.loader.lost))

    def _tensor(self, images: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(images).to(self.device, non_blocking=True)
        return pixels.permute(0, 3, 1, 2).float() / 255.0


class StoredFeed:
    """Puts each view, plain and in some augmented versions, through the frozen blocks once.

    Steps then cost a fraction, which pays where a CPU has to train. The price is disk space and
    fewer different augmentations.
    """

    def __init__(self, folder: Path, count: int, versions: int, stream: Stream) -> None:
        """Make room for `count` views like those of `stream`.

        Raises:
            DatasetError: the disk has no room.
        """
        self.grid, self.done, self.device = stream.grid, stream.done, stream.x.device
        self.unreadable = np.zeros(count, bool)  # views whose streams show nothing
        shape = (versions, count, *stream.x.shape[1:])
        path = folder / 'streams.npy'
        try:
            self.file = np.lib.format.open_memmap(path, 'w+', dtype=np.float16, shape=shape)
            with path.open('rb+') as file:  # a memory map of a full disk ends the process
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise DatasetError(
                f'no room in {folder} for {np.prod(shape) * 2 / 1e9:.1f} GB of stored views: '
                f'{error.strerror}; lower stored_views or set it to 0'
            ) from None

    @classmethod
    def reopened(cls, folder: Path, grid: tuple[int, int], blocks: int) -> StoredFeed:
        """The streams that were stored in a folder, of this grid, behind so many blocks."""
        feed = cls.__new__(cls)
        feed.file = np.load(folder / 'streams.npy', mmap_mode='r')
        feed.grid, feed.done, feed.device = grid, blocks, torch.device('cpu')
        feed.unreadable = np.zeros(feed.file.shape[1], bool)
        return feed

    def put(self, version: int, first: int, stream: Stream, lost: np.ndarray) -> None:
        """Store the streams of the views from `first` on; those `lost` (n,) show nothing."""
        rows = stream.x.clamp(-FP16_MAX, FP16_MAX).half().cpu().numpy()
        self.file[version, first : first + len(rows)] = rows
        self.unreadable[first : first + len(rows)] |= lost

    def batches(self, rows: list[Rows], seeds: list[int]) -> Iterator[tuple[Inputs, np.ndarray]]:
        for seed, batch in zip(seeds, rows, strict=True):
            indices, labels = self._readable(*batch)
            version = np.random.default_rng(seed).integers(len(self.file), size=len(indices))
            yield self._stream(self.file[version, indices]), labels

    def plain(self, indices: np.ndarray) -> Iterator[Stream]:
        for first in range(0, len(indices), CHUNK):
            yield self._stream(self.file[0, indices[first : first + CHUNK]])

    def lost(self, indices: np.ndarray) -> np.ndarray:
        return self.unreadable[indices]

    def _readable(self, indices: np.ndarray, labels: np.ndarray) -> Rows:
        """The batch with its unreadable views replaced, and the labels of what replaces them."""
        good = np.flatnonzero(~self.unreadable[indices]).tolist()
        if len(good) == len(indices):
            return indices, labels
        if not good:
            raise DatasetError(
                f'none of the {len(indices)} pictures of a batch can be read: mend or remove them'
            )
        rows = stand_ins(good, labels)
        return indices[rows], labels[rows]

    def _stream(self, rows: np.ndarray) -> Stream:
        return Stream(torch.from_numpy(rows).to(self.device).float(), self.grid, self.done)


def store_views(
    pictures: PictureFeed,
    count: int,
    model: PlaceModel,
    config: TrainConfig,
    folder: Path,
    frozen_blocks: int,
    progress: Progress = lambda done, total: None,
) -> StoredFeed:
    """Run the frozen blocks over all views: version 0 as they are, the others augmented.

    Args:
        pictures: gives the views.
        count: how many there are.
        model: whose first `frozen_blocks` blocks are run.
        config: seed and number of versions.
        folder: for the file.
        frozen_blocks: of the backbone, that stay as they are.
        progress: called with chunks done and in all.

    Raises:
        ConfigError: there is no frozen block.
        DatasetError: the disk has no room.
    """
    if frozen_blocks < 1:
        raise ConfigError('stored_views needs frozen blocks: set trainable to head or last4')
    versions = 1 + config.stored_views
    total, done = versions * -(-count // CHUNK), 0
    feed: StoredFeed | None = None
    for version in range(versions):
        first = 0
        for images in _version(pictures, count, version, config.seed):
            with torch.inference_mode():
                stream = model.network.backbone.begin(images, frozen_blocks)
            feed = feed or StoredFeed(folder, count, versions, stream)
            feed.put(version, first, stream, pictures.lost(first + np.arange(len(images))))
            first, done = first + len(images), done + 1
            progress(done, total)
    assert feed is not None
    return feed


def _version(pictures: PictureFeed, count: int, version: int, seed: int) -> Iterator[torch.Tensor]:
    """All views in order and in chunks, normalised: as they are, or augmented by chance."""
    indices = np.arange(count)
    if version == 0:
        yield from pictures.plain(indices)
        return
    rows = [(part, part) for part in np.array_split(indices, range(CHUNK, count, CHUNK))]
    seeds = [step_seed(seed, version, 7, number) for number in range(len(rows))]
    for inputs, _ in pictures.batches(rows, seeds, blank=True):
        yield normalise(_picture(inputs), pictures.spec)


def _picture(inputs: Inputs) -> torch.Tensor:
    assert isinstance(inputs, torch.Tensor)
    return inputs


def step_seed(*numbers: int) -> int:
    """One seed from several numbers: of a step, a process, a purpose."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
