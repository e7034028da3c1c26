"""Small pose graphs: laps round a circle with drifting odometry."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.config.graph import GraphConfig
from vpr_ros.maps.pose_graph import Edge, Node, PoseGraph, odometry_edge
from vpr_ros.records import Pose
from vpr_ros.synthetic.drift import Wander, drifted

LAP = 40  # nodes
STEP_M = 2.0
COVARIANCE = np.diag([0.5, 0.5, 0.5, 0.05, 0.05, 0.05]) ** 2
BAD = Wander(0.03, 0.01, 0.02, 2e-3)


def turned(yaw_rad: float) -> tuple:
    return tuple(Rotation.from_euler('z', yaw_rad).as_quat().tolist())


def laps(count: int) -> list[Pose]:
    """True poses round a circle."""
    radius, angles = STEP_M * LAP / (2 * np.pi), 2 * np.pi * np.arange(count) / LAP
    return [
        Pose((float(radius * np.cos(a)), float(radius * np.sin(a)), 0.0), turned(a + np.pi / 2))
        for a in angles
    ]


def closure(truth: list[Pose], start: int, end: int, towards: int | None = None) -> Edge:
    """What is true of two nodes, stated of `towards` where that is another one."""
    pose = truth[start].inverse() @ truth[end]
    return Edge(start, end if towards is None else towards, pose, COVARIANCE)


def drive(
    count: int = 3 * LAP, seed: int = 1, config: GraphConfig | None = None
) -> tuple[list[Pose], list[Node], list[Edge]]:
    """Truth, nodes where odometry says, and its edges."""
    truth = laps(count)
    poses = drifted(truth, BAD, seed)
    edges = [
        odometry_edge(k - 1, k, poses[k - 1], poses[k], config or GraphConfig())
        for k in range(1, count)
    ]
    return truth, [Node(k * 10**9, pose) for k, pose in enumerate(poses)], edges


def looped(count: int = 3 * LAP, every: int = 4, seed: int = 1) -> tuple[list[Pose], PoseGraph]:
    """Closures with the lap before."""
    truth, nodes, edges = drive(count, seed)
    edges = edges + [closure(truth, k, k - LAP) for k in range(LAP, count, every)]
    return truth, PoseGraph(nodes, edges)


def off_m(poses: list[Pose], truth: list[Pose]) -> float:
    """Root mean square of the distances; the first poses are the same."""
    gaps = [one.distance_m(other) for one, other in zip(poses, truth, strict=True)]
    return float(np.sqrt(np.mean(np.square(gaps))))
