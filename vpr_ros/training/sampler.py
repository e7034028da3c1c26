"""Which images go into a batch: P places of K views each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def place_batches(
    places: np.ndarray,
    sources: np.ndarray,
    places_per_batch: int,
    views_per_place: int,
    rng: np.random.Generator,
    single_image_share: float = 0.0,
) -> Iterator[np.ndarray]:
    """Draw batches without end: every source alike often, every place of a source alike often.

    Args:
        places: place of each image, (N,), integer; negative: in no place, never drawn.
        sources: where each image comes from, (N,), integer; a place lies in one source.
        places_per_batch: P, different places.
        views_per_place: K; a place with fewer images repeats some, to be augmented differently.
        rng: the only chance there is.
        single_image_share: share of the places that are one image K times over.

    Yields:
        Image numbers (P * K,), the views of a place next to each other.
    """
    members = _members(places)
    names = list(members)
    source = np.array([sources[members[name][0]] for name in names])
    share = 1.0 / np.bincount(source)[source]
    share /= share.sum()
    count = min(places_per_batch, len(names))
    while True:
        chosen = rng.choice(len(names), count, replace=False, p=share)
        views = [
            _views(members[names[c]], views_per_place, rng, single_image_share) for c in chosen
        ]
        yield np.concatenate(views)


def image_batches(
    sources: np.ndarray, batch_size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Draw batches of images without end, whatever their place: for distillation.

    Args:
        sources: where each image comes from, (N,), integer; every source is drawn alike often.
        batch_size: images in a batch.
        rng: the only chance there is.

    Yields:
        Image numbers (batch_size,).
    """
    share = 1.0 / np.bincount(sources)[sources]
    share /= share.sum()
    while True:
        yield rng.choice(len(sources), batch_size, p=share)


def _members(places: np.ndarray) -> dict[int, np.ndarray]:
    """Image numbers of each place, in the order of place numbers."""
    order = np.argsort(places, kind='stable')
    names, starts = np.unique(places[order], return_index=True)
    groups = np.split(order, starts[1:])
    return {int(n): g for n, g in zip(names, groups, strict=True) if n >= 0}


def _views(
    images: np.ndarray, count: int, rng: np.random.Generator, single_image_share: float
) -> np.ndarray:
    if rng.random() < single_image_share:
        images = rng.choice(images, 1)
    return rng.choice(images, count, replace=len(images) < count)
