"""A map with shorter descriptors, from one with whole ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vpr_ros.errors import MapError
from vpr_ros.maps.files import discard, replace_when_complete
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.maps.projection import Projection, fit

MOST_QUERIES = 1000  # places whose neighbours are looked up to measure the agreement
NEIGHBOURS = 10

Progress = Callable[[int, int], None]


def compress(
    source: Path | str,
    target: Path | str,
    dim: int,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> dict[str, float]:
    """Write a map again with descriptors projected on their principal directions.

    Places keep their ids, sessions theirs; the new map has its own identity. It is written whole
    or not at all, and `target` may be the source itself with `overwrite`.

    Args:
        source: a map with whole descriptors.
        target: the map to write.
        dim: length of the new descriptors.
        overwrite: replace an existing target.
        progress: called with places copied and places in all.

    Returns:
        What the compression does to the map's own search, as `agreement` says it.

    Raises:
        MapError: the source is compressed already, has fewer places than `dim`, or one of the
            files cannot be read or written.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise MapError(f'{target} exists already: choose another name, remove it, or overwrite')
    part = target.with_name(target.name + '.part')
    discard(part)
    try:
        figures = _write(source, part, dim, progress)
        replace_when_complete(part, target)
    finally:
        discard(part)
    return figures


def _write(source: Path | str, path: Path, dim: int, progress: Progress) -> dict[str, float]:
    with PlaceMap.open(source, None) as whole:
        if whole.projection is not None:
            raise MapError(
                f'{source} is compressed already, to {whole.info.dim}: start from the map '
                'that it was made of'
            )
        descriptors, info = whole.descriptors(), whole.info
        projection = fit(descriptors, dim)
        figures = {'kept': projection.kept, **agreement(descriptors, projection)}
        with PlaceMap.create(
            path, info.model, info.fingerprint, info.dim, info.frame, projection, figures
        ) as shorter:
            shorter.copy_places(whole, projection.apply(descriptors), progress)
    return figures


def agreement(descriptors: np.ndarray, projection: Projection, seed: int = 0) -> dict[str, float]:
    """How alike the search is before and after, for the places themselves as queries.

    Args:
        descriptors: (N, D), unit length.
        projection: of these.
        seed: of the draw of at most MOST_QUERIES queries.

    Returns:
        `top1` and `top10`: share of each query's nearest other places that are still among its
        nearest; `similarity_change`: mean absolute change of the similarity of the nearest.
    """
    count = len(descriptors)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(count, min(count, MOST_QUERIES), replace=False))
    k = min(NEIGHBOURS, count - 1)
    if k < 1:
        return {}
    shorter = projection.apply(descriptors)
    before, similarity = _nearest(descriptors, rows, k)
    after, _ = _nearest(shorter, rows, k)
    changed = np.einsum('nd,nd->n', shorter[rows], shorter[before[:, 0]])
    common = [len(np.intersect1d(a, b)) / k for a, b in zip(before, after, strict=True)]
    return {
        'top1': float((before[:, 0] == after[:, 0]).mean()),
        'top10': float(np.mean(common)),
        'similarity_change': float(np.abs(changed - similarity).mean()),
    }


def _nearest(descriptors: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Nearest other rows (Q, k), and the similarity (Q,) of the first."""
    similarity = descriptors[rows] @ descriptors.T
    similarity[np.arange(len(rows)), rows] = -np.inf
    order = np.argsort(-similarity, axis=1, kind='stable')[:, :k]
    return order, similarity[np.arange(len(rows)), order[:, 0]]
