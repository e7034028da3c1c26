"""What a camera tells beside its images: its model, where it is mounted, and depth."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vpr_ros.bags.cameras import camera_from_message
from vpr_ros.config import NodeConfig
from vpr_ros.nodes.inputs.depth import DepthBuffer
from vpr_ros.nodes.inputs.transforms import Transforms
from vpr_ros.records import Camera

LOG_PERIOD_S = 5.0
MOUNTING_PERIOD_S = 1.0
STAMP_END = 12  # bytes of a serialised message: encapsulation, seconds, nanoseconds


class CameraInput:
    """Listens until it is closed; `tell` is called whenever more is known of the camera.

    A CameraInfo comes with every image and hardly ever says anything new, so it stays serialised
    unless it differs from the one before in more than its stamp.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        camera: str,
        tell: Callable[[str, Camera], None],
        transforms: Transforms,
        depth: DepthBuffer,
        stack: ExitStack,
    ) -> None:
        """Subscribe to what the settings ask for, until the stack is closed.

        Args:
            node: active.
            config: its settings.
            camera: its name.
            tell: takes the name and the camera's model.
            transforms: asked for the mounting.
            depth: takes depth images.
            stack: of the node's activity.
        """
        self._name, self._tell = camera, tell
        self._base, self._transforms = config.base_frame, transforms
        self._logger = node.get_logger()
        self._topic = node.resolve_topic_name(topic_of(camera, 'camera_info'))
        self._last = b''
        self._asked_s = -MOUNTING_PERIOD_S
        self._frame = ''
        self._model: Camera | None = None  # not mounted
        self._told: Camera | None = None
        for type_, topic, take in self._wanted(node, config, camera, depth):
            subscription = node.create_subscription(
                type_, topic, take, qos_profile_sensor_data, raw=True
            )
            stack.callback(node.destroy_subscription, subscription)

    def _wanted(
        self, node: Node, config: NodeConfig, camera: str, depth: DepthBuffer
    ) -> list[tuple[type, str, Callable[[bytes], None]]]:
        """Type and topic of what is listened to, and what takes it."""
        wanted: list[tuple[type, str, Callable[[bytes], None]]] = []
        if config.camera_info:
            wanted.append((CameraInfo, topic_of(camera, 'camera_info'), self._take_info))
        if config.depth:
            type_ = Image if config.depth_transport == 'raw' else CompressedImage
            wanted.append((type_, depth_topic(node, camera, config.depth_transport), depth.put))
        return wanted

    def _take_info(self, data: bytes) -> None:
        news = data[STAMP_END:] != self._last
        if news:
            self._last = data[STAMP_END:]
            self._read(data)
        now_s = time.monotonic()
        if self._model and (news or now_s - self._asked_s >= MOUNTING_PERIOD_S):
            self._asked_s = now_s
            self._update(self._model)

    def _read(self, data: bytes) -> None:
        try:
            message = deserialize_message(data, CameraInfo)
            model, found = camera_from_message(message), message.distortion_model
        except Exception as error:  # whatever the middleware raises at bytes that are not CDR
            self._drop(str(error))
            return
        if model is None:
            self._drop(f'not calibrated, or of distortion model {found!r}')
            return
        self._model, self._frame = model, message.header.frame_id.lstrip('/')

    def _update(self, model: Camera) -> None:
        mounted = self._transforms.lookup(self._base, self._frame, None) if self._frame else None
        camera = replace(model, base=mounted)
        if camera != self._told:
            self._told = camera
            self._tell(self._name, camera)

    def _drop(self, found: str) -> None:
        self._logger.warning(
            f'{self._topic} was dropped: expected a calibrated pinhole '
            f'camera, found {found}; calibrate it, or set camera_info to false',
            throttle_duration_sec=LOG_PERIOD_S,
        )


def depth_topic(node: Node, camera: str, transport: str) -> str:
    """Fully qualified topic of depth: `depth` is remapped, and the suffix follows."""
    topic = node.resolve_topic_name(topic_of(camera, 'depth'))
    suffix = f'/{transport}'
    return topic if transport == 'raw' or topic.endswith(suffix) else topic + suffix


def topic_of(camera: str, topic: str) -> str:
    """Relative topic of a camera; one without a name has no folder."""
    return f'{camera}/{topic}' if camera else topic
