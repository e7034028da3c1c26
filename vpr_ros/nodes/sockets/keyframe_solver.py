"""iSAM2 over keyframes, begun from a graph that is there already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.config.graph import GraphConfig
from vpr_ros.maps import factors
from vpr_ros.maps.pose_graph import Edge, Incremental, PoseGraph

SETTLING = 10  # steps of the solver after a closure, at most


class KeyframeSolver(Incremental):
    """An `Incremental` that can be built in one go, without judging its closures again."""

    @classmethod
    def of(cls, graph: PoseGraph, config: GraphConfig, kernel: bool = True) -> KeyframeSolver:
        """Of N nodes, the N - 1 odometry edges between neighbours and closures.

        Args:
            graph: of one drive.
            config: its settings.
            kernel: closures that are far off pull less than they would.

        Raises:
            GraphError: GTSAM is missing.
        """
        solver = cls(config)
        terms = solver._gtsam.NonlinearFactorGraph()
        terms.add(factors.anchor(0, graph.nodes[0].pose))
        solver._odometry.begin()
        for edge in graph.edges:
            model = factors.noise(edge)
            if edge.robust:
                model = factors.cauchy(model, config.kernel_width) if kernel else model
                solver._closures.append(edge)
            else:
                solver._odometry.add(edge.stated)
            terms.add(factors.factor(edge, model))
        solver._solver.update(terms, factors.to_values(node.pose for node in graph.nodes))
        solver.settle()
        return solver

    def table(self) -> np.ndarray:
        """Where all nodes are thought to be now, (N, 7): x, y, z and quaternion."""
        values = self._gtsam.utilities.extractPose3(self._solver.calculateEstimate())
        turns = Rotation.from_matrix(values[:, :9].reshape(-1, 3, 3))
        return np.concatenate((values[:, 9:], turns.as_quat()), axis=1)

    def spread(self, node: int) -> np.ndarray:
        """Covariance (6, 6) of a node's pose, in its own axes; translation first."""
        order = np.argsort(factors.ROTATION_FIRST)
        return self._solver.marginalCovariance(node)[np.ix_(order, order)]

    def _admit(self, edges: Sequence[Edge]) -> None:
        """Take closures, and repeat until they have pulled the graph where they want it.

        One step is not enough: the robust kernel weakens an edge that is far off, and after a
        long way a true one is.
        """
        super()._admit(edges)
        self.settle()

    def settle(self) -> None:
        """Repeat until nothing moves any more, or it takes too long."""
        for _ in range(SETTLING):
            if not self._solver.update().getVariablesRelinearized():
                break

    def agree(self, one: Edge, other: Edge) -> bool:
        """Whether odometry between two closures allows both of them."""
        return self._agree(one, other)

    @property
    def closures(self) -> Sequence[Edge]:
        """Those that were accepted, in that order."""
        return self._closures


def squared_sigmas(edges: Sequence[Edge], poses: np.ndarray) -> np.ndarray:
    """How far each edge is from what the poses say, squared and in standard deviations.

    Args:
        edges: M of them.
        poses: (N, 7), x, y, z and quaternion.

    Returns:
        (M,)
    """
    starts, ends = poses[[e.start for e in edges]], poses[[e.end for e in edges]]
    back = Rotation.from_quat(starts[:, 3:]).inv()
    shift = back.apply(ends[:, :3] - starts[:, :3]) - [e.pose.position_m for e in edges]
    stated = Rotation.from_quat([e.pose.quaternion for e in edges])
    turn = back * Rotation.from_quat(ends[:, 3:]) * stated.inv()
    errors = np.concatenate((shift, turn.as_rotvec()), axis=1)
    solved = np.linalg.solve(np.array([e.covariance for e in edges]), errors[..., None])
    return np.einsum('mk,mk->m', errors, solved[..., 0])
