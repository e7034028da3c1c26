"""Publishes the messages of a recording, as they were recorded, and knows who listens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock

from vpr_ros.bags.reader import IMAGE_TYPES, Bag, RawMessage
from vpr_ros.errors import BagError, RosError
from vpr_ros.nodes.outputs.messages import stamp_ns, to_time

CHECK_PERIOD_S = 0.5  # how often `alive` is asked while nothing happens
DEPTH = 10
# DDS tells when we have found a subscriber, not when it has found us. Until then a best-effort one
# misses what is sent.
SETTLE_S = 0.5
STATIC = 'tf_static'  # late subscribers expect it, too


class Player:
    """One reliable publisher for each topic whose type can be imported.

    Reliable, so that subscriptions of both kinds are served. `skipped` names the other topics
    with their types.
    """

    def __init__(
        self,
        node: Node,
        bag: Bag,
        topics: Iterable[str] | None = None,
        remaps: Mapping[str, str] | None = None,
        clock: bool = False,
    ) -> None:
        """Advertise topics of a recording, by default all of them.

        Raises:
            BagError: no such topic, or none of them carries images.
        """
        self.skipped: dict[str, str] = {}
        self._matched = threading.Condition()
        self._types: dict[str, type] = {}
        self._publishers: dict[str, Publisher] = {}
        self._clock = node.create_publisher(Clock, '/clock', DEPTH) if clock else None
        for topic in bag.topics if topics is None else topics:
            self._advertise(node, topic, bag.info(topic).type, (remaps or {}).get(topic, topic))
        self.topics = list(self._publishers)
        self._images = [
            x
            for x in self.topics
            if bag.topics[x].type in IMAGE_TYPES and not bag.carries_depth(x)
        ]  # depth alone is never answered
        self.total = sum(bag.count(topic) for topic in self.topics)
        if not self._images:
            raise BagError(f'{bag.path} has no images among {", ".join(bag.topics)}')

    def publish(self, message: RawMessage) -> None:
        """Publish a message as it is, and its recording time on /clock where that is wanted."""
        if self._clock:
            self._clock.publish(Clock(clock=to_time(message.stamp_ns)))
        self._publishers[message.topic].publish(message.cdr)

    def heard_image_stamp_ns(self, message: RawMessage) -> int | None:
        """Header stamp of an image that somebody listens to; None for every other message."""
        topic = message.topic
        if topic not in self._images or not self._publishers[topic].get_subscription_count():
            return None
        return stamp_ns(deserialize_message(message.cdr, self._types[topic]).header.stamp)

    def wait_for_subscriber(
        self, timeout_s: float, check: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until somebody listens to images.

        Args:
            timeout_s: at most so long.
            check: called now and then; what it raises ends the waiting.

        Raises:
            RosError: nobody came in time.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._matched:
            while not any(self._publishers[x].get_subscription_count() for x in self._images):
                check()
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise RosError(self._nobody(timeout_s))
                self._matched.wait(min(left_s, CHECK_PERIOD_S))
        time.sleep(SETTLE_S)

    def _nobody(self, timeout_s: float) -> str:
        topics = ' or '.join(self._publishers[x].topic_name for x in self._images)
        return (
            f'nobody subscribed to {topics} within {timeout_s:g} s: start the node with its topic '
            'image remapped, and the same ROS_DOMAIN_ID and FASTDDS_BUILTIN_TRANSPORTS as here'
        )

    def _advertise(self, node: Node, topic: str, type_name: str, name: str) -> None:
        type_ = message_type(type_name)
        if type_ is None:
            self.skipped[topic] = type_name
            return
        qos = QoSProfile(depth=DEPTH)
        if topic.endswith(STATIC):
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        self._types[topic] = type_
        self._publishers[topic] = node.create_publisher(
            type_, name, qos, event_callbacks=PublisherEventCallbacks(matched=self._on_matched)
        )

    def _on_matched(self, _: object) -> None:
        with self._matched:
            self._matched.notify_all()


def message_type(name: str) -> type | None:
    """Class of `package/msg/Name`, or None where the package is not installed."""
    package, _, class_ = name.split('/')
    try:
        return getattr(import_module(f'{package}.msg'), class_)
    except (ImportError, AttributeError):
        return None
