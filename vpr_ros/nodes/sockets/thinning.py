"""Which of many are kept, so that what is kept lies evenly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from vpr_ros.config.graph import GraphConfig
from vpr_ros.records import Pose

WIDER = 1.25  # by which the spacing grows from one attempt to the next


def ways_m(poses: Sequence[Pose], graph: GraphConfig) -> np.ndarray:
    """Length of the way up to each of n keyframes, (n,); a turn counts as way, too."""
    a_turn = graph.keyframe_distance_m / graph.keyframe_angle_rad
    steps = [a.distance_m(b) + a_turn * a.angle_rad(b) for a, b in pairwise(poses)]
    return np.cumsum([0.0, *steps])


def spaced(at: np.ndarray, must: np.ndarray, most: int) -> list[int]:
    """Rows that stay: those that must, and of the others one for each so many metres.

    Args:
        at: metres, (n,), not falling.
        must: (n,) bool; these stay in any case.
        most: rows wanted, at most; more stay only where more must.
    """
    spacing_m = (at[-1] - at[0]) / max(1, len(at))
    while True:
        kept = _at_spacing(at, must, spacing_m)
        if len(kept) <= max(most, int(must.sum())):
            return kept
        spacing_m = max(WIDER * spacing_m, 1e-3)


def _at_spacing(at: np.ndarray, must: np.ndarray, spacing_m: float) -> list[int]:
    kept, last_m = [], -np.inf
    for row, (here_m, stays) in enumerate(zip(at.tolist(), must.tolist(), strict=True)):
        if stays or here_m - last_m >= spacing_m:
            kept.append(row)
            last_m = here_m
    return kept
