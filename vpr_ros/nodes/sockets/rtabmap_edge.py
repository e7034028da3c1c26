"""A closure between two images as a link between two nodes, in RTAB-Map's frames and order.

RTAB-Map's optimisers (g2o, GTSAM) take the information along the axes of the older node, ours is
along those of the newer one. Order of both: x, y, z, rx, ry, rz.
"""

from __future__ import annotations

import math

import numpy as np

from vpr_ros.config.graph import GraphConfig
from vpr_ros.config.sockets import RtabmapConfig
from vpr_ros.maps.dead_reckoning import Uncertain
from vpr_ros.maps.pose_graph import odometry_edge
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.odometry_track import OdometryTrack
from vpr_ros.records import Pose

LEAST_SIGMA, MOST_SIGMA = 1e-4, 90.0  # beyond 100 RTAB-Map leaves an axis out of its arithmetic


class Motion:
    """What is known of the robot's way between two close stamps."""

    def __init__(self, config: RtabmapConfig, track: OdometryTrack) -> None:
        self._config = config
        self._track = track
        self._noise = GraphConfig()
        self.frame = ''  # whose motion the track is, as odometry says

    def between(self, start_ns: int, end_ns: int, frame: str) -> Uncertain | None:
        """Pose at the end in the base at the start; None: not known well enough.

        Args:
            start_ns: a stamp.
            end_ns: another; either may come first.
            frame: name of the base; odometry of another frame is of no use.
        """
        gap_s = abs(end_ns - start_ns) / NS
        before, after = self._track.at(start_ns), self._track.at(end_ns)
        if before and after and self.frame in ('', frame):
            if gap_s > self._config.node_gap_s:
                return None
            return odometry_edge(0, 1, before, after, self._noise).stated
        if gap_s > self._config.bare_gap_s:
            return None
        shift, turn = self._config.speed_m * gap_s, self._config.turn_rad * gap_s
        return Uncertain(Pose((0.0, 0.0, 0.0)), np.diag([shift**2] * 3 + [turn**2] * 3))


def information(link: Uncertain) -> np.ndarray | None:
    """The information matrix (6, 6) that RTAB-Map expects; None: the covariance is unusable.

    Finite, symmetric, positive definite, and so positive on the diagonal: anything else ends
    RTAB-Map.

    Args:
        link: pose of the older node in the newer one, covariance along the newer node's axes.
    """
    stated = np.asarray(link.covariance, np.float64)
    if not np.isfinite(stated).all() or not (np.diag(stated) > 0).all():
        return None
    turn = np.kron(np.eye(2), link.pose.rotation().as_matrix())
    turned = turn.T @ ((stated + stated.T) / 2) @ turn
    try:
        values, vectors = np.linalg.eigh(turned)
    except np.linalg.LinAlgError:
        return None
    if values[0] < -1e-6 * values[-1]:
        return None
    matrix = vectors @ np.diag(1.0 / values.clip(LEAST_SIGMA**2, MOST_SIGMA**2)) @ vectors.T
    matrix = (matrix + matrix.T) / 2
    sound = np.isfinite(matrix).all() and (np.diag(matrix) > 0).all()
    return matrix if sound else None


def is_pose(pose: Pose) -> bool:
    """Whether it is finite, with a quaternion of unit length."""
    length = math.hypot(*pose.quaternion)
    return all(map(math.isfinite, pose.position_m)) and abs(length - 1.0) < 1e-3
