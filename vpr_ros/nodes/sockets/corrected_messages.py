"""What is said of a corrected drive, as messages. No node is needed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    Point,
    PoseStamped,
    PoseWithCovariance,
    PoseWithCovarianceStamped,
    TransformStamped,
)
from nav_msgs.msg import Path
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from vpr_msgs.msg import LoopClosureAck
from vpr_ros.nodes.outputs.messages import to_pose, to_time
from vpr_ros.nodes.sockets.closures import Answer
from vpr_ros.nodes.sockets.corrected_path import as_poses
from vpr_ros.records import Pose, Vector

BACKEND = 'vpr_loop_closing'
PATH_POSES = 2000  # a longer path is told by every n-th pose of it
GREEN, RED = (0.07, 0.51, 0.25, 1.0), (0.83, 0.18, 0.12, 0.6)
LINE_M = 0.1


def acknowledgement(answer: Answer, now: Time) -> LoopClosureAck:
    """What became of a closure."""
    status = LoopClosureAck.ACCEPTED if answer.accepted else LoopClosureAck.REJECTED
    if answer.pending:
        status = LoopClosureAck.PENDING
    return LoopClosureAck(
        header=Header(stamp=now), closure_id=answer.closure_id, backend=BACKEND, status=status,
        reason=answer.reason,
    )  # fmt: skip


def path(header: Header, stamps: np.ndarray, poses: np.ndarray) -> Path:
    """The corrected way, thinned where it is long; its last pose is always there.

    Args:
        header: stamp, and frame of the map.
        stamps: (n,) nanoseconds.
        poses: (n, 7), x, y, z and quaternion.
    """
    stride = 1 + (len(stamps) - 1) // PATH_POSES
    chosen = slice((len(stamps) - 1) % stride, None, stride)
    return Path(
        header=header,
        poses=[
            PoseStamped(
                header=Header(stamp=to_time(ns), frame_id=header.frame_id), pose=to_pose(pose)
            )
            for ns, pose in zip(stamps[chosen].tolist(), as_poses(poses[chosen]), strict=True)
        ],
    )


def correction(header: Header, pose: Pose, covariance: np.ndarray) -> PoseWithCovarianceStamped:
    """Pose of the frame of odometry in the map's."""
    stated = PoseWithCovariance(pose=to_pose(pose), covariance=covariance.ravel())
    return PoseWithCovarianceStamped(header=header, pose=stated)


def transform(header: Header, child: str, pose: Pose) -> TransformStamped:
    """The same for /tf."""
    message = TransformStamped(header=header, child_frame_id=child)
    to, q = message.transform.translation, message.transform.rotation
    to.x, to.y, to.z = pose.position_m
    q.x, q.y, q.z, q.w = pose.quaternion
    return message


def markers(
    header: Header, accepted: Iterable[tuple[Vector, Vector]], refused: Iterable
) -> MarkerArray:
    """Lines between the two moments of closures: green where they pull, red where not."""
    return MarkerArray(
        markers=[
            _lines(header, 'accepted', accepted, GREEN), _lines(header, 'refused', refused, RED)
        ]
    )  # fmt: skip


def _lines(header: Header, name: str, lines: Iterable, colour: tuple) -> Marker:
    marker = Marker(
        header=header, ns=name, type=Marker.LINE_LIST, action=Marker.ADD,
        color=ColorRGBA(**dict(zip('rgba', colour, strict=True))),
        points=[Point(**dict(zip('xyz', end, strict=True))) for line in lines for end in line],
    )  # fmt: skip
    marker.scale.x = LINE_M
    marker.pose.orientation.w = 1.0
    return marker
