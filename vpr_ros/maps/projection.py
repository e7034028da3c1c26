"""Shorter descriptors: the directions in which a map's own descriptors differ most.

A principal component analysis that does not subtract the mean. The mean then is one of the
directions that are kept, distances are compressed as by the usual one, and products of projected
descriptors stay what they were before, as nearly as the length allows: similarities and the
thresholds that were found for them keep their meaning. With the mean removed and lengths restored,
as is common, recall is a point or two higher or lower (benchmarks/compression.py), and every
similarity means something else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from vpr_ros.errors import MapError

MOST_ROWS = 2**14  # descriptors that are looked at, as SAGE's authors do


@dataclass(frozen=True)
class Projection:
    """Orthonormal rows (d, D), float32, on which descriptors (D,) are projected.

    `kept` is the share of the descriptors' squared length that the rows hold.
    """

    components: np.ndarray
    kept: float

    @property
    def full_dim(self) -> int:
        return int(self.components.shape[1])

    @property
    def dim(self) -> int:
        return int(self.components.shape[0])

    def apply(self, descriptors: np.ndarray) -> np.ndarray:
        """Project rows (..., D) to (..., d), float32; their length shrinks a little."""
        return np.asarray(descriptors, dtype=np.float32) @ self.components.T

    def binding(self, fingerprint: str) -> str:
        """SHA-256 of a model's fingerprint and the projection, to which a map is bound."""
        digest = hashlib.sha256(fingerprint.encode())
        digest.update(repr(self.components.shape).encode())
        digest.update(np.ascontiguousarray(self.components, '<f4').tobytes())
        return digest.hexdigest()


def fit(descriptors: np.ndarray, dim: int, seed: int = 0) -> Projection:
    """Find the directions that hold most of the descriptors.

    Args:
        descriptors: (N, D), unit length; of more than MOST_ROWS that many are drawn.
        dim: rows wanted, at most N and at most D.
        seed: of the draw.

    Raises:
        MapError: there are too few descriptors, or they are too short.
    """
    count, full = descriptors.shape
    if not 1 <= dim <= min(count, full):
        raise MapError(
            f'cannot shorten {count} descriptors of length {full} to {dim}: '
            f'expected a length from 1 to {min(count, full)}'
        )
    if count > MOST_ROWS:
        rows = np.random.default_rng(seed).choice(count, MOST_ROWS, replace=False)
        descriptors = descriptors[np.sort(rows)]
    wide = np.asarray(descriptors, dtype=np.float64)
    components, squares = _directions(wide, dim)
    return Projection(components.astype(np.float32), float(squares.sum() / np.square(wide).sum()))


def _directions(rows: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """First right singular vectors (d, D) and squared singular values, by the smaller product."""
    tall = rows.shape[0] >= rows.shape[1]
    product = rows.T @ rows if tall else rows @ rows.T
    side = len(product)
    squares, vectors = eigh(product, subset_by_index=[side - dim, side - 1], overwrite_a=True)
    squares, vectors = squares[::-1].clip(min=0.0), vectors[:, ::-1]
    found = vectors.T if tall else vectors.T @ rows
    # Orthonormal also where directions beyond the rank of the rows are asked for.
    components = np.linalg.qr(found.T)[0].T
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(dim), largest])  # the same on every machine
    return components * signs[:, None], squares
