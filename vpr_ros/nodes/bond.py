"""The node's end of a bond with nav2's lifecycle manager, which takes a silent node for dead.

The manager makes its own end as soon as the node is active, and breaks up the whole system where
none is formed or the heartbeat stops. The protocol is that of bond_core: both ends say on one
topic, under the same id, that they live, and once that they do not.
"""

from __future__ import annotations

import uuid

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile

try:
    from bond.msg import Status
except ImportError:  # comes with nav2
    Status = None

TOPIC = 'bond'  # relative: a manager and its nodes share a namespace
PERIOD_S = 0.1
TIMEOUT_S = 4.0
CONNECT_S = 10.0  # the manager looks for the bond right after it activated the node
LAST_WORD_S = 0.5
LOG_PERIOD_S = 5.0


class Bond:
    """Formed while the node is active, if the package `bond` is there and a manager wants it.

    As nav2's own nodes do, it never takes a silent manager for dead.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._instance = self._sister = ''
        self._left_s = 0.0  # until the manager is no longer waited for
        self._publisher = self._subscription = self._timer = None

    @property
    def formed(self) -> bool:
        """Whether the manager was heard, and neither side has broken the bond."""
        return bool(self._timer and self._sister)

    def start(self) -> None:
        """Begin to say that the node lives."""
        if Status is None or self._publisher:
            return
        node = self._node
        self._instance, self._sister = str(uuid.uuid4()), ''
        self._left_s = CONNECT_S
        self._publisher = node.create_publisher(Status, TOPIC, QoSProfile(depth=5))
        self._subscription = node.create_subscription(
            Status, TOPIC, self._heard, QoSProfile(depth=100)
        )
        # By wall time: a simulation that is paused is no dead node.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(PERIOD_S, self._beat, clock=clock)

    def stop(self) -> None:
        """Break the bond, so that the manager knows that this is no failure."""
        if not self._publisher:
            return
        if self._timer:
            self._quieten()
            if self._node.context.ok():
                self._say(False)
                # A publisher that is destroyed at once takes its last word with it.
                self._publisher.wait_for_all_acked(Duration(seconds=LAST_WORD_S))
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_publisher(self._publisher)
        self._publisher = self._subscription = None

    def _beat(self) -> None:
        if not self._sister:
            self._left_s -= PERIOD_S
        if self._left_s <= 0.0:
            self._quieten()  # nobody manages this node
        else:
            self._say(True)

    def _heard(self, message) -> None:
        if message.id != self._node.get_name() or message.instance_id == self._instance:
            return
        if not self._timer:
            return
        self._sister = self._sister or message.instance_id
        if message.instance_id != self._sister:
            self._node.get_logger().error(
                f'a third one wants the bond {message.id}: two nodes or two managers have the '
                'same name',
                throttle_duration_sec=LOG_PERIOD_S,
            )
        elif not message.active:
            self._say(False)  # the manager waits for this
            self._quieten()

    def _say(self, active: bool) -> None:
        node = self._node
        status = Status(id=node.get_name(), instance_id=self._instance, active=active)
        status.header.stamp = node.get_clock().now().to_msg()
        status.heartbeat_period, status.heartbeat_timeout = PERIOD_S, TIMEOUT_S
        self._publisher.publish(status)

    def _quieten(self) -> None:
        self._node.destroy_timer(self._timer)
        self._timer = None
