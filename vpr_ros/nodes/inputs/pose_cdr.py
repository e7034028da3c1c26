"""Poses and transforms read from the CDR bytes of their messages.

rclpy makes an object of every field, though only header and pose are wanted: 31 us for an Odometry
and 248 us for 20 transforms, in a loop that does nothing else; this takes 3 and 36 us. The layout
is that of `cdr.py`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

from rclpy.serialization import deserialize_message

from vpr_ros.bags.message_types import POSES, stamp_ns_of
from vpr_ros.nodes.inputs.cdr import ENCAPSULATION, ORDERS
from vpr_ros.nodes.outputs.messages import NS, type_name
from vpr_ros.records import Pose, Quaternion, Vector

NUMBERS = 7  # x, y, z, then x, y, z, w
MIN_NORM = 1e-3  # a quaternion shorter than this names no rotation


class Stamped(NamedTuple):
    """A pose of `child` in `frame`, as a message states it; `child` is empty where it does not."""

    stamp_ns: int
    frame: str
    child: str
    position_m: Vector
    quaternion: Quaternion  # of any length

    def pose(self) -> Pose | None:
        """The pose, its quaternion normalised; None when it is not a finite pose."""
        norm = math.hypot(*self.quaternion)
        if not all(map(math.isfinite, (*self.position_m, norm))) or norm < MIN_NORM:
            return None
        x, y, z, w = self.quaternion
        return Pose(self.position_m, (x / norm, y / norm, z / norm, w / norm))


def read_pose(data: bytes, type_: type) -> Stamped | None:
    """What a serialised Odometry, PoseStamped or PoseWithCovarianceStamped says.

    Args:
        data: the message.
        type_: its class.

    Returns:
        None for bytes that are not such a message.
    """
    order = ORDERS.get(bytes(data[:2]))
    try:
        if order is None:
            return _from_message(deserialize_message(data, type_))
        return _stamped(data, ENCAPSULATION, order, type_name(type_).endswith('Odometry'))[0]
    except Exception:  # struct.error, or whatever the middleware raises
        return None


def read_transforms(data: bytes, type_: type) -> list[Stamped] | None:
    """What a serialised tf2_msgs/TFMessage says.

    Args:
        data: the message.
        type_: its class.

    Returns:
        None for bytes that are not such a message.
    """
    order = ORDERS.get(bytes(data[:2]))
    try:
        if order is None:
            message = deserialize_message(data, type_)
            return [_from_message(transform) for transform in message.transforms]
        return list(_transforms(data, order))
    except Exception:
        return None


def _transforms(data: bytes, order: str) -> Iterator[Stamped]:
    (count,) = struct.unpack_from(f'{order}I', data, ENCAPSULATION)
    at = ENCAPSULATION + 4
    for _ in range(count):
        transform, at = _stamped(data, at, order, True)
        yield transform


def _stamped(data: bytes, at: int, order: str, has_child: bool) -> tuple[Stamped, int]:
    """Header, name of the child if the type has one, seven numbers; and where they end."""
    at += -at % 4  # ENCAPSULATION is a multiple of 4
    seconds, nanoseconds, length = struct.unpack_from(f'{order}iII', data, at)
    at += 12
    frame, at = _text(data, at, length), at + length
    child = ''
    if has_child:
        at += -at % 4
        (length,) = struct.unpack_from(f'{order}I', data, at)
        child, at = _text(data, at + 4, length), at + 4 + length
    at += -(at - ENCAPSULATION) % 8
    numbers = struct.unpack_from(f'{order}{NUMBERS}d', data, at)
    stamped = Stamped(seconds * NS + nanoseconds, frame, child, numbers[:3], numbers[3:])
    return stamped, at + 8 * NUMBERS


def _text(data: bytes, at: int, length: int) -> str:
    if at + length > len(data):
        raise ValueError('a name ends behind the message')
    return bytes(data[at : at + length - 1]).decode('utf-8', 'replace')


def _from_message(message) -> Stamped:
    point, q = POSES[type_name(type(message))](message)
    child = getattr(message, 'child_frame_id', '')
    position, quaternion = (point.x, point.y, point.z), (q.x, q.y, q.z, q.w)
    header = message.header
    return Stamped(stamp_ns_of(header), header.frame_id, child, position, quaternion)
