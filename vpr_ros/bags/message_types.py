"""The messages that are read, by the names of ROS 2. Needs neither rosbags nor ROS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
CAMERA_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
TRANSFORM_TYPE = 'tf2_msgs/msg/TFMessage'

# Position and orientation of a message, by its type.
POSES: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    'geometry_msgs/msg/PoseStamped': lambda m: (m.pose.position, m.pose.orientation),
    'geometry_msgs/msg/PoseWithCovarianceStamped': lambda m: (
        m.pose.pose.position,
        m.pose.pose.orientation,
    ),
    'geometry_msgs/msg/TransformStamped': lambda m: (
        m.transform.translation,
        m.transform.rotation,
    ),
    'nav_msgs/msg/Odometry': lambda m: (m.pose.pose.position, m.pose.pose.orientation),
}


def stamp_ns_of(header: Any) -> int:
    """Stamp of a message header in nanoseconds."""
    return header.stamp.sec * 10**9 + header.stamp.nanosec
