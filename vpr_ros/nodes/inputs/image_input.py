"""The subscription to one camera's images: every message as it is, and why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from rclpy.event_handler import (
    QoSMessageLostInfo,
    QoSRequestedIncompatibleQoSInfo,
    SubscriptionEventCallbacks,
)
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from vpr_ros.errors import ConfigError
from vpr_ros.nodes.inputs.flow import Flow, Trouble
from vpr_ros.nodes.inputs.received import Received
from vpr_ros.nodes.outputs.messages import IMAGE_TYPES, type_name
from vpr_ros.nodes.transport import explain_delay, explain_loss, explain_silence

SUFFIX = '/compressed'
DEPTH = 5  # as sensor data; with 1, images that DDS replaces would be missing from every count
PAUSE_S = 1.0  # after a publisher of incompatible QoS, silence as long as this is its doing


class ImageInput:
    """Sensor QoS; messages stay serialised until somebody looks at them.

    Everything here happens in the thread of the executor; `flow` may be read by any.
    """

    def __init__(
        self,
        node: Node,
        camera: str,
        transport: str,
        put: Callable[[Received], None],
        stack: ExitStack,
        flow: Flow | None = None,
    ) -> None:
        """Subscribe, until the stack is closed.

        Args:
            node: active.
            camera: name, which leads the topic; empty: none.
            transport: 'raw' or 'compressed'.
            put: takes every message.
            stack: of the node's activity.
            flow: counts on where an earlier subscription ended; None: from zero.

        Raises:
            ConfigError: the camera's name cannot be part of a topic.
        """
        self.camera, self.topic = camera, image_topic(node, camera, transport)
        self.flow = flow or Flow()
        self._node, self._put = node, put
        self._since_s = time.monotonic()
        self._earlier_lost = self._explained_lost = self.flow.lost
        self._explained_late = self.flow.late
        self._arrivals = 0
        self._incompatible = False  # a publisher that turned up after the newest image
        self._type = IMAGE_TYPES[transport]
        self._qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        subscription = node.create_subscription(
            self._type, self.topic, self._arrived, self._qos, raw=True,
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=self._lost, incompatible_qos=self._mismatched
            ),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        stack.callback(node.destroy_subscription, subscription)

    def trouble(self, timeout_s: float) -> Trouble | None:
        """What is wrong with this camera's images; None: nothing.

        An error when none came for `timeout_s`, or when a publisher whose quality of service does
        not fit was found and none came since; a warning when some were lost, or came too late for
        those of the other cameras, since the last call.
        """
        if self._is_silent(timeout_s):
            text = explain_silence(self._node, self.topic, type_name(self._type), self._qos)
            return Trouble(error=True, text=text)
        lost = self.flow.lost - self._explained_lost
        late = self.flow.late - self._explained_late
        self._explained_lost, self._explained_late = self.flow.lost, self.flow.late
        if late > 0:
            return Trouble(error=False, text=explain_delay(late, self.topic), late=True)
        return Trouble(error=False, text=explain_loss(lost, self.topic)) if lost > 0 else None

    def _is_silent(self, timeout_s: float) -> bool:
        if self._incompatible:
            # Images of another publisher may go on meanwhile, which is no trouble.
            return not self._arrivals or self.flow.age_s() > min(timeout_s, PAUSE_S)
        return min(self.flow.age_s(), time.monotonic() - self._since_s) > timeout_s

    def _arrived(self, data: bytes) -> None:
        self._arrivals += 1
        self._incompatible = False
        self.flow.arrived()
        self._put(Received(self.camera, data, time.perf_counter()))

    def _lost(self, event: QoSMessageLostInfo) -> None:
        self.flow.lost = self._earlier_lost + event.total_count

    def _mismatched(self, event: QoSRequestedIncompatibleQoSInfo) -> None:
        self._incompatible = True


def image_topic(node: Node, camera: str, transport: str) -> str:
    """Fully qualified topic: as in image_transport, `image` is remapped and the suffix follows.

    Raises:
        ConfigError: the camera's name cannot be part of a topic.
    """
    try:
        topic = node.resolve_topic_name(f'{camera}/image' if camera else 'image')
    except RuntimeError as error:  # RCLError, which has no public name
        raise ConfigError(
            f'camera {camera!r} of parameter cameras cannot begin the name of a topic: '
            f'give letters, digits, _ and / alone ({str(error).partition(", at ")[0]})'
        ) from None
    return topic if transport == 'raw' or topic.endswith(SUFFIX) else topic + SUFFIX
