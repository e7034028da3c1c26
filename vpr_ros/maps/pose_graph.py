"""A trajectory and its loop closures brought together, all at once or as they come.

At once: a Cauchy kernel finds the closures that fit, less the runs of them that strain the rest;
these alone give the result. Graduated non-convexity (Yang et al., 2020) rejects the same single
closures and takes ten times as long. Live: iSAM2 (Kaess et al., 2012) behind a gate, with a Cauchy
kernel.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import GraphError
from vpr_ros.maps import factors
from vpr_ros.maps.chains import laid_over, put_back, roots
from vpr_ros.maps.dead_reckoning import DeadReckoning, Uncertain
from vpr_ros.maps.graph_edges import (
    Edge,
    Node,
    PoseGraph,
    edge_of,
    odometry_edge,
    require_edge,
    require_graph,
    require_pose,
)
from vpr_ros.maps.runs import runs_of, squared_limit, worst_run
from vpr_ros.records import Pose

__all__ = [
    'Edge', 'Gated', 'Incremental', 'Node', 'Optimized', 'PoseGraph', 'edge_of', 'gate_chi2',
    'odometry_edge', 'optimize',
]  # fmt: skip

LOOSE_M = 100.0  # least standard deviation of where a session begins that closures may move
SHORTCUT_M = 10.0  # way that a shortcut through a closure must save
RELINEARIZE = 0.05  # metres and radians from which on iSAM2 computes an edge anew


def gate_chi2(sigmas: float) -> float:
    """Squared distance in six dimensions that is as rare as this many standard deviations."""
    return squared_limit(sigmas)


@dataclass(frozen=True)
class Optimized:
    """A graph brought together; errors are half the sums of squared sigmas of the edges kept."""

    poses: list[Pose]
    kept: np.ndarray = field(repr=False)  # (E,) bool; edges that are not `robust` are always kept
    error_before: float
    error_after: float


def optimize(graph: PoseGraph, config: GraphConfig | None = None) -> Optimized:
    """Move the nodes so that all edges fit as well as they can.

    The first node stays where it is; so does each part of the graph that no closure joins to it.

    Args:
        graph: N nodes, E edges.
        config: which closures are believed.

    Raises:
        GraphError: the graph is not sound, or GTSAM is missing or fails.
    """
    config = config or GraphConfig()
    require_graph(graph)
    poses = [node.pose for node in graph.nodes]
    kept = np.ones(len(graph.edges), bool)
    if not graph.edges:
        return Optimized(poses, kept, 0.0, 0.0)
    laid = [Node(n.stamp_ns, pose) for n, pose in zip(graph.nodes, laid_over(graph), strict=True)]
    try:
        after, kept, terms = _believed(PoseGraph(laid, graph.edges), config)
        errors = terms.error(factors.to_values(poses)), terms.error(after)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise GraphError(f'the pose graph cannot be solved: {reason}') from None
    found = factors.from_values(after, len(poses))
    return Optimized(put_back(found, graph, kept), kept, *errors)


def _terms(edges: Iterable[Edge], kernel_width: float = 0.0) -> Any:
    """Edges as a gtsam.NonlinearFactorGraph; robust ones with a kernel, if it has a width."""
    terms = factors.load_gtsam().NonlinearFactorGraph()
    for edge in edges:
        model = factors.noise(edge)
        if edge.robust and kernel_width:
            model = factors.cauchy(model, kernel_width)
        terms.add(factors.factor(edge, model))
    return terms


def _anchored(terms: Any, graph: PoseGraph) -> Any:
    anchored = terms.clone()
    for anchor in _anchors(graph):
        anchored.add(anchor)
    return anchored


def _solved(terms: Any, start: Any) -> Any:
    return factors.load_gtsam().LevenbergMarquardtOptimizer(terms, start).optimize()


def _believed(graph: PoseGraph, config: GraphConfig) -> tuple[Any, np.ndarray, Any]:
    """Values that most edges agree on, which edges these are, (E,) bool, and their terms.

    One run of closures after the other is dropped, until none strains the rest too much.
    """
    start = factors.to_values(node.pose for node in graph.nodes)
    edges, asked = graph.edges, np.ones(len(graph.edges), bool)
    if config.robust == 'none' or not any(edge.robust for edge in edges):
        terms = _terms(edges)
        return _solved(_anchored(terms, graph), start), asked, terms
    runs = runs_of(graph.nodes, edges)
    while True:
        kernels = _terms(itertools.compress(edges, asked), config.kernel_width)
        robust = _solved(_anchored(kernels, graph), start)
        kept = asked & _fitting(edges, robust, config)
        terms = _terms(itertools.compress(edges, kept))
        anchored = _anchored(terms, graph)
        after = _solved(anchored, robust)
        worst = worst_run(runs, kept, anchored, after, config.gate_sigmas)
        if worst is None:
            return after, kept, terms
        asked[worst] = False


def _fitting(edges: Sequence[Edge], values: Any, config: GraphConfig) -> np.ndarray:
    """Edges that are sure, or within the gate, (E,) bool."""
    limit = gate_chi2(config.gate_sigmas) / 2
    return np.array([
        not edge.robust or factors.factor(edge, factors.noise(edge)).error(values) <= limit
        for edge in edges
    ])  # fmt: skip


def _anchors(graph: PoseGraph) -> list[Any]:
    """The first node of every part is held; of parts that only closures join, all but one loosely.

    Closures may be rejected, and what they joined must not float then.
    """
    count = len(graph.nodes)
    parts = set(roots(count, graph.edges))
    chains = set(roots(count, [edge for edge in graph.edges if not edge.robust]))
    positions = np.array([node.pose.position_m for node in graph.nodes])
    loose_m = max(LOOSE_M, float(np.ptp(positions, axis=0).max()))
    return [
        factors.anchor(node, graph.nodes[node].pose, 0.0 if node in parts else loose_m)
        for node in sorted(chains)
    ]


class Gated(NamedTuple):
    """Whether a closure was accepted, and its squared distance from what was expected."""

    accepted: bool
    chi2: float


class Incremental:
    """A graph that grows while the robot drives; work for a node is bounded.

    A closure is gated by what odometry allows since the closures before: the longer the way, the
    more. Closures that are rejected but agree with each other overrule the graph.
    """

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
        self._doubted: deque[Edge] = deque(maxlen=2 * self.config.overrule_closures)
        self._limit = gate_chi2(self.config.gate_sigmas)

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

    def close(self, edge: Edge) -> Gated:
        """Take a closure between two nodes, or refuse it.

        Raises:
            GraphError: the edge is not sound.
        """
        require_edge(edge, len(self))
        chi2 = self._expected(edge).squared_sigmas(edge.stated)
        if chi2 <= self._limit:
            self._doubted.clear()
            self._admit([edge])
            return Gated(True, chi2)
        agreeing = [other for other in self._doubted if self._agree(edge, other)]
        self._doubted.append(edge)
        if len(agreeing) + 1 < self.config.overrule_closures:
            return Gated(False, chi2)
        self._doubted.clear()
        self._admit([*agreeing, edge])
        return Gated(True, chi2)

    def pose(self, number: int = -1) -> Pose:
        """Where a node is thought to be now; -1: the last one."""
        node = number if number >= 0 else len(self) + number
        return factors.to_pose(self._solver.calculateEstimatePose3(node))

    def poses(self) -> list[Pose]:
        """Where all nodes are thought to be now."""
        return factors.from_values(self._solver.calculateEstimate(), len(self))

    def _admit(self, edges: Sequence[Edge]) -> None:
        terms = self._gtsam.NonlinearFactorGraph()
        for edge in edges:
            model = factors.cauchy(factors.noise(edge), self.config.kernel_width)
            terms.add(factors.factor(edge, model))
        self._solver.update(terms, self._gtsam.Values())
        self._closures += edges

    def _expected(self, edge: Edge) -> Uncertain:
        """Pose of the closure's end in its start as it is now, and how far that may be off."""
        shortcut = self._shortcut(edge)
        way = self._way(edge, shortcut) if shortcut else self._odometry.between(*_ends(edge))
        return Uncertain(self.pose(edge.start).inverse() @ self.pose(edge.end), way.covariance)

    def _shortcut(self, edge: Edge) -> Edge | None:
        """The accepted closure through which the way between two nodes is shortest."""
        ways, ends = self._odometry.ways_m, self._closures
        if not ends:
            return None
        starts = ways[[closure.start for closure in ends]]
        detours = np.abs(starts - ways[edge.start])
        detours += np.abs(ways[[closure.end for closure in ends]] - ways[edge.end])
        best = int(np.argmin(detours))
        saved = abs(ways[edge.start] - ways[edge.end]) - detours[best]
        return ends[best] if saved > SHORTCUT_M else None

    def _way(self, edge: Edge, through: Edge) -> Uncertain:
        """The closure's end in its start, by odometry and another closure."""
        there = self._odometry.between(edge.start, through.start)
        back = self._odometry.between(through.end, edge.end)
        return there @ through.stated @ back

    def _agree(self, one: Edge, other: Edge) -> bool:
        return self._way(one, other).squared_sigmas(one.stated) <= self._limit


def _ends(edge: Edge) -> tuple[int, int]:
    return edge.start, edge.end
