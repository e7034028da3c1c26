"""Write a drive as a rosbag2 in mcap: images, camera, mounting, odometry, exact poses, depth."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_ros.errors import BagError, ConfigError
from vpr_ros.synthetic.camera import View
from vpr_ros.synthetic.drives import Drive
from vpr_ros.synthetic.render import render_scene, render_with_depth
from vpr_ros.synthetic.scene import Scene
from vpr_ros.synthetic.town import Town
from vpr_ros.synthetic.workers import ordered_map

Progress = Callable[[int, int], None]

IMAGE_TOPIC = '/camera/image_raw/compressed'
CAMERA_TOPIC = '/camera/camera_info'
ODOMETRY_TOPIC = '/odom'
POSE_TOPIC = '/ground_truth/pose'
DEPTH_TOPIC = '/camera/depth_registered/image_raw/compressedDepth'
STATIC_TOPIC = '/tf_static'
BASE_FRAME = 'base_link'
CAMERA_FRAME = 'camera_optical_frame'
JPEG_QUALITY = 92
MOST_DEPTH_M = 65.535  # what 16 bits of millimetres hold
DEPTH_HEADER = bytes(12)  # of compressed_depth_image_transport: only floats have something to say
OPTICAL = np.array(
    [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
)  # in x ahead, y left, z up


def render_drive(town: Town, drive: Drive, workers: int | None = None) -> Iterator[np.ndarray]:
    """Draw the images (H, W, 3) uint8 RGB of a drive, in order."""
    scene = Scene.build(town, drive.session)
    views = (drive.view(k) for k in range(len(drive)))
    yield from ordered_map(partial(render_scene, scene, camera=drive.camera), views, workers)


def write_bag(
    path: Path | str,
    town: Town,
    drive: Drive,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    depth_m: float = 0.0,
) -> Path:
    """Write a drive whole or not at all; the same bytes whatever the number of workers.

    With `depth_m` every image comes with depth to that range in metres, as a perfect camera sees
    it: to the nearest millimetre, 16UC1, and up to two and a half times the bytes of the pictures.

    Raises:
        BagError: something is at `path` already and `overwrite` is not set.
        ConfigError: a range that 16 bits of millimetres do not hold.
    """
    path = Path(path)
    check_free(path, overwrite)
    check_depth(depth_m)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The bag takes its file name from its folder, so the folder has its final name from the start.
    nursery = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
    try:
        _write(nursery / path.name, town, drive, workers, progress, depth_m)
        if path.exists():
            os.replace(path, nursery / 'replaced')
        os.replace(nursery / path.name, path)
    finally:
        shutil.rmtree(nursery)
    return path


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse a target that would be lost.

    Raises:
        BagError: something is there and may not be overwritten.
    """
    if path.exists() and not overwrite:
        raise BagError(f'{path} exists already; choose another path or ask to overwrite it')


def check_depth(depth_m: float) -> None:
    """Refuse a range of depth that cannot be written.

    Raises:
        ConfigError: it is below 0, or above MOST_DEPTH_M.
    """
    if not 0.0 <= depth_m <= MOST_DEPTH_M:
        raise ConfigError(
            f'depth to {depth_m:g} m cannot be written: expected at most {MOST_DEPTH_M} m, '
            'which 16 bits of millimetres hold'
        )


def _encode(scene: Scene, camera: Any, depth_m: float, view: Any) -> tuple[bytes, bytes]:
    """JPEG, and the PNG of depth in millimetres or nothing."""
    if depth_m:
        image, metres = render_with_depth(scene, view, camera)
        near = np.where(metres <= depth_m, metres, 0.0)
        png = cv2.imencode('.png', np.rint(1e3 * near).astype(np.uint16))[1].tobytes()
    else:
        image, png = render_scene(scene, view, camera), b''
    _, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes(), png


def _write(
    path: Path,
    town: Town,
    drive: Drive,
    workers: int | None,
    progress: Progress | None,
    depth_m: float,
) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    messages = Messages()
    scene = Scene.build(town, drive.session)
    views = (drive.view(k) for k in range(len(drive)))
    pictures = ordered_map(partial(_encode, scene, drive.camera, depth_m), views, workers)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {
            topic: writer.add_connection(
                topic, kind, typestore=messages.store, offered_qos_profiles=_offered(topic)
            )
            for topic, kind in TOPICS.items()
            if depth_m or topic != DEPTH_TOPIC
        }
        exact, drifted = drive.quaternions, drive.odometry_quaternions
        for k, (picture, png) in enumerate(pictures):
            stamp = int(drive.stamps_ns[k])
            records = {STATIC_TOPIC: messages.mounting(stamp, drive)} if k == 0 else {}
            records[CAMERA_TOPIC] = messages.camera(stamp, drive)
            if png:  # before its image, so that a live node has it when it answers
                records[DEPTH_TOPIC] = messages.depth(stamp, png)
            records |= {
                IMAGE_TOPIC: messages.image(stamp, picture),
                ODOMETRY_TOPIC: messages.odometry(stamp, drive, k, drifted[k]),
                POSE_TOPIC: messages.pose(stamp, drive.positions_m[k], exact[k]),
            }
            for topic, record in records.items():
                data = messages.store.serialize_cdr(record, TOPICS[topic])
                writer.write(topics[topic], stamp, data)
            if progress:
                progress(k + 1, len(drive))


def _offered(topic: str) -> list[Any]:
    """What rosbag2 plays a topic with: static transforms are kept for those who come later."""
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    if topic != STATIC_TOPIC:
        return []
    never = QosTime(2147483647, 4294967295)
    return [
        Qos(
            QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
            never, never, QosLiveliness.AUTOMATIC, never, False,
        )
    ]  # fmt: skip


TOPICS = {
    STATIC_TOPIC: 'tf2_msgs/msg/TFMessage',
    DEPTH_TOPIC: 'sensor_msgs/msg/CompressedImage',
    IMAGE_TOPIC: 'sensor_msgs/msg/CompressedImage',
    CAMERA_TOPIC: 'sensor_msgs/msg/CameraInfo',
    ODOMETRY_TOPIC: 'nav_msgs/msg/Odometry',
    POSE_TOPIC: 'geometry_msgs/msg/PoseStamped',
}


class Messages:
    """Builds the ROS messages of a drive."""

    def __init__(self) -> None:
        from rosbags.typesys import Stores, get_typestore

        self.store = get_typestore(Stores.ROS2_JAZZY)

    def _new(self, name: str, *values: Any) -> Any:
        return self.store.types[name](*values)

    def _header(self, stamp_ns: int, frame: str) -> Any:
        time = self._new('builtin_interfaces/msg/Time', *divmod(stamp_ns, 1_000_000_000))
        return self._new('std_msgs/msg/Header', time, frame)

    def _vector(self, x: float, y: float, z: float) -> Any:
        return self._new('geometry_msgs/msg/Vector3', x, y, z)

    def _pose(self, position_m: np.ndarray, quaternion: np.ndarray) -> Any:
        point = self._new('geometry_msgs/msg/Point', *map(float, position_m))
        turn = self._new('geometry_msgs/msg/Quaternion', *map(float, quaternion))
        return self._new('geometry_msgs/msg/Pose', point, turn)

    def image(self, stamp_ns: int, jpeg: bytes) -> Any:
        """A CompressedImage."""
        data = np.frombuffer(jpeg, np.uint8)
        header = self._header(stamp_ns, CAMERA_FRAME)
        return self._new('sensor_msgs/msg/CompressedImage', header, 'jpeg', data)

    def depth(self, stamp_ns: int, png: bytes) -> Any:
        """A CompressedImage of depth in millimetres, aligned with the picture."""
        data = np.frombuffer(DEPTH_HEADER + png, np.uint8)
        header = self._header(stamp_ns, CAMERA_FRAME)
        format_ = '16UC1; compressedDepth png'
        return self._new('sensor_msgs/msg/CompressedImage', header, format_, data)

    def mounting(self, stamp_ns: int, drive: Drive) -> Any:
        """A TFMessage: the camera's optical frame in the base."""
        from scipy.spatial.transform import Rotation

        session = drive.session
        turn = View(0.0, 0.0, 0.0, pitch_rad=session.camera_pitch_rad).rotation() @ OPTICAL
        x, y, z, w = map(float, Rotation.from_matrix(turn).as_quat())
        transform = self._new(
            'geometry_msgs/msg/Transform',
            self._vector(0.0, 0.0, session.camera_height_m),
            self._new('geometry_msgs/msg/Quaternion', x, y, z, w),
        )
        header = self._header(stamp_ns, BASE_FRAME)
        stamped = self._new('geometry_msgs/msg/TransformStamped', header, CAMERA_FRAME, transform)
        return self._new('tf2_msgs/msg/TFMessage', [stamped])

    def camera(self, stamp_ns: int, drive: Drive) -> Any:
        """A CameraInfo without distortion."""
        matrix = drive.camera.matrix()
        projection = np.column_stack([matrix, np.zeros(3)])
        window = self._new('sensor_msgs/msg/RegionOfInterest', 0, 0, 0, 0, False)
        return self._new(
            'sensor_msgs/msg/CameraInfo',
            self._header(stamp_ns, CAMERA_FRAME),
            drive.camera.height,
            drive.camera.width,
            'plumb_bob',
            np.zeros(5),
            matrix.ravel(),
            np.eye(3).ravel(),
            projection.ravel(),
            0,
            0,
            window,
        )

    def pose(self, stamp_ns: int, position_m: np.ndarray, quaternion: np.ndarray) -> Any:
        """A PoseStamped of the base in the frame `map`."""
        header = self._header(stamp_ns, 'map')
        pose = self._pose(position_m, quaternion)
        return self._new('geometry_msgs/msg/PoseStamped', header, pose)

    def odometry(self, stamp_ns: int, drive: Drive, index: int, quaternion: np.ndarray) -> Any:
        """An Odometry whose covariance grows with the way travelled."""
        travelled = float(drive.travelled_m[index])
        spread = 1e-4 + (0.015 * travelled) ** 2
        turned = 1e-5 + (2e-3**2) * travelled
        pose_covariance = np.diag([spread, spread, 1e-6, 1e-6, 1e-6, turned]).ravel()
        twist_covariance = np.diag([1e-2, 1e-4, 1e-6, 1e-6, 1e-6, 1e-4]).ravel()
        nearby = slice(max(index - 1, 0), index + 2)
        seconds = np.ptp(drive.stamps_ns[nearby]) * 1e-9
        speed = float(np.ptp(drive.travelled_m[nearby]) / seconds) if seconds else 0.0
        yaw = drive.odometry_yaw_rad[nearby]
        turn = float((yaw[-1] - yaw[0]) / seconds) if seconds else 0.0
        twist = self._new(
            'geometry_msgs/msg/Twist', self._vector(speed, 0.0, 0.0), self._vector(0.0, 0.0, turn)
        )
        pose = self._pose(drive.odometry_m[index], quaternion)
        return self._new(
            'nav_msgs/msg/Odometry',
            self._header(stamp_ns, 'odom'),
            BASE_FRAME,
            self._new('geometry_msgs/msg/PoseWithCovariance', pose, pose_covariance),
            self._new('geometry_msgs/msg/TwistWithCovariance', twist, twist_covariance),
        )
