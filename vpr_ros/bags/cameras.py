"""The model of a recorded camera: intrinsics out of CameraInfo, mounting out of static tf."""

from __future__ import annotations

import math
import posixpath
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.bags.message_types import CAMERA_INFO_TYPE, POSES
from vpr_ros.bags.reader import Bag
from vpr_ros.bags.transforms import Edge, compose, find_chain
from vpr_ros.records import Camera, Pose

STATIC = '/tf_static'
TRANSFORM = POSES['geometry_msgs/msg/TransformStamped']
PINHOLE = ('', 'plumb_bob', 'rational_polynomial')  # what OpenCV's distortion means
DISTORTIONS = (4, 5, 8, 12, 14)  # how many coefficients OpenCV takes


def read_camera(bag: Bag, image_topic: str, base_frame: str = '') -> Camera | None:
    """Model of the camera behind a topic, or None where nothing usable was recorded.

    Its mounting is known where static transforms lead from `base_frame` to the camera's frame.

    Args:
        bag: an open recording.
        image_topic: of its images; `camera_info` is looked for beside it, as ROS has it.
        base_frame: frame that the poses of the drive describe.
    """
    topic = info_topic(bag, image_topic)
    for _, _, message in bag.messages([topic]) if topic else ():
        if camera := camera_from_message(message):
            frame = message.header.frame_id.lstrip('/')
            return replace(camera, base=_mounting(bag, base_frame.lstrip('/'), frame))
    return None


def info_topic(bag: Bag, image_topic: str) -> str | None:
    """Topic of the CameraInfo of a camera: the one beside it, or the only one there is."""
    topics = [x for x, info in bag.topics.items() if info.type == CAMERA_INFO_TYPE and info.count]
    folder = image_topic
    while folder not in ('', '/'):
        folder = posixpath.dirname(folder)
        beside = posixpath.join(folder, 'camera_info')
        if beside in topics:
            return beside
    return topics[0] if len(topics) == 1 else None


def camera_from_message(message: Any) -> Camera | None:
    """Camera of a sensor_msgs/CameraInfo of ROS 2 or ROS 1, not mounted anywhere.

    Returns:
        None for a camera that is not calibrated, or not a pinhole camera.
    """
    k = np.asarray(message.k if hasattr(message, 'k') else message.K, float).reshape(3, 3)
    d = np.asarray(message.d if hasattr(message, 'd') else message.D, float)
    fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    usable = np.isfinite([*k.flat, *d]).all() and fx > 0 and fy > 0 and len(d) <= DISTORTIONS[-1]
    size = (int(message.height), int(message.width))
    if not usable or message.distortion_model not in PINHOLE or not all(size):
        return None
    count = next(count for count in DISTORTIONS if count >= len(d))  # the others are zero
    distortion = tuple(np.pad(d, (0, count - len(d))).tolist()) if np.any(d) else ()
    return Camera(size, float(fx), float(fy), float(cx), float(cy), distortion)


def _mounting(bag: Bag, base: str, frame: str) -> Pose | None:
    topics = [STATIC] if STATIC in bag.topics else []
    known: dict[Edge, Any] = {}
    for _, _, message in bag.messages(topics):
        known.update(edges(message))
    return mounting(known, base, frame)


def edges(message: Any) -> dict[Edge, tuple[Any, Any]]:
    """Position and orientation of each edge of a tf2_msgs/TFMessage."""
    return {
        Edge(x.header.frame_id.lstrip('/'), x.child_frame_id.lstrip('/')): TRANSFORM(x)
        for x in message.transforms
    }


def mounting(known: dict[Edge, tuple[Any, Any]], base: str, frame: str) -> Pose | None:
    """Pose of a camera's frame in the base by static transforms; None where they do not lead.

    One that is no pose (NaN, a quaternion of length 0) leads nowhere.

    Args:
        known: edges and what was said of them last.
        base: frame of the robot.
        frame: of the camera.
    """
    if not base or not frame:
        return None
    if base == frame:
        return Pose((0.0, 0.0, 0.0))
    sound = {edge for edge, transform in known.items() if _is_sound(transform)}
    chain = find_chain(sound, base, frame)
    if chain is None:
        return None
    position, rotation = compose(base, [(edge, *_numbers(known[edge])) for edge in chain])
    return Pose(tuple(position.tolist()), tuple(rotation.as_quat().tolist()))


def _numbers(transform: tuple[Any, Any]) -> tuple[np.ndarray, Rotation]:
    point, q = transform
    return np.array([point.x, point.y, point.z]), Rotation.from_quat([q.x, q.y, q.z, q.w])


def _is_sound(transform: tuple[Any, Any]) -> bool:
    point, q = transform
    length = math.hypot(q.x, q.y, q.z, q.w)
    return all(map(math.isfinite, (point.x, point.y, point.z, length))) and length > 1e-9
