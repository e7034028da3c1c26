"""How alike a map is searched before and after its descriptors were shortened."""

from __future__ import annotations

import numpy as np

from vpr_ros.maps.projection import Projection

NEIGHBOURS = 10


class Agreement:
    """Compares the search of whole and of shortened descriptors, the places themselves as queries.

    A place is not its own neighbour. Other drives agree less than these queries do, because the
    directions were found on them.
    """

    MOST_QUERIES = 1000

    def __init__(self, rows: np.ndarray, queries: np.ndarray, projection: Projection) -> None:
        """Take the queries.

        Args:
            rows: which places they are, (Q,), counted from 0.
            queries: their whole descriptors, (Q, D).
            projection: what shortens them.
        """
        self._rows = rows
        self._whole, self._projection = queries, projection
        self._shorter = projection.apply(queries)
        self._before, self._after = _Nearest(len(rows)), _Nearest(len(rows))

    def add(self, start: int, whole: np.ndarray, shorter: np.ndarray) -> None:
        """Take some places: the row of the first, descriptors (B, D), and as stored (B, d)."""
        numbers = np.arange(start, start + len(whole))
        itself = self._rows[:, None] == numbers
        similarities = self._whole @ whole.T
        self._before.add(np.where(itself, -np.inf, similarities), numbers)
        similarities = self._projection.similarities(self._shorter, shorter)
        self._after.add(np.where(itself, -np.inf, similarities), numbers)

    def figures(self) -> dict[str, float]:
        """Shares of neighbours kept, and changes of the similarity that a threshold looks at.

        `top1` and `top10`: share of each query's nearest places that are still among its nearest.
        `change` and `change_least`: mean and lowest change of the similarity of the best place.
        Empty for a map of one place.
        """
        before, after = self._before, self._after
        k = int(np.isfinite(before.similarities).sum(axis=1).min())
        if not k:
            return {}
        common = [
            len(np.intersect1d(a[:k], b[:k])) / k
            for a, b in zip(before.rows, after.rows, strict=True)
        ]
        change = after.similarities[:, 0] - before.similarities[:, 0]
        return {
            'top1': float((before.rows[:, 0] == after.rows[:, 0]).mean()),
            'top10': float(np.mean(common)),
            'change': float(change.mean()),
            'change_least': float(change.min()),
        }


class _Nearest:
    """The most similar rows so far of Q queries, best first."""

    def __init__(self, queries: int) -> None:
        self.similarities = np.full((queries, NEIGHBOURS), -np.inf, np.float32)
        self.rows = np.full((queries, NEIGHBOURS), -1)

    def add(self, similarities: np.ndarray, rows: np.ndarray) -> None:
        """Take the similarities (Q, B) of some rows (B,)."""
        every = np.concatenate([self.similarities, similarities], axis=1)
        numbers = np.concatenate([self.rows, np.broadcast_to(rows, similarities.shape)], axis=1)
        best = np.argpartition(-every, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        best.sort(axis=1)  # of equals the first is nearest
        order = np.argsort(-np.take_along_axis(every, best, axis=1), axis=1, kind='stable')
        best = np.take_along_axis(best, order, axis=1)
        self.similarities = np.take_along_axis(every, best, axis=1)
        self.rows = np.take_along_axis(numbers, best, axis=1)
