"""Search among descriptors. The only file that knows FAISS."""

from __future__ import annotations

from typing import Protocol

import faiss
import numpy as np


class PlaceIndex(Protocol):
    """Rows of descriptors, and the search for those most similar to another."""

    def __len__(self) -> int: ...

    def add(self, descriptors: np.ndarray) -> None:
        """Append descriptors (N, D), float32."""

    def truncate(self, count: int) -> None:
        """Keep only the first rows."""

    def search(
        self, descriptor: np.ndarray, k: int, before: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the most similar rows.

        Args:
            descriptor: (D,), float32.
            k: rows wanted.
            before: only rows with a smaller number are searched.

        Returns:
            Row numbers (K,) int64 and similarities (K,) float32, best first, K <= k.
        """

    def similarities(self, descriptor: np.ndarray) -> np.ndarray:
        """Similarity (N,) float32 of a descriptor (D,) to every row."""


class ExactIndex:
    """Exhaustive search, exact to float32: the reference for every other index.

    Similarities are products, the cosines of rows of unit length; `by_distance` they are
    1 - distance^2 / 2, which for rows of unit length is the same.
    """

    def __init__(self, dim: int, by_distance: bool = False) -> None:
        self._by_distance = by_distance
        self._index = faiss.IndexFlatL2(dim) if by_distance else faiss.IndexFlatIP(dim)

    def __len__(self) -> int:
        return self._index.ntotal

    def add(self, descriptors: np.ndarray) -> None:
        self._index.add(np.ascontiguousarray(descriptors, dtype=np.float32))

    def truncate(self, count: int) -> None:
        if count < len(self):
            self._index.remove_ids(faiss.IDSelectorRange(count, len(self)))

    def search(
        self, descriptor: np.ndarray, k: int, before: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        count = len(self) if before is None else min(before, len(self))
        k = int(min(k, count))
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        params = None
        if count < len(self):
            params = faiss.SearchParameters(sel=faiss.IDSelectorRange(0, count))  # type: ignore[call-arg]
        query = np.ascontiguousarray(descriptor, dtype=np.float32)[None]
        found, rows = self._index.search(query, k, params=params)
        return rows[0], 1.0 - 0.5 * found[0] if self._by_distance else found[0]

    def similarities(self, descriptor: np.ndarray) -> np.ndarray:
        dim, count = self._index.d, len(self)
        if not count:
            return np.empty(0, np.float32)
        rows = faiss.rev_swig_ptr(self._index.get_xb(), count * dim).reshape(count, dim)
        query = np.asarray(descriptor, dtype=np.float32)
        products = rows @ query
        if not self._by_distance:
            return products
        squares = np.einsum('nd,nd->n', rows, rows)
        return 1.0 - 0.5 * (squares + query @ query) + products


def most_similar(similarities: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k largest entries, the largest first; of equals, the first row is first.

    Args:
        similarities: (N,); entries of -inf are never taken.
        k: rows wanted.
    """
    count = min(k, int(np.isfinite(similarities).sum()))
    if count <= 0:
        return np.empty(0, np.int64)
    least = np.partition(similarities, -count)[-count]
    rows = np.flatnonzero(similarities >= least)  # in order, with all that equal the last
    return rows[np.argsort(-similarities[rows], kind='stable')][:count]
