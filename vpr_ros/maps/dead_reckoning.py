"""What odometry alone says of two nodes of a graph, and how far it may be off.

Every covariance here is of a pose T = (R, t): of t + dt and exp(w) R, dt and w along the axes in
which t is given; order x, y, z, rx, ry, rz.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.records import Pose

GROWTH = 1024  # nodes by which the tables grow


@dataclass(frozen=True)
class Uncertain:
    """A relative pose and its covariance (6, 6)."""

    pose: Pose
    covariance: np.ndarray = field(repr=False)

    def __matmul__(self, other: Uncertain) -> Uncertain:
        """One after the other, their errors being independent."""
        turn = self.pose.rotation().as_matrix()
        lever, both = np.eye(6), np.kron(np.eye(2), turn)
        lever[:3, 3:] = -skew(turn @ np.array(other.pose.position_m))
        covariance = lever @ self.covariance @ lever.T + both @ other.covariance @ both.T
        return Uncertain(self.pose @ other.pose, covariance)

    def inverse(self) -> Uncertain:
        """The other way round."""
        back = np.kron(np.eye(2), self.pose.rotation().as_matrix().T)
        lever = np.eye(6)
        lever[:3, 3:] = skew(np.array(self.pose.position_m))
        back = back @ lever
        return Uncertain(self.pose.inverse(), back @ self.covariance @ back.T)

    def squared_sigmas(self, other: Uncertain) -> float:
        """Squared Mahalanobis distance of two statements about the same relative pose."""
        turn = self.pose.rotation() * other.pose.rotation().inv()
        shift = np.subtract(self.pose.position_m, other.pose.position_m)
        error = np.concatenate((shift, turn.as_rotvec()))
        return float(error @ np.linalg.solve(self.covariance + other.covariance, error))


class DeadReckoning:
    """A chain of odometry edges; any two nodes of it are compared in constant time.

    The errors of all edges up to a node are summed up as one covariance of a twist about the
    origin: those between two nodes are the difference of two sums.
    """

    def __init__(self) -> None:
        self._count = 0
        self._turns = np.empty((0, 3, 3))
        self._positions = np.empty((0, 3))
        self._sums = np.empty((0, 6, 6))
        self._ways = np.empty(0)

    def __len__(self) -> int:
        return self._count

    @property
    def ways_m(self) -> np.ndarray:
        """Length of the way up to each node, (N,)."""
        return self._ways[: self._count]

    def begin(self) -> None:
        """Take the first node, the origin."""
        self._put(np.eye(3), np.zeros(3), np.zeros((6, 6)), 0.0)

    def add(self, step: Uncertain) -> None:
        """Take the next node, by its pose in the node before."""
        last = self._count - 1
        turn, position = self._turns[last], self._positions[last]
        ahead = np.array(step.pose.position_m)
        next_position = position + turn @ ahead
        spread = np.kron(np.eye(2), turn)
        spread[:3, 3:] = skew(next_position) @ turn
        self._put(
            turn @ step.pose.rotation().as_matrix(), next_position,
            self._sums[last] + spread @ step.covariance @ spread.T,
            float(self._ways[last] + np.linalg.norm(ahead)),
        )  # fmt: skip

    def between(self, start: int, end: int) -> Uncertain:
        """Pose of `end` in `start`; either may come first."""
        back = self._turns[start].T
        to_start = np.kron(np.eye(2), back)
        to_start[:3, 3:] = -back @ skew(self._positions[end])
        first, last = sorted((start, end))
        covariance = to_start @ (self._sums[last] - self._sums[first]) @ to_start.T
        matrix = np.eye(4)
        matrix[:3, :3] = _orthonormal(back @ self._turns[end])
        matrix[:3, 3] = back @ (self._positions[end] - self._positions[start])
        return Uncertain(Pose.from_matrix(matrix), (covariance + covariance.T) / 2)

    def _put(
        self, turn: np.ndarray, position: np.ndarray, total: np.ndarray, way_m: float
    ) -> None:
        if self._count == len(self._ways):
            for name in ('_turns', '_positions', '_sums', '_ways'):
                table = getattr(self, name)
                setattr(self, name, np.concatenate((table, np.empty((GROWTH, *table.shape[1:])))))
        row, self._count = self._count, self._count + 1
        self._turns[row], self._positions[row] = _orthonormal(turn), position
        self._sums[row], self._ways[row] = total, way_m


def skew(vector: np.ndarray) -> np.ndarray:
    """Matrix (3, 3) of the cross product with a vector."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _orthonormal(turn: np.ndarray) -> np.ndarray:
    """A rotation matrix without the rounding of the products it comes from."""
    return Rotation.from_matrix(turn).as_matrix()
