"""What a camera tells beside its images: its model, where it is mounted, and depth."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from vpr_ros.bags.cameras import camera_from_message, edges, mounting
from vpr_ros.config import NodeConfig
from vpr_ros.nodes.inputs.depth import DepthBuffer
from vpr_ros.records import Camera

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # a part of every robot's installation, but not of the wheels
    TFMessage = None

STATIC = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class CameraInput:
    """Listens until it is closed; `tell` is called whenever more is known of the camera."""

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        tell: Callable[[Camera], None],
        depth: DepthBuffer,
        stack: ExitStack,
    ) -> None:
        """Subscribe to what the settings ask for, until the stack is closed.

        Args:
            node: active.
            config: its settings.
            tell: takes the camera's model.
            depth: takes depth images.
            stack: of the node's activity.
        """
        self._base, self._tell = config.base_frame, tell
        self._frame = ''
        self._camera: Camera | None = None
        self._known: dict = {}
        wanted = []
        if config.camera_info:
            wanted.append((CameraInfo, 'camera_info', self._take_info, qos_profile_sensor_data))
        if config.camera_info and TFMessage is not None:
            wanted.append((TFMessage, '/tf_static', self._take_transforms, STATIC))
        if config.depth:
            wanted.append((Image, 'depth', depth.put, qos_profile_sensor_data))
        for type_, topic, take, qos in wanted:
            stack.callback(
                node.destroy_subscription, node.create_subscription(type_, topic, take, qos)
            )

    def _take_info(self, message: CameraInfo) -> None:
        camera = camera_from_message(message)
        if camera is None:
            return
        self._frame = message.header.frame_id.lstrip('/')
        self._update(camera)

    def _take_transforms(self, message: Any) -> None:
        self._known.update(edges(message))
        if self._camera is not None:
            self._update(self._camera)

    def _update(self, camera: Camera) -> None:
        camera = replace(camera, base=mounting(self._known, self._base, self._frame))
        if camera != self._camera:
            self._camera = camera
            self._tell(camera)
