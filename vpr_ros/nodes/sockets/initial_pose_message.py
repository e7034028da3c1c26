"""The message on `initialpose`, by the rules of those who hear it.

nav2's AMCL: `nav2_amcl/src/amcl_node.cpp` (initialPoseReceived, handleInitialPose) and
`nav2_ros_common/include/nav2_ros_common/validate_messages.hpp` of navigation2 1.5.0, 1.4.2
(kilted) and 1.3.13 (jazzy). slam_toolbox: `src/slam_toolbox_localization.cpp` of 2.7.0.
"""

from __future__ import annotations

import math

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid

from vpr_ros.config.sockets import InitialPoseConfig
from vpr_ros.errors import RosError
from vpr_ros.nodes.sockets.believed import Fix

FLAT_VARIANCE = 1e-6  # of z, roll and pitch on the ground: small, and not zero
MOST = 1e9  # AMCL calls anything above it malformed, and anything below zero
CORRELATED = 0.99  # at most: the particles are drawn from a matrix that must stay positive


def initial_pose(fix: Fix, config: InitialPoseConfig) -> PoseWithCovarianceStamped:
    """A pose that no listener refuses; its stamp is the image's.

    A negative correlation is left out, as AMCL refuses it: what is left says less, and no more.
    """
    message = PoseWithCovarianceStamped()
    message.header.stamp = fix.stamp
    message.header.frame_id = config.global_frame
    point, q = message.pose.pose.position, message.pose.pose.orientation
    point.x, point.y, point.z = fix.pose.position_m
    q.x, q.y, q.z, q.w = fix.pose.quaternion
    if config.two_d:
        point.z, half = 0.0, 0.5 * fix.yaw
        q.x, q.y, q.z, q.w = 0.0, 0.0, math.sin(half), math.cos(half)
    message.pose.covariance = _covariance(fix.covariance, config).ravel()
    return message


def _covariance(covariance: np.ndarray, config: InitialPoseConfig) -> np.ndarray:
    floors = [config.min_sigma_m**2] * 3 + [config.min_sigma_rad**2] * 3
    variances = np.clip(np.diag(covariance), floors, MOST)
    if config.two_d:
        variances[2:5] = FLAT_VARIANCE
    made = np.diag(variances)
    limit = CORRELATED * math.sqrt(variances[0] * variances[1])
    shared = 0.5 * (covariance[0, 1] + covariance[1, 0])
    made[0, 1] = made[1, 0] = min(max(shared, 0.0), limit)
    return made


def require_inside(fix: Fix, grid: OccupancyGrid) -> None:
    """Refuse a pose that is not on the localiser's map.

    Raises:
        RosError: it lies outside the grid, or where AMCL itself refuses it: that compares metres
            with the number of cells.
    """
    info, (x, y, _) = grid.info, fix.pose.position_m
    origin, q = info.origin.position, info.origin.orientation
    yaw = 2.0 * math.atan2(q.z, q.w)
    east, north = x - origin.x, y - origin.y
    along = east * math.cos(yaw) + north * math.sin(yaw)
    across = north * math.cos(yaw) - east * math.sin(yaw)
    width, height = info.width * info.resolution, info.height * info.resolution
    on_it = 0.0 <= along <= width and 0.0 <= across <= height
    if not on_it or abs(x) > info.width or abs(y) > info.height:
        raise RosError(
            f'the match is not on the map of the localiser ({width:.0f} by {height:.0f} m): it '
            f'lies at {x:.1f}, {y:.1f} m; was the map of places recorded in the same frame?'
        )
