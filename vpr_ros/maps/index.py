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

    def search(
        self, descriptor: np.ndarray, k: int, before: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        count = len(self) if before is None else min(before, len(self))
        k = min(k, count)
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        params = None
        if count < len(self):
            params = faiss.SearchParameters(sel=faiss.IDSelectorRange(0, count))  # type: ignore[call-arg]
        query = np.ascontiguousarray(descriptor, dtype=np.float32)[None]
        found, rows = self._index.search(query, k, params=params)
        return rows[0], 1.0 - 0.5 * found[0] if self._by_distance else found[0]
