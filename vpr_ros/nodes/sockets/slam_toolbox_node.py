"""The node `slam_toolbox_start`: matches in, a call of `deserialize_map` out."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.clock import Clock, ClockType

from vpr_msgs.msg import PlaceMatch
from vpr_ros.config.sockets import SlamToolboxConfig
from vpr_ros.errors import ConfigError
from vpr_ros.nodes.sockets.believed import Fix
from vpr_ros.nodes.sockets.slam_toolbox_rules import Neighbour, StartUp
from vpr_ros.nodes.sockets.socket_node import SocketNode

SERVICE = 'slam_toolbox/deserialize_map'
LOCALIZES = 'slam_toolbox/clear_localization_buffer'
TICK_S = 0.2
ENDINGS = ('.posegraph', '.data')


class SlamToolboxStart(SocketNode):
    """Lets slam_toolbox load its map at the pose where the robot was recognised."""

    def __init__(self, stop: threading.Event, **kwargs: Any) -> None:
        """Declare the parameters; `stop` is set when the process is to end."""
        super().__init__('slam_toolbox_start', SlamToolboxConfig, stop, **kwargs)

    def begin(self, config: SlamToolboxConfig) -> None:
        if not config.map_file or config.map_file.endswith(ENDINGS):
            raise ConfigError(
                f'parameter map_file: expected a map of slam_toolbox without its ending, found '
                f'{config.map_file!r}'
            )
        self._config = config
        self._rules = StartUp(config, self.tell)
        self._type = deserialize_type()
        self._client: Any = self.create_client(self._type, SERVICE) if self._type else None
        self._call: Any = None
        self._marker = self.resolve_service_name(LOCALIZES)
        hear = self.create_subscription
        hear(PoseWithCovarianceStamped, 'pose', self.guarded(self._hear_own), 10)
        hear(PlaceMatch, 'place_match', self.guarded(self._hear_match), 10)
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(TICK_S, self.guarded(self._tick), clock=clock)

    def standing(self) -> tuple[bool, str, Mapping[str, object]]:
        rules = self._rules
        matches = self.count_publishers(self.resolve_topic_name('place_match'))
        figures = {
            'phase': rules.phase.value,
            'attempts': rules.attempts,
            'publishers of matches': matches,
        }
        return rules.warning, rules.words, figures

    def _neighbour(self) -> Neighbour:
        if self._client is None:
            return Neighbour(False, False, False)
        service = self._client.service_is_ready()
        return Neighbour(True, service, self.count_services(self._marker) > 0)

    def _hear_match(self, match: PlaceMatch) -> None:
        now_ns = self.get_clock().now().nanoseconds
        fix = self._rules.hear_match(match, time.monotonic(), now_ns, self._neighbour())
        if fix:
            self._ask(fix)

    def _hear_own(self, message: PoseWithCovarianceStamped) -> None:
        self._rules.hear_own(message, time.monotonic())

    def _tick(self) -> None:
        call = self._call
        if call is not None and call.done():
            self._call = None
            if call.exception() is not None:
                self._rules.failed(str(call.exception()), time.monotonic())
            else:
                self._rules.answered(time.monotonic())
        self._rules.tick(time.monotonic(), self._neighbour())

    def _ask(self, fix: Fix) -> None:
        if (
            self._call is not None
        ):  # the answer to an earlier attempt would be taken for this one's
            self._client.remove_pending_request(self._call)
        try:
            request = self._type.Request()
            request.filename = self._config.map_file
            request.match_type = self._type.Request.LOCALIZE_AT_POSE
            request.initial_pose.x, request.initial_pose.y, _ = fix.pose.position_m
            request.initial_pose.theta = fix.yaw
            self._call = self._client.call_async(request)
        except Exception as error:  # another version of its service
            self._call = None
            self._rules.failed(f'{type(error).__name__}: {error}', time.monotonic())


def deserialize_type() -> Any:
    """The type of slam_toolbox's service; None where that package is not installed."""
    try:
        return import_module('slam_toolbox.srv').DeserializePoseGraph
    except (ImportError, AttributeError):
        return None
