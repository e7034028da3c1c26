"""Small recordings made on the spot, for what the real ones do not contain."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

STORE = get_typestore(Stores.LATEST)
STORE1 = get_typestore(Stores.ROS1_NOETIC)
for _name in ('tf/msg/tfMessage', 'tf2_msgs/msg/TFMessage'):
    STORE1.register(get_types_from_msg('geometry_msgs/TransformStamped[] transforms', _name))
SECOND_NS = 10**9
START_NS = 1_700_000_000 * SECOND_NS

Written = Iterable[tuple[str, int, Any]]  # topic, recording stamp, message


def message(name: str, *fields: Any, store: Any = STORE) -> Any:
    """Message of a type such as `geometry_msgs/msg/Point` from its fields in order."""
    return store.types[name](*fields)


def header(stamp_ns: int, frame_id: str = 'camera', store: Any = STORE) -> Any:
    stamp = message('builtin_interfaces/msg/Time', *divmod(stamp_ns, SECOND_NS), store=store)
    sequence = () if store is STORE else (0,)
    return message('std_msgs/msg/Header', *sequence, stamp, frame_id, store=store)


def image(pixels: np.ndarray, stamp_ns: int = START_NS, encoding: str = '', store: Any = STORE):
    """An Image of pixels (H, W) or (H, W, C)."""
    encoding = encoding or ('rgb8' if pixels.ndim == 3 else 'mono8')
    step = pixels.strides[0]
    fields = (*pixels.shape[:2], encoding, 0, step, np.frombuffer(pixels.tobytes(), np.uint8))
    return message('sensor_msgs/msg/Image', header(stamp_ns, store=store), *fields, store=store)


def pose(position: Iterable[float], quaternion: Iterable[float] = (0, 0, 0, 1)) -> Any:
    point = message('geometry_msgs/msg/Point', *map(float, position))
    return message(
        'geometry_msgs/msg/Pose',
        point,
        message('geometry_msgs/msg/Quaternion', *map(float, quaternion)),
    )


def pose_stamped(stamp_ns: int, position: Iterable[float], frame_id: str = 'map') -> Any:
    return message('geometry_msgs/msg/PoseStamped', header(stamp_ns, frame_id), pose(position))


Transform = tuple[str, str, int, Iterable[float], Iterable[float]]


def transforms(
    *edges: Transform, type_: str = 'tf2_msgs/msg/TFMessage', store: Any = STORE
) -> Any:
    """A TFMessage of edges: parent, child, stamp, translation, quaternion."""

    def transform(moved: Iterable[float], turned: Iterable[float]) -> Any:
        return message(
            'geometry_msgs/msg/Transform',
            message('geometry_msgs/msg/Vector3', *map(float, moved), store=store),
            message('geometry_msgs/msg/Quaternion', *map(float, turned), store=store),
            store=store,
        )

    stamped = [
        message(
            'geometry_msgs/msg/TransformStamped',
            header(stamp_ns, parent, store),
            child,
            transform(moved, turned),
            store=store,
        )
        for parent, child, stamp_ns, moved, turned in edges
    ]
    return message(type_, stamped, store=store)


def write_bag(
    path: Path,
    messages: Written,
    storage: StoragePlugin = StoragePlugin.MCAP,
    mode: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a rosbag2 folder."""
    writer = Writer2(path, version=9, storage_plugin=storage)
    if mode is not CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, stamp_ns, written in messages:
            type_ = written.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=STORE)
            writer.write(connections[topic], stamp_ns, STORE.serialize_cdr(written, type_))
    return path


def write_bag1(path: Path, messages: Written) -> Path:
    """Write a ROS 1 bag of messages made with `STORE1`."""
    with Writer1(path) as writer:
        connections: dict[str, Any] = {}
        for topic, stamp_ns, written in messages:
            type_ = written.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=STORE1)
            writer.write(connections[topic], stamp_ns, STORE1.serialize_ros1(written, type_))
    return path


def pictures(count: int, height: int = 6, width: int = 8) -> list[np.ndarray]:
    """Different pictures (H, W, 3) of noise, each all above 0."""
    noise = np.random.default_rng(count).integers(1, 256, (count, height, width, 3))
    return list(noise.astype(np.uint8))
