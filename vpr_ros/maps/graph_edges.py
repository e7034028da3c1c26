"""Nodes and edges of a pose graph, and what odometry and each kind of closure are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import GraphError
from vpr_ros.maps import place_rows
from vpr_ros.maps.dead_reckoning import Uncertain
from vpr_ros.records import Pose, PoseKind

UNKNOWN_LENGTH_M = 2.0  # standard deviation of a translation whose length was not measured
ACROSS_M = 0.5  # and across its direction, where that was measured
LEAST_STEP_M = 0.01  # way and turn below which odometry is not thought to be exact
LEAST_TURN_RAD = 0.01
WELL_POSED = 1e-12  # least ratio of a covariance's eigenvalues


@dataclass(frozen=True, slots=True)
class Node:
    """A moment of the trajectory and where the robot is thought to have been."""

    stamp_ns: int
    pose: Pose


@dataclass(frozen=True, slots=True)
class Edge:
    """T with `X_end = X_start * T`.

    The covariance (6, 6) is of x, y, z in metres and of rotation about them in radians, in the
    frame of `start`. A `robust` edge may be false: a closure.
    """

    start: int
    end: int
    pose: Pose
    covariance: np.ndarray = field(repr=False, compare=False)
    robust: bool = True

    @property
    def stated(self) -> Uncertain:
        return Uncertain(self.pose, self.covariance)


@dataclass(frozen=True)
class PoseGraph:
    """Nodes, in the order of time within each session, and edges between them."""

    nodes: Sequence[Node]
    edges: Sequence[Edge]


def edge_of(
    kind: PoseKind, pose: Pose, covariance: np.ndarray, start: int = 0, end: int = 1
) -> Edge | None:
    """What a closure is worth as an edge.

    Args:
        kind: of its relative pose.
        pose: of the older base in the newer base.
        covariance: (6, 6), as stated.
        start: node of the newer moment.
        end: node of the older one.

    Returns:
        The edge, robust; None where no transform is known.
    """
    if kind is PoseKind.NONE:
        return None
    if kind in (PoseKind.FROM_MAP, PoseKind.METRIC):
        return Edge(start, end, pose, covariance)
    wide = np.zeros((6, 6))
    wide[3:, 3:] = covariance[3:, 3:]
    wide[:3, :3] = np.eye(3) * UNKNOWN_LENGTH_M**2
    length_m = float(np.linalg.norm(pose.position_m))
    if kind is PoseKind.UP_TO_SCALE and length_m > 0:
        along = np.array(pose.position_m) / length_m
        along = np.outer(along, along)
        wide[:3, :3] = UNKNOWN_LENGTH_M**2 * along + ACROSS_M**2 * (np.eye(3) - along)
    return Edge(start, end, Pose((0.0, 0.0, 0.0), pose.quaternion), wide)


def odometry_edge(start: int, end: int, before: Pose, after: Pose, config: GraphConfig) -> Edge:
    """The edge between two poses of the same odometry.

    Args:
        start: node of the pose before.
        end: node of the pose after.
        before: in the frame of the odometry.
        after: in the same frame.
        config: how far odometry may be off.
    """
    step = before.inverse() @ after
    way_m = max(before.distance_m(after), LEAST_STEP_M)
    turn_rad = max(before.angle_rad(after), LEAST_TURN_RAD)
    turned = config.turn_noise_rad**2 * turn_rad
    heading = config.rotation_noise_rad**2 * way_m + turned
    tilt = config.tilt_noise_rad**2 * (way_m + turn_rad)
    up = before.rotation().as_matrix()
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = np.eye(3) * config.translation_noise_m**2 * way_m
    covariance[3:, 3:] = up.T @ np.diag([tilt, tilt, heading]) @ up
    return Edge(start, end, step, covariance, robust=False)


def require_pose(pose: Pose, what: str) -> None:
    """Refuse what is no pose.

    Raises:
        GraphError: not finite, or its quaternion has not unit length.
    """
    if not place_rows.is_sound(pose):
        raise GraphError(
            f'{what} has no finite pose: expected numbers and a unit quaternion, found '
            f'{pose.position_m} and {pose.quaternion}'
        )


def require_edge(edge: Edge, nodes: int) -> None:
    """Refuse an edge that would spoil the graph.

    Raises:
        GraphError: between nodes that are not there, or without a sound pose and covariance.
    """
    what = f'the edge from node {edge.start} to node {edge.end}'
    if edge.start == edge.end or not all(0 <= end < nodes for end in (edge.start, edge.end)):
        raise GraphError(f'{what} joins no two of the {nodes} nodes: check its ends')
    require_pose(edge.pose, what)
    covariance = np.asarray(edge.covariance)
    if covariance.shape != (6, 6) or not np.isfinite(covariance).all():
        raise GraphError(f'{what} needs a finite covariance (6, 6): drop the edge')
    symmetric = np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-12)
    values = np.linalg.eigvalsh(covariance)
    if not symmetric or not values[0] > values[-1] * WELL_POSED:
        raise GraphError(
            f'{what} has a covariance that is not symmetric and positive: expected positive '
            f'eigenvalues, found {values[0]:.3g} as the least: drop the edge'
        )


def require_graph(graph: PoseGraph) -> None:
    """Refuse a graph that cannot be solved.

    Raises:
        GraphError: no node, or one or an edge that is not sound.
    """
    if not graph.nodes:
        raise GraphError('a pose graph needs a node at least, found none')
    for number, node in enumerate(graph.nodes):
        require_pose(node.pose, f'node {number}')
    for edge in graph.edges:
        require_edge(edge, len(graph.nodes))
