"""Similarities in blocks, and the best references of each query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import DatasetError

BLOCK_CELLS = 4_000_000
MAX_KEPT_CELLS = 50_000_000  # a larger table of similarities is not kept (200 MB)
UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Ranking:
    """The best admissible references of each query, most similar first.

    Only the first `count[q]` of the K columns of row q hold something: a query early in a drive
    has few references, or none.
    """

    indices: np.ndarray  # (Q, K) int64
    similarities: np.ndarray  # (Q, K) float32
    count: np.ndarray  # (Q,) int64

    @property
    def filled(self) -> np.ndarray:
        """Which cells hold a reference, (Q, K)."""
        return np.arange(self.indices.shape[1])[None] < self.count[:, None]

    @property
    def answered(self) -> np.ndarray:
        """Queries with at least one reference, (Q,)."""
        return self.count > 0


def rank(similarity: np.ndarray, admissible: np.ndarray, top_k: int) -> Ranking:
    """The `top_k` most similar admissible references; equal ones in the order of the references.

    `similarity` and `admissible` are (Q, R).
    """
    masked = np.where(admissible, similarity, -np.inf)
    indices = np.argsort(-masked, axis=1, kind='stable')[:, :top_k]
    count = np.minimum(admissible.sum(axis=1), indices.shape[1])
    return Ranking(indices, np.take_along_axis(similarity, indices, axis=1), count)


def rank_descriptors(
    queries: np.ndarray, references: np.ndarray, admissible: np.ndarray, top_k: int
) -> tuple[Ranking, np.ndarray | None]:
    """Rank by cosine similarity: descriptors (Q, D) and (R, D), both of unit length.

    The second result is the whole table (Q, R), float32, or None above MAX_KEPT_CELLS.
    """
    keep = len(queries) * len(references) <= MAX_KEPT_CELLS
    table = np.empty((len(queries), len(references)), np.float32) if keep else None
    step = max(1, BLOCK_CELLS // max(1, len(references)))
    parts = []
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        block = queries[rows] @ references.T
        parts.append(rank(block, admissible[rows], top_k))
        if table is not None:
            table[rows] = block
    columns = [[getattr(part, f) for part in parts] for f in ('indices', 'similarities', 'count')]
    return Ranking(*(np.concatenate(column) for column in columns)), table


def checked_descriptors(descriptors: np.ndarray, what: str) -> np.ndarray:
    """Descriptors as (N, D) float32.

    Raises:
        DatasetError: none at all, another shape, not finite, or not of unit length.
    """
    values = np.asarray(descriptors)
    if values.ndim != 2 or 0 in values.shape:
        raise DatasetError(f'{what}: expected descriptors (N, D), found shape {values.shape}')
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise DatasetError(f'{what}: the descriptor of image {row} is not finite')
    values = np.ascontiguousarray(values, dtype=np.float32)
    lengths = np.linalg.norm(values, axis=1)
    row = int(np.argmax(np.abs(lengths - 1.0)))
    if abs(lengths[row] - 1.0) > UNIT_TOLERANCE:
        raise DatasetError(
            f'{what}: expected descriptors of unit length, found {lengths[row]:.4g} at image {row}'
        )
    return values
