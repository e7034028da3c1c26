"""Whether odometry can tell a place from one that looks like it, somewhere else on the drive.

A closure may fit odometry only because odometry is no longer sure of anything: after half a
kilometre every copy of a street within a hundred metres does. What counts is how much better it
fits than a copy anywhere on the drive would: a Bayes factor.
"""

from __future__ import annotations

import numpy as np

from vpr_ros.maps.dead_reckoning import Uncertain
from vpr_ros.maps.graph_edges import UNKNOWN_LENGTH_M
from vpr_ros.records import Pose

FLAT = [0, 1, 5]  # x, y and heading: copies stand on the same ground as what they look like
HARMLESS_M = UNKNOWN_LENGTH_M  # odometry this sure would not be moved further than by any closure


def look_alike_odds(
    here: Pose, expected: Uncertain, stated: Uncertain, positions_m: np.ndarray
) -> float:
    """How much better a closure fits the place that it names than a copy of it would.

    The place itself lies where odometry expects it; that of a copy anywhere where the robot has
    been, as spread out as that is. Both densities are normal ones, of x, y and heading.

    Args:
        here: of the newer moment, in a frame whose z axis points up.
        expected: the older moment in the newer one's base, by odometry and closures before.
        stated: the same, by the closure.
        positions_m: where the robot has been, (N, 3), in the frame of `here`.

    Returns:
        The Bayes factor: 1 where odometry says nothing, inf where it is sure enough for no copy to
        do harm.
    """
    level = np.kron(np.eye(2), here.rotation().as_matrix())
    if _largest_m(level @ expected.covariance @ level.T) <= HARMLESS_M:
        return float('inf')
    covariance = level @ (expected.covariance + stated.covariance) @ level.T
    turn = expected.pose.rotation() * stated.pose.rotation().inv()
    shift = np.subtract(expected.pose.position_m, stated.pose.position_m)
    error = (level @ np.concatenate((shift, turn.as_rotvec())))[FLAT]
    same = covariance[np.ix_(FLAT, FLAT)]
    ways = (positions_m - np.array(here.position_m))[:, :2]
    other = same.copy()
    other[:2, :2] += ways.T @ ways / max(1, len(ways))
    return float(np.exp(_log_density(error, same) - _log_density(error, other)))


def _largest_m(covariance: np.ndarray) -> float:
    return float(np.sqrt(np.linalg.eigvalsh(covariance[:2, :2])[-1]))


def _log_density(error: np.ndarray, covariance: np.ndarray) -> float:
    """Of a normal distribution, but for a constant."""
    _, log_volume = np.linalg.slogdet(covariance)
    return -0.5 * float(error @ np.linalg.solve(covariance, error) + log_volume)
