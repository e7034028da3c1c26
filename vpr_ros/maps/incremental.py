"""A pose graph that grows while the robot drives: iSAM2 (Kaess et al., 2012), a Cauchy kernel.

It tells what it expects of a closure and takes what it is given; who judges is elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.transform import Rotation

from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import GraphError
from vpr_ros.maps import factors
from vpr_ros.maps.dead_reckoning import DeadReckoning, Uncertain
from vpr_ros.maps.graph_edges import Edge, Node, PoseGraph, require_edge, require_pose
from vpr_ros.records import Pose

SHORTCUT_M = 10.0  # way that going through a closure must save
LEAST_M = 1e-6  # no step is for nothing
RELINEARIZE = 0.05  # metres and radians from which on iSAM2 computes an edge anew
SETTLING = 10  # steps of the solver after a closure, at most


class Incremental:
    """One drive; work for a node is bounded. One thread at a time."""

    def __init__(self, config: GraphConfig | None = None) -> None:
        """Begin an empty graph.

        Raises:
            GraphError: GTSAM is missing.
        """
        self.config = config or GraphConfig()
        self._gtsam = factors.load_gtsam()
        settings = self._gtsam.ISAM2Params()
        settings.setRelinearizeThreshold(RELINEARIZE)
        settings.relinearizeSkip = 1
        settings.enablePartialRelinearizationCheck = True
        self._solver = self._gtsam.ISAM2(settings)
        self._odometry = DeadReckoning()
        self._closures: list[Edge] = []

    @classmethod
    def of(cls, graph: PoseGraph, config: GraphConfig, kernel: bool = True) -> Incremental:
        """Of N nodes, the N - 1 odometry edges between neighbours and closures, in one go.

        Args:
            graph: of one drive.
            config: its settings.
            kernel: closures that are far off pull less than they would.

        Raises:
            GraphError: GTSAM is missing.
        """
        made = cls(config)
        terms = made._gtsam.NonlinearFactorGraph()
        terms.add(factors.anchor(0, graph.nodes[0].pose))
        made._odometry.begin()
        for edge in graph.edges:
            if edge.robust:
                made._closures.append(edge)
                terms.add(made._closure_term(edge, kernel))
            else:
                made._odometry.add(edge.stated)
                terms.add(factors.factor(edge, factors.noise(edge)))
        made._solver.update(terms, factors.to_values(node.pose for node in graph.nodes))
        made._settle()
        return made

    def __len__(self) -> int:
        return len(self._odometry)

    def add(self, node: Node, edge: Edge | None = None) -> int:
        """Take the next node and its odometry edge; returns its number.

        Args:
            node: its pose is used where it is the first one.
            edge: from the last node to this one; None for the first.

        Raises:
            GraphError: the edge is not sound, or leads elsewhere.
        """
        number = len(self)
        terms, values = self._gtsam.NonlinearFactorGraph(), self._gtsam.Values()
        if edge is None:
            if number:
                raise GraphError(f'node {number} needs the edge of odometry that leads to it')
            require_pose(node.pose, 'the first node')
            terms.add(factors.anchor(0, node.pose))
            values.insert(0, factors.to_gtsam(node.pose))
            self._odometry.begin()
        else:
            require_edge(edge, number + 1)
            if (edge.start, edge.end) != (number - 1, number):
                raise GraphError(
                    f'expected the edge from node {number - 1} to node {number}, found one from '
                    f'{edge.start} to {edge.end}'
                )
            terms.add(factors.factor(edge, factors.noise(edge)))
            values.insert(number, factors.to_gtsam(self.pose(number - 1) @ edge.pose))
            self._odometry.add(edge.stated)
        self._solver.update(terms, values)
        return number

    def admit(self, edges: Sequence[Edge]) -> None:
        """Take closures, and repeat until they have pulled the graph where they want it.

        One step is not enough: the robust kernel weakens an edge that is far off, and after a
        long way a true one is.

        Raises:
            GraphError: an edge is not sound.
        """
        terms = self._gtsam.NonlinearFactorGraph()
        for edge in edges:
            require_edge(edge, len(self))
            terms.add(self._closure_term(edge))
        self._solver.update(terms, self._gtsam.Values())
        self._closures += edges
        self._settle()

    def expected(self, edge: Edge, through: Edge | None = None) -> Uncertain:
        """Pose of a closure's end in its start, and how far that may be off.

        The longer the way since the closures before, the further.

        Args:
            edge: the closure; what it states itself is not looked at.
            through: another closure that is thought to be right; None: the graph as it is.

        Raises:
            GraphError: the edge is not sound.
        """
        require_edge(edge, len(self))
        if through is not None:
            return self._way(edge, [(through, False)])
        way = self._way(edge, self._shortcuts(edge))
        return Uncertain(self.pose(edge.start).inverse() @ self.pose(edge.end), way.covariance)

    def pose(self, number: int = -1) -> Pose:
        """Where a node is thought to be now; -1: the last one."""
        node = number if number >= 0 else len(self) + number
        return factors.to_pose(self._solver.calculateEstimatePose3(node))

    def table(self) -> np.ndarray:
        """Where all nodes are thought to be now, (N, 7): x, y, z and quaternion."""
        values = self._gtsam.utilities.extractPose3(self._solver.calculateEstimate())
        turns = Rotation.from_matrix(values[:, :9].reshape(-1, 3, 3))
        return np.concatenate((values[:, 9:], turns.as_quat()), axis=1)

    def spread(self, node: int) -> np.ndarray:
        """Covariance (6, 6) of a node's pose, in its own axes; translation first."""
        order = np.argsort(factors.ROTATION_FIRST)
        return self._solver.marginalCovariance(node)[np.ix_(order, order)]

    def _closure_term(self, edge: Edge, kernel: bool = True) -> object:
        model = factors.noise(edge)
        return factors.factor(
            edge, factors.cauchy(model, self.config.kernel_width) if kernel else model
        )

    def _settle(self) -> None:
        """Repeat until nothing moves any more, or it takes too long."""
        for _ in range(SETTLING):
            if not self._solver.update().getVariablesRelinearized():
                break

    def _shortcuts(self, edge: Edge) -> list[tuple[Edge, bool]]:
        """Closures on the shortest way between two nodes, and whether each is gone backwards."""
        ways, hops = self._odometry.ways_m, {}
        for closure in self._closures:
            if abs(ways[closure.start] - ways[closure.end]) > SHORTCUT_M:
                hops[closure.start, closure.end] = closure
        if not hops:
            return []
        nodes = np.unique([*(end for pair in hops for end in pair), edge.start, edge.end])
        pairs = np.concatenate((np.stack((nodes[:-1], nodes[1:]), axis=1), [*hops]))
        steps = np.abs(ways[pairs[:, 0]] - ways[pairs[:, 1]]) + LEAST_M
        steps[len(nodes) - 1 :] = SHORTCUT_M
        known = {pair: k for k, pair in enumerate(map(tuple, pairs.tolist()))}  # the last counts
        kept = list(known.values())
        rows, columns = np.searchsorted(nodes, pairs[kept]).T
        graph = csr_matrix((steps[kept], (rows, columns)), shape=(len(nodes),) * 2)
        first, last = np.searchsorted(nodes, (edge.start, edge.end)).tolist()
        _, before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)
        return _hops(nodes, before, first, last, hops)

    def _way(self, edge: Edge, through: Sequence[tuple[Edge, bool]]) -> Uncertain:
        """The closure's end in its start, by odometry and other closures."""
        here, way = edge.start, None
        for closure, backwards in through:
            start, end = closure.start, closure.end
            stated = closure.stated
            if backwards:
                start, end, stated = end, start, stated.inverse()
            step = self._odometry.between(here, start) @ stated
            way = step if way is None else way @ step
            here = end
        rest = self._odometry.between(here, edge.end)
        return rest if way is None else way @ rest


def _hops(
    nodes: np.ndarray,
    before: np.ndarray,
    first: int,
    last: int,
    hops: Mapping[tuple[int, int], Edge],
) -> list[tuple[Edge, bool]]:
    """The closures on a way that was found."""
    found: list[tuple[Edge, bool]] = []
    while last != first:
        step = int(nodes[before[last]]), int(nodes[last])
        for pair, backwards in ((step, False), (step[::-1], True)):
            if pair in hops:
                found.append((hops[pair], backwards))
                break
        last = int(before[last])
    return found[::-1]


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
