"""Evidence for the best candidate as numbers, from which its probability is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from vpr_ros.recognition.neighbourhood import NEIGHBOURHOOD_M, PlaceArrays
from vpr_ros.records import Candidate, Signals

SUE_PLACES = 10  # most similar places whose poses are compared
SUE_SLOPE = 80.0  # weight exp(slope * (similarity - best)); see docs/calibration.md
SUE_CLIP = 10.0  # neighbourhoods; further away is not further
LEAST_RIVALS = 10  # fewer have no deviation worth the name
CHANCE_INLIERS = 16  # between images of two places; see docs/calibration.md
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


def margin(
    candidates: Sequence[Candidate],
    rows: Mapping[int, int],
    places: PlaceArrays,
    neighbourhood_m: float = NEIGHBOURHOOD_M,
) -> float:
    """Log ratio of the best candidate's inliers to those of the best place away from it.

    Both counts are raised by what chance gives, so that 8 to 0 is little and 80 to 8 is much. A
    place elsewhere that was not verified counts as one without inliers; nan where the best
    candidate was not.

    Args:
        candidates: the best first; any of them may be verified.
        rows: of the map's places, by their ids.
        places: of the map.
        neighbourhood_m: places nearer than this to the best one are no rivals.
    """
    found = candidates[0].verification
    if found is None:
        return math.nan
    others = [(rows[c.place.id], c.verification) for c in candidates[1:] if c.verification]
    rival = 0
    if others:
        near = places.neighbourhood(rows[candidates[0].place.id], neighbourhood_m)
        rival = max((other.inliers for row, other in others if not near[row]), default=0)
    return math.log((found.inliers + CHANCE_INLIERS) / (rival + CHANCE_INLIERS))


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
