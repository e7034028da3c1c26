"""What methods over time are asked and what they answer, and how they read similarities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vpr_ros.records import Place, Pose

MAD_TO_SIGMA = 1.4826  # of a normal distribution
LEAST_SIGMA = 1e-6  # similarities closer together than this are equal
NEW_VIEW = 0.1  # share of the variance of a view that is new from which on it is another one


@dataclass(frozen=True)
class TemporalQuery:
    """One query as a method over time sees it.

    Rows of `similarities` that may not be matched, as the robot's own recent past, are -inf or
    nan. N may grow from query to query: new places are the last rows.
    """

    similarities: np.ndarray = field(repr=False)  # (N,) float32, in row order
    places: Sequence[Place] = field(repr=False)  # N of them, in row order
    stamp_ns: int
    pose: Pose | None  # of the base, in any frame that is continuous from query to query
    best_row: int  # the place that the stages before believe in; -1: none


@dataclass(frozen=True, slots=True)
class Support:
    """What the queries so far say of the place in `best_row`."""

    row: int  # the place that this method believes in; -1: none
    mass: float  # probability of the neighbourhood of `best_row`, in [0, 1]
    believed: float = math.nan  # the same of the neighbourhood of `row`; nan: not known
    reset: bool = False  # the past was forgotten: a jump in time, or the robot was carried off


class Temporal(Protocol):
    """How answers in a row support each other."""

    def reset(self) -> None:
        """Forget the past."""

    def update(self, query: TemporalQuery) -> Support:
        """Take one query, in the order of time."""


def standardised(similarities: np.ndarray) -> np.ndarray:
    """Similarities in robust standard deviations from their median; nan: may not be matched.

    Median and median absolute deviation are those of the places that may be matched; where these
    are all alike, the result is zero.

    Args:
        similarities: (N,), float; -inf and nan may not be matched.

    Returns:
        (N,), float64.
    """
    values = np.where(np.isfinite(similarities), similarities, np.nan).astype(np.float64)
    known = values[np.isfinite(values)]
    if not len(known):
        return values
    median = np.median(known)
    sigma = MAD_TO_SIGMA * np.median(np.abs(known - median))
    if sigma < LEAST_SIGMA:  # more than half of the map is alike
        sigma = known.std()
    return (values - median) / sigma if sigma >= LEAST_SIGMA else 0.0 * values


def novelty(z: np.ndarray, before: np.ndarray) -> float:
    """Share of a view that an earlier one did not say already, 0 to 1.

    A robot that stands still, or a frozen camera, repeats itself: its similarities to the map are
    those of before, and so are their errors.

    Args:
        z: standardised similarities (N,); nan where there are none.
        before: those of the earlier view, (M,), M at most N.
    """
    now = z[: len(before)]
    both = np.isfinite(now) & np.isfinite(before)
    now, before = now[both], before[both]
    if not len(now):
        return 1.0
    difference, size = float(np.mean((now - before) ** 2)), float(np.mean(before**2))
    if size <= LEAST_SIGMA:
        return 0.0 if difference <= LEAST_SIGMA else 1.0
    return min(1.0, difference / size / NEW_VIEW)
