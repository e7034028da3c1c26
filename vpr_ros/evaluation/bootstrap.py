"""Confidence intervals by resampling stretches of the trajectory.

Neighbouring images are not independent, so whole blocks of consecutive queries are drawn with
replacement (circular block bootstrap, Politis and Romano 1992). Truth and references stay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.evaluation.precision_recall import (
    Curve,
    Scored,
    at_precision,
    average_precision,
    curve,
    max_f1,
)

LEVEL = 0.95
GRID = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Interval:
    """A confidence interval of level LEVEL; None where a measure was never defined."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Intervals of the measures of a single-best-match curve, and how they were made.

    `band_low` and `band_high` bound the precision at each recall of GRID, nan where fewer than
    half of the resampled curves get so far.
    """

    replicates: int
    block: int
    seed: int
    intervals: dict[str, Interval | None]
    band_low: np.ndarray
    band_high: np.ndarray


def bootstrap(
    scored: Scored,
    *,
    has_positive: np.ndarray,
    found_first: np.ndarray,
    block: int,
    replicates: int = 1000,
    seed: int = 0,
) -> Bootstrap:
    """Resample the Q queries of `scored`.

    `has_positive` and `found_first` are (Q,): a right answer exists; it is ranked first.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(-scored.score, kind='stable')
    in_order = Scored(
        scored.score[order], scored.correct[order], scored.query[order], scored.positives
    )
    rows = []
    bands = np.full((replicates, len(GRID)), np.nan)
    for replicate in range(replicates):
        weight = block_weights(len(has_positive), block, rng)
        positives = int(weight @ has_positive)
        points = curve(replace(in_order, positives=positives), weight[in_order.query])
        rows.append(measures(points, float(weight @ found_first)))
        bands[replicate] = precision_at(points)
    intervals = {name: interval([row[name] for row in rows]) for name in rows[0]} if rows else {}
    low, high = quantiles(bands)
    return Bootstrap(replicates, block, seed, intervals, low, high)


def block_weights(count: int, block: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `count` items is drawn, (count,): whole blocks, wrapped around."""
    starts = rng.integers(count, size=-(-count // block))
    drawn = (starts[:, None] + np.arange(block)[None]).ravel()[:count] % count
    return np.bincount(drawn, minlength=count)


def default_block(count: int, within_drive: bool) -> int:
    """Block length: the square root of the number of images of a drive; 1 for a set of images."""
    return max(1, round(count**0.5)) if within_drive else 1


def measures(points: Curve, found_first: float) -> dict[str, float | None]:
    """The measures of one resampled curve, by the names of `Summary`."""
    if not points.positives:
        names = ('average_precision', 'recall_at_100_precision', 'max_f1', 'recall_at_1')
        return dict.fromkeys(names)
    return {
        'average_precision': average_precision(points),
        'recall_at_100_precision': at_precision(points, 1.0).recall,
        'max_f1': max_f1(points).f1,
        'recall_at_1': found_first / points.positives,
    }


def precision_at(points: Curve) -> np.ndarray:
    """Precision at the first point that reaches each recall of GRID; nan beyond the last."""
    index = np.searchsorted(points.recall, GRID - 1e-12)
    reached = index < len(points.recall)
    return np.where(reached, points.precision[np.minimum(index, len(points.recall) - 1)], np.nan)


def interval(values: list[float | None]) -> Interval | None:
    defined = [value for value in values if value is not None]
    if not defined:
        return None
    low, high = np.quantile(defined, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))


def quantiles(bands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the precision at each recall, nan where fewer than half of the curves get."""
    low, high = np.full(bands.shape[1], np.nan), np.full(bands.shape[1], np.nan)
    common = np.isfinite(bands).sum(axis=0) * 2 > len(bands)
    if common.any():
        bounds = np.nanquantile(bands[:, common], ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
        low[common], high[common] = bounds
    return low, high
