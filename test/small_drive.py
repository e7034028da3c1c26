"""A small recorded drive, one and a half times round a circle of distinct textures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.LATEST)
START_NS = 1_700_000_000 * 10**9
IMAGE, DEPTH, POSE = '/camera/image_raw', '/camera/depth', '/pose'
PLACES, STEP_M = 30, 2.0


def texture(place: int, seed: int = 0) -> np.ndarray:
    """Coarse random colours (96, 128, 3), the same for the same place."""
    rng = np.random.default_rng([seed, place])
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (128, 96))


def write_drive(
    path: Path,
    images: int = 45,
    seed: int = 0,
    unposed: int = 0,
    start_ns: int = START_NS,
    depth: bool = False,
) -> Path:
    """One image a second and STEP_M; the last `unposed` images have no pose.

    Depth of image k is 1 m and k mm all over.
    """
    types = STORE.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        image = writer.add_connection(IMAGE, 'sensor_msgs/msg/Image', typestore=STORE)
        pose = writer.add_connection(POSE, 'geometry_msgs/msg/PoseStamped', typestore=STORE)
        far = None
        for k in range(images):
            stamp_ns = start_ns + k * 10**9
            time = types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
            header = types['std_msgs/msg/Header'](time, 'map')
            pixels = texture(k % PLACES, seed)
            message = types['sensor_msgs/msg/Image'](
                header, 96, 128, 'rgb8', 0, 384, pixels.reshape(-1)
            )
            writer.write(image, stamp_ns, STORE.serialize_cdr(message, image.msgtype))
            if depth:
                deep = np.full(48 * 64, 1000 + k, np.uint16).view(np.uint8)
                message = types['sensor_msgs/msg/Image'](header, 48, 64, '16UC1', 0, 128, deep)
                far = far or writer.add_connection(DEPTH, image.msgtype, typestore=STORE)
                writer.write(far, stamp_ns, STORE.serialize_cdr(message, image.msgtype))
            if k >= images - unposed:
                continue
            angle = 2 * np.pi * k / PLACES
            radius = STEP_M * PLACES / (2 * np.pi)
            where = types['geometry_msgs/msg/Pose'](
                types['geometry_msgs/msg/Point'](
                    float(radius * np.cos(angle)), float(radius * np.sin(angle)), 0.0
                ),
                types['geometry_msgs/msg/Quaternion'](
                    0.0, 0.0, float(np.sin(angle / 2)), float(np.cos(angle / 2))
                ),
            )
            stamped = types['geometry_msgs/msg/PoseStamped'](header, where)
            writer.write(pose, stamp_ns, STORE.serialize_cdr(stamped, pose.msgtype))
    return path
