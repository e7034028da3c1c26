"""Shorter descriptors: the directions in which a map's own descriptors differ most.

By default a principal component analysis that does not subtract the mean. The mean then is one of
the directions that are kept, and the product of two projected descriptors approximates their
cosine: the error is the product of what was dropped of the one and of the other. So similarities,
and the thresholds that were found for them, keep their meaning. Lengths are not restored: what a
map has no direction for is missing from them, and a place that is not in the map stays dissimilar.

Centred is SAGE's own protocol (arXiv 2509.25723, code): the mean removed, lengths as they come
out, searched by distance. Its similarity, 1 - distance^2 / 2, is the cosine only while nothing is
dropped, and otherwise more than it. benchmarks/shorter_descriptors.py measures both.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from vpr_ros.errors import MapError

MOST_ROWS = 2**14  # descriptors that are looked at, as SAGE's authors do
BLOCK = 1024  # rows or columns in float64 at a time


@dataclass(frozen=True)
class Projection:
    """Orthonormal rows (d, D), float32, on which descriptors (D,) are projected.

    Their values are those of float16, in which they are stored like the descriptors. `kept` is the
    share of the descriptors' squared length that the rows hold, or of their variance where a mean
    (D,) is subtracted.
    """

    components: np.ndarray
    kept: float
    mean: np.ndarray | None = None

    @property
    def full_dim(self) -> int:
        return int(self.components.shape[1])

    @property
    def dim(self) -> int:
        return int(self.components.shape[0])

    @property
    def keeps_cosines(self) -> bool:
        """Whether similarities mean what those of whole descriptors mean."""
        return self.mean is None

    def apply(self, descriptors: np.ndarray) -> np.ndarray:
        """Project rows (..., D) to (..., d), float32; their length shrinks a little."""
        rows = np.asarray(descriptors, dtype=np.float32)
        rows = rows if self.mean is None else rows - self.mean
        if rows.ndim == 1:
            # Not by BLAS, whose threads spin on after so small a product and slow down the search
            # that follows: of 20 000 places 1.9 ms and not 5.0, projection (2176 to 512) included.
            return np.einsum('dk,k->d', self.components, rows)
        return rows @ self.components.T

    def similarities(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Similarities (Q, N) of projected queries (Q, d) and rows (N, d), as the search has them.

        Products; centred, 1 - distance^2 / 2.
        """
        products = queries @ rows.T
        if self.keeps_cosines:
            return products
        squares = [np.einsum('nd,nd->n', x, x) for x in (queries, rows)]
        return 1.0 + products - 0.5 * squares[0][:, None] - 0.5 * squares[1]

    def binding(self, fingerprint: str) -> str:
        """SHA-256 of a model's fingerprint and the projection, to which a map is bound."""
        digest = hashlib.sha256(fingerprint.encode())
        digest.update(repr(self.components.shape).encode())
        for part in self.to_bytes():
            digest.update(part or b'')
        return digest.hexdigest()

    def to_bytes(self) -> tuple[bytes, bytes | None]:
        """Components, float16, and mean, float32, little endian, as a map stores them."""
        mean = None if self.mean is None else self.mean.astype('<f4').tobytes()
        return self.components.astype('<f2').tobytes(), mean

    @classmethod
    def from_bytes(
        cls, components: bytes, mean: bytes | None, shape: tuple[int, int], kept: float
    ) -> Projection:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: the bytes are not what `shape` (d, D) asks for, or not finite.
        """
        rows = np.frombuffer(components, '<f2').reshape(shape).astype(np.float32)
        middle = None if mean is None else np.frombuffer(mean, '<f4').reshape(shape[1])
        if not np.isfinite(rows).all() or not np.isfinite(0.0 if middle is None else middle).all():
            raise ValueError('values that are not finite')
        return cls(rows, kept, middle)


def drawn(count: int, seed: int = 0, most: int = MOST_ROWS) -> np.ndarray:
    """At most `most` of `count` row numbers, drawn without repetition, ascending."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def fit(descriptors: np.ndarray, dim: int, centred: bool = False) -> Projection:
    """Find the directions that hold most of the descriptors, exactly.

    Args:
        descriptors: (N, D), float32, unit length; of a large map those that were `drawn`.
        dim: rows wanted, at most N and at most D.
        centred: subtract the mean, as SAGE's authors do.

    Raises:
        MapError: there are too few descriptors, or they are too short.
    """
    count, full = descriptors.shape
    if not 1 <= dim <= min(count, full):
        raise MapError(
            f'cannot shorten {count} descriptors of length {full} to {dim}: '
            f'expected a length from 1 to {min(count, full)}'
        )
    rows, mean = np.asarray(descriptors, dtype=np.float32), None
    if centred:
        mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows = rows - mean
    components, share = _directions(rows, dim)
    return Projection(components.astype(np.float16).astype(np.float32), share, mean)


def _directions(rows: np.ndarray, dim: int) -> tuple[np.ndarray, float]:
    """First right singular vectors (d, D), and the share of the squared length they hold.

    They are found from the smaller product of the rows with themselves, in float64.
    """
    tall = rows.shape[0] >= rows.shape[1]
    short = rows.T if tall else rows  # (m, n), m <= n
    parts = [slice(start, start + BLOCK) for start in range(0, short.shape[1], BLOCK)]
    side = len(short)
    product = np.zeros((side, side))
    for part in parts:
        some = short[:, part].astype(np.float64)
        product += some @ some.T
    total = np.trace(product)
    squares, vectors = eigh(product, subset_by_index=[side - dim, side - 1], overwrite_a=True)
    vectors = vectors[:, ::-1]
    found = vectors if tall else np.concatenate([short[:, part].T @ vectors for part in parts])
    # Orthonormal also where directions beyond the rank of the rows are asked for.
    components = np.linalg.qr(found)[0].T
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(dim), largest])  # the same on every machine
    share = squares.clip(min=0.0).sum() / total if total > 0.0 else 1.0
    return components * signs[:, None], float(share)
