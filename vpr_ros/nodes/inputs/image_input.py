"""The subscription to images: the newest message, and why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.event_handler import QoSMessageLostInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from vpr_ros.nodes.outputs.diagnostics import Statistics
from vpr_ros.nodes.outputs.messages import IMAGE_TYPES, type_name
from vpr_ros.nodes.transport import explain_loss, explain_silence

SUFFIX = '/compressed'
DEPTH = 5  # as sensor data; with 1, images that DDS replaces would be missing from every count


class ImageInput:
    """Sensor QoS; messages stay serialised until somebody looks at them."""

    def __init__(
        self, node: Node, transport: str, put: Callable[[bytes], None], statistics: Statistics
    ) -> None:
        self.topic = image_topic(node, transport)
        self._node = node
        self._put = put
        self._statistics = statistics
        self._newest_s = time.monotonic()
        self._explained_lost = statistics.lost
        self._earlier_lost = statistics.lost
        self._type = IMAGE_TYPES[transport]
        self._qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscription = node.create_subscription(
            self._type, self.topic, self._arrived, self._qos, raw=True,
            event_callbacks=SubscriptionEventCallbacks(message_lost=self._lost),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip

    def close(self) -> None:
        self._node.destroy_subscription(self._subscription)

    def trouble(self, timeout_s: float) -> str | None:
        """One sentence when images are lost, or when none came for `timeout_s`; else None."""
        if time.monotonic() - self._newest_s > timeout_s:
            return explain_silence(self._node, self.topic, type_name(self._type), self._qos)
        lost = self._statistics.lost - self._explained_lost
        self._explained_lost = self._statistics.lost
        return explain_loss(lost, self.topic) if lost else None

    def _arrived(self, data: bytes) -> None:
        self._newest_s = time.monotonic()
        self._statistics.received += 1
        self._put(data)

    def _lost(self, event: QoSMessageLostInfo) -> None:
        self._statistics.lost = self._earlier_lost + event.total_count


def image_topic(node: Node, transport: str) -> str:
    """Fully qualified topic: as in image_transport, `image` is remapped and the suffix follows."""
    topic = node.resolve_topic_name('image')
    return topic if transport == 'raw' or topic.endswith(SUFFIX) else topic + SUFFIX
