"""The node `initial_pose`: matches in, `initialpose` out, for AMCL and slam_toolbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from vpr_msgs.msg import PlaceMatch
from vpr_ros.config.sockets import InitialPoseConfig
from vpr_ros.nodes.services.waiting import Waiting
from vpr_ros.nodes.sockets.initial_pose_rules import InitialPose
from vpr_ros.nodes.sockets.socket_node import SocketNode

TICK_S = 0.2
LAST_ANSWER_S = 0.3  # for who asks when the node ends
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# slam_toolbox keeps nothing for who comes late, and would not be heard by who insists on it.
OWN_POSE = {'amcl': ('amcl_pose', KEPT), 'slam_toolbox': ('pose', QoSProfile(depth=10))}


class InitialPoseNode(SocketNode):
    """Tells a lost localiser where the robot is."""

    def __init__(self, stop: threading.Event, **kwargs: Any) -> None:
        """Declare the parameters; `stop` is set when the process is to end."""
        super().__init__('initial_pose', InitialPoseConfig, stop, **kwargs)
        self._waiting = Waiting(self)

    def begin(self, config: InitialPoseConfig) -> None:
        self._rules = InitialPose(config, time.monotonic(), self.tell)
        topic, qos = OWN_POSE[config.localizer]
        self._topic = self.resolve_topic_name(topic)
        self._publisher = self.create_publisher(PoseWithCovarianceStamped, 'initialpose', 10)
        hear = self.create_subscription
        hear(PoseWithCovarianceStamped, self._topic, self.guarded(self._rules.hear_own), qos)
        if config.map_bounds:
            hear(OccupancyGrid, 'map', self.guarded(self._hear_map), KEPT)
        matches = hear(PlaceMatch, 'place_match', self.guarded(self._hear_match), 10)
        self._matches = matches.topic_name
        self.create_service(Trigger, '~/send', self._send, callback_group=ReentrantCallbackGroup())
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(TICK_S, self.guarded(self._tick), clock=clock)

    def standing(self) -> tuple[bool, str, Mapping[str, object]]:
        rules = self._rules
        figures = {
            'listeners to initialpose': self._publisher.get_subscription_count(),
            'publishers of its own pose': self.count_publishers(self._topic),
            'publishers of matches': self.count_publishers(self._matches),
            **{key: rules.counts[key] for key in ('matches', 'refused', 'sent', 'confirmed')},
            'not confirmed': rules.counts['not confirmed'],
            'last outcome': rules.outcome,
        }
        if not figures['publishers of matches']:
            return True, f'nobody publishes {self._matches}: is the live node active?', figures
        return rules.warning, rules.words, figures

    def linger(self) -> None:
        if self._begun and self._waiting.count:
            self._rules.end('nothing was sent: the node ends')
            time.sleep(LAST_ANSWER_S)
        super().linger()

    def _hear_match(self, match: PlaceMatch) -> None:
        now_ns = self.get_clock().now().nanoseconds
        listeners = self._publisher.get_subscription_count()
        message = self._rules.hear_match(match, time.monotonic(), now_ns, listeners)
        if message:
            self._publisher.publish(message)

    def _hear_map(self, grid: OccupancyGrid) -> None:
        grid.data = []
        self._rules.grid = grid

    def _tick(self) -> None:
        self._rules.tick(time.monotonic(), self.count_publishers(self._topic))

    async def _send(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Answer with what became of it, and not before."""
        try:
            asked = self._rules.ask(time.monotonic())
            outcome = await self._waiting.until(lambda: asked.outcome)
            assert outcome is not None
            response.success, response.message = outcome
        except Exception as error:  # the node has gone meanwhile
            response.success, response.message = False, f'{type(error).__name__}: {error}'
        return response
