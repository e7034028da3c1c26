"""Evidence for the best candidate as numbers, from which its probability is computed."""

from __future__ import annotations

import math

import numpy as np

from vpr_ros.recognition.neighbourhood import NEIGHBOURHOOD_M, PlaceArrays
from vpr_ros.records import Signals

SUE_PLACES = 10  # most similar places whose poses are compared
SUE_SLOPE = 80.0  # weight exp(slope * (similarity - best)); see docs/calibration.md
SUE_CLIP = 10.0  # neighbourhoods; further away is not further
LEAST_RIVALS = 10  # fewer have no deviation worth the name
RIVAL_RANGE = 0.2  # a rival this much less similar is none: ambiguity 0


def measure(
    similarities: np.ndarray,
    row: int,
    places: PlaceArrays,
    neighbourhood_m: float = NEIGHBOURHOOD_M,
) -> Signals:
    """What the similarities say of one place.

    Args:
        similarities: (N,), float32, of every place in row order; -inf where it may not be matched.
        row: of the place that is believed in.
        places: of the map.
        neighbourhood_m: places nearer than this to it are no rivals.

    Returns:
        Similarity, z-score, gap and spread; the others are nan.
    """
    best = float(similarities[row])
    others = np.isfinite(similarities) & ~places.neighbourhood(row, neighbourhood_m)
    rest = similarities[others]
    z_score = gap = math.nan
    if len(rest) >= LEAST_RIVALS and (deviation := float(rest.std())) > 0:
        z_score = (best - float(rest.mean())) / deviation
    if len(rest):
        gap = best - float(rest.max())
    return Signals(best, z_score, gap, spread(similarities, places))


def spread(similarities: np.ndarray, places: PlaceArrays) -> float:
    """Spatial spread of the most similar places, 0 to 1, nan without two poses.

    SUE (Zaffar et al.) with the clipping corrected: differences are clipped both ways, and at ten
    neighbourhoods in place of 500 m.
    """
    usable = np.flatnonzero(np.isfinite(similarities) & places.posed)
    if len(usable) < 2:
        return math.nan
    count = min(SUE_PLACES, len(usable))
    rows = usable[np.argpartition(-similarities[usable], count - 1)[:count]]
    weights = np.exp(SUE_SLOPE * (similarities[rows] - similarities[rows].max()))
    weights = weights / weights.sum()
    positions = places.positions_m[rows]
    limit_m = SUE_CLIP * places.radius_m
    offset = np.clip(positions - weights @ positions, -limit_m, limit_m)
    variance = float((weights @ offset**2).sum())
    return float(np.sqrt(variance) / (np.sqrt(3.0) * limit_m))


def ambiguity(signals: Signals) -> float:
    """0: no distant place is like the best one, 1: one is as good; nan where there is no rival."""
    if math.isnan(signals.gap):
        return math.nan
    return min(1.0, max(0.0, 1.0 - signals.gap / RIVAL_RANGE))
