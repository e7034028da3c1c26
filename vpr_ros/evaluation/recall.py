"""Recall@K: pure arithmetic on index arrays.

A query is found at K if a right answer is among its first K references. References that are
ignored keep their rank: what the robot would have been told is what is judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.evaluation.protocols import Truth
from vpr_ros.evaluation.ranking import Ranking

KS = (1, 5, 10, 20)


@dataclass(frozen=True)
class Recall:
    """Found queries at each K, and both denominators in use.

    `of_all` divides by all queries, as the deep-VG and SAGE scripts do; `of_matchable` divides by
    the queries that have a right answer, as VPR_Tutorial does and loop closure demands. None
    where there is nothing to divide by.
    """

    ks: tuple[int, ...]
    found: tuple[int, ...]
    queries: int
    matchable: int

    @property
    def of_all(self) -> tuple[float | None, ...]:
        return tuple(ratio(found, self.queries) for found in self.found)

    @property
    def of_matchable(self) -> tuple[float | None, ...]:
        return tuple(ratio(found, self.matchable) for found in self.found)


def hits(ranking: Ranking, positive: np.ndarray) -> np.ndarray:
    """Whether each ranked reference is right, (Q, K), given `positive` (Q, R)."""
    return np.take_along_axis(positive, ranking.indices, axis=1) & ranking.filled


def unjudged(ranking: Ranking, truth: Truth) -> np.ndarray:
    """Whether each ranked reference is neither right nor wrong, (Q, K).

    These are the ignored ones, and those of the query's own recent past, which a recogniser may
    offer although the rule does not admit them.
    """
    barred = ranking.filled & ~np.take_along_axis(truth.admissible, ranking.indices, axis=1)
    return hits(ranking, truth.ignored) | barred


def recall_at(hit: np.ndarray, has_positive: np.ndarray, ks: tuple[int, ...] = KS) -> Recall:
    """Recall from hits (Q, K) in order of rank and `has_positive` (Q,).

    A K beyond the ranked references is left out: there it would say nothing.
    """
    known = tuple(k for k in ks if k <= hit.shape[1])
    found = tuple(int(hit[:, :k].any(axis=1).sum()) for k in known)
    return Recall(known, found, len(hit), int(has_positive.sum()))


def ratio(part: float, whole: float) -> float | None:
    """Part of the whole, or None where the whole is nothing."""
    return part / whole if whole else None
