"""A trajectory and its loop closures brought together, all at once.

A Cauchy kernel finds the closures that fit, less the runs of them that strain the rest; these
alone give the result. Graduated non-convexity (Yang et al., 2020) rejects the same single closures
and takes ten times as long. As they come: `maps/incremental.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import GraphError
from vpr_ros.maps import factors
from vpr_ros.maps.chains import laid_over, put_back, roots
from vpr_ros.maps.graph_edges import (
    Edge,
    Node,
    PoseGraph,
    edge_of,
    odometry_edge,
    require_graph,
)
from vpr_ros.maps.runs import runs_of, squared_limit, worst_run
from vpr_ros.records import Pose

__all__ = [
    'Edge', 'Node', 'Optimized', 'PoseGraph', 'edge_of', 'gate_chi2', 'odometry_edge', 'optimize',
]  # fmt: skip

LOOSE_M = 100.0  # least standard deviation of where a session begins that closures may move


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
