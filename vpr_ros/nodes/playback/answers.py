"""Hears the answers of the live node."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import QoSProfile

from vpr_msgs.msg import PlaceMatch
from vpr_ros.nodes.outputs.messages import stamp_ns

TOPIC = '/place_recognition/place_match'
DEPTH = 1000


class Answers:
    """Subscribes to PlaceMatch and waits for the answer to one image."""

    def __init__(
        self,
        node: Node,
        topic: str = TOPIC,
        keep: Callable[[PlaceMatch], None] = lambda match: None,
    ) -> None:
        self._keep = keep
        self._expected_ns: int | None = None
        self._arrived = threading.Event()
        node.create_subscription(PlaceMatch, topic, self._take, QoSProfile(depth=DEPTH))

    def expect(self, image_stamp_ns: int) -> None:
        """From now on, wait for the answer to the image with this stamp."""
        self._arrived.clear()
        self._expected_ns = image_stamp_ns

    def wait(self, timeout_s: float) -> bool:
        """Whether the expected answer came in time."""
        return self._arrived.wait(timeout_s)

    def _take(self, match: PlaceMatch) -> None:
        self._keep(match)
        if stamp_ns(match.header.stamp) == self._expected_ns:
            self._arrived.set()
