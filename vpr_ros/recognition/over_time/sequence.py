"""Straight lines through the similarities of the last queries.

After SeqSLAM (Milford and Wyeth, ICRA 2012): the similarities are contrast-normalised along the
map, and a place is as good as the best straight line that ends there. Lines are straight in time:
a robot that drives at a constant ratio to the speed of the one that mapped, either way or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.config import TemporalConfig
from vpr_ros.recognition.neighbourhood import NEIGHBOURHOOD_M, NS, PlaceArrays
from vpr_ros.recognition.over_time.query import Support, TemporalQuery, novelty, standardised

SPEEDS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)  # ratios to that of the mapping robot
RATIOS = (0.0, *SPEEDS, *(-speed for speed in SPEEDS))
# Places on each side that a similarity is compared with: many more than show the same thing, else
# a stretch of look-alike images is flattened, the right one first.
CONTRAST_ROWS = 100
LEAST_CONTRAST = 0.5  # standard deviations of the map; flatter stretches are not amplified
COLUMN_S = 0.5  # views closer in time replace each other
GAP_S = 10.0  # a longer pause ends every line


@dataclass(frozen=True)
class _Column:
    """One earlier query."""

    contrast: np.ndarray  # (n,) of the places that there were; 0: not known
    z: np.ndarray  # (n,)
    stamp_ns: int
    weight: float  # share of it that was new


class SequenceMatcher:
    """The best straight line through the last `length` queries; needs no odometry."""

    def __init__(self, config: TemporalConfig, neighbourhood_m: float = NEIGHBOURHOOD_M) -> None:
        """Bind settings.

        Args:
            config: settings.
            neighbourhood_m: places this near to each other are the same answer.
        """
        self.config = config
        self.neighbourhood_m = neighbourhood_m
        self.places = PlaceArrays()
        self.reset()

    def reset(self) -> None:
        """Forget the queries so far."""
        self._columns: list[_Column] = []  # oldest first
        self._newest_ns: int | None = None

    def update(self, query: TemporalQuery) -> Support:
        """Take one query; `mass` weighs the best line about `best_row` against the best other."""
        lost = self.places.follow(query.places)
        if self._newest_ns is not None:
            lost |= not 0 <= query.stamp_ns - self._newest_ns <= GAP_S * NS
        if lost:
            self.reset()
        self._newest_ns = query.stamp_ns
        z = standardised(query.similarities)
        admissible = np.isfinite(z)
        if not admissible.any():
            return Support(query.best_row, 0.0, reset=lost)
        order, begins = in_sessions(self.places)
        weight = novelty(z, self._columns[-1].z) if self._columns else 1.0
        now = _Column(contrast(z, order, begins), z, query.stamp_ns, weight)
        columns = [*self._columns, now]
        scores = np.where(admissible, self._scores(columns, order, begins), -np.inf)
        if not self._columns or query.stamp_ns - self._columns[-1].stamp_ns >= COLUMN_S * NS:
            self._columns = columns[-self.config.length + 1 :]
        return self._support(query, scores, sum(column.weight for column in columns), lost)

    def _scores(self, columns: list[_Column], order: np.ndarray, begins: np.ndarray) -> np.ndarray:
        """Mean contrast along the best line that ends at each place, (N,)."""
        ages_s = (columns[-1].stamp_ns - np.array([c.stamp_ns for c in columns])) / NS
        per_s = places_per_second(self.places.stamps_ns[order], begins)
        offsets = np.rint(np.multiply.outer(RATIOS, ages_s) * per_s).astype(int)
        longest = int(np.diff(begins, append=len(order)).max())
        offsets = np.clip(offsets, -longest, longest)
        gap = int(np.abs(offsets).max())
        session = np.searchsorted(begins, np.arange(len(order)), 'right') - 1
        slots = np.arange(len(order)) + (session + 1) * gap  # sessions, and room between them
        wide = np.zeros((len(columns), slots[-1] + gap + 1))
        for row, column in zip(wide, columns, strict=True):
            known = order < len(column.contrast)
            row[slots[known]] = column.weight * column.contrast[order[known]]
        best = np.full(wide.shape[1] - 2 * gap, -np.inf)
        for line in {tuple(offset) for offset in offsets.tolist()}:
            total = np.zeros(len(best))
            for row, offset in zip(wide, line, strict=True):
                total += row[gap - offset : gap - offset + len(best)]
            np.maximum(best, total, out=best)
        scores = np.empty(len(order))
        scores[order] = best[slots - gap]
        return scores / max(1e-6, sum(column.weight for column in columns))

    def _support(
        self, query: TemporalQuery, scores: np.ndarray, views: float, lost: bool
    ) -> Support:
        row, best = int(scores.argmax()), query.best_row
        believed = self._mass(scores, row, views)
        if best < 0:
            return Support(row, 0.0, believed, lost)
        if scores[best] >= scores[row]:
            row = best  # of equals, the one that the other stages believe in
        mass = self._mass(scores, best, views)
        return Support(row, mass, mass if row == best else believed, lost)

    def _mass(self, scores: np.ndarray, row: int, views: float) -> float:
        """How sure the lines are of the neighbourhood of a row against all others."""
        near = self.places.neighbourhood(row, self.neighbourhood_m)
        inside = scores[near].max()
        outside = scores[~near].max(initial=-np.inf)
        if not np.isfinite(inside):
            return 0.0
        if not np.isfinite(outside):
            outside = 0.0  # nothing to compare with but a place of no contrast
        lead = np.sqrt(views) * (inside - outside)
        return float(1.0 / (1.0 + np.exp(-np.clip(lead, -50.0, 50.0))))


def in_sessions(places: PlaceArrays) -> tuple[np.ndarray, np.ndarray]:
    """Rows by session and time, (N,), and where in that order each session begins, (S,)."""
    order = np.lexsort((places.stamps_ns, places.session_id))
    session = places.session_id[order]
    return order, np.flatnonzero(np.diff(session, prepend=session[0] - 1))


def places_per_second(stamps_ns: np.ndarray, begins: np.ndarray) -> float:
    """Rate at which places were recorded, from stamps in sessions; 0: there are not enough."""
    steps_s = np.delete(np.diff(stamps_ns), begins[1:] - 1) / NS
    step_s = float(np.median(steps_s)) if len(steps_s) else 0.0
    return 1.0 / step_s if step_s > 0.0 else 0.0


def contrast(z: np.ndarray, order: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """How much places stand out among those about them in their session, (N,), float64.

    Args:
        z: standardised similarities (N,); nan may not be matched, and becomes 0.
        order: rows by session and time.
        begins: where in that order each session begins.
    """
    values = np.nan_to_num(z[order])
    known = np.isfinite(z[order]).astype(float)
    at = np.arange(len(values))
    ends = np.append(begins[1:], len(values))
    session = np.searchsorted(begins, at, 'right') - 1
    low = np.maximum(at - CONTRAST_ROWS, begins[session])
    high = np.minimum(at + CONTRAST_ROWS + 1, ends[session])
    sums = np.cumsum(np.stack((known, values, values**2)), axis=1)
    sums = np.concatenate((np.zeros((3, 1)), sums), axis=1)
    count, total, squares = sums[:, high] - sums[:, low]
    count = np.maximum(count, 1.0)
    mean = total / count
    sigma = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    result = np.empty(len(values))
    result[order] = known * (values - mean) / np.maximum(sigma, LEAST_CONTRAST)
    return result
