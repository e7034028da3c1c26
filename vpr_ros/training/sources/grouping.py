"""From poses to places: views near each other that face the same way."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

STREET_RADIUS_M = 4.0
LEAST_RADIUS_M = 1.0
LARGEST_SHARE = 0.1  # of an area
APART = 3.0  # radii between the first views of two places


def group_views(
    position_m: np.ndarray,
    heading_rad: np.ndarray,
    radius_m: float | None = None,
    turn_rad: float = 0.6,
) -> np.ndarray:
    """Group the views of one area into places that lie well apart.

    Greedy, in the order given: a view joins the first place whose first view lies within the
    radius and the turn; it begins a new one if none lies within three radii and two turns. Views
    between places belong to none, so that two places of a batch never show the same thing.

    Args:
        position_m: (N, 2); nan: in no place.
        heading_rad: (N,); nan: faces any way.
        radius_m: of a place; None: 4 m, or a tenth of the area where that is less, but 1 m.
        turn_rad: largest difference of headings within a place.

    Returns:
        Place of each view, (N,), int64, negative for none.
    """
    labels = np.full(len(position_m), -1, np.int64)
    placed = np.flatnonzero(np.isfinite(position_m).all(axis=1))
    if not len(placed):
        return labels
    tree, radius_m = cKDTree(position_m[placed]), radius_m or suited_radius(position_m[placed])
    settled = np.zeros(len(position_m), bool)  # joined, or too near to a place to begin one
    heading = np.asarray(heading_rad, float)
    count = 0
    for view in placed:
        if settled[view]:
            continue
        near = placed[tree.query_ball_point(position_m[view], APART * radius_m)]
        turn = turn_between(heading[near], heading[view])
        distance = np.linalg.norm(position_m[near] - position_m[view], axis=1)
        inside = (distance <= radius_m) & ~(turn > turn_rad) & (labels[near] < 0)
        labels[near[inside]] = count
        settled[near[~(turn > 2.0 * turn_rad)]] = True
        count += 1
    return labels


def turn_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angle between headings in radians, in [0, pi]; nan where one is not known."""
    return np.abs(np.angle(np.exp(1j * (one - other))))


def suited_radius(position_m: np.ndarray) -> float:
    """Radius of places in metres for views (N, 2): that of streets, less in a building."""
    extent = float(np.hypot(*np.ptp(position_m, axis=0)))
    return min(STREET_RADIUS_M, max(LEAST_RADIUS_M, LARGEST_SHARE * extent))


def compact(places: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Number places 0, 1, 2 ... in their order; one number in two areas becomes two.

    Numbers of a file may be of any size, and tables over them are as long as the largest.

    Args:
        places: (N,), integer, negative for none.
        areas: (N,), integer.

    Returns:
        (N,), int64, -1 for none.
    """
    labels = np.full(len(places), -1, np.int64)
    inside = places >= 0
    pairs = np.column_stack([areas[inside], places[inside]])
    labels[inside] = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return labels
