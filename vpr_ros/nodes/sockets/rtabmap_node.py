"""The node between the live node's loop closures and RTAB-Map's service `add_link`."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidServiceNameException
from rclpy.qos import QoSProfile, qos_profile_sensor_data

from vpr_msgs.msg import LoopClosure, LoopClosureAck
from vpr_ros.config.sockets import RtabmapConfig
from vpr_ros.errors import ConfigError, RosError
from vpr_ros.nodes.outputs.messages import NS, pose_from_message, stamp_ns
from vpr_ros.nodes.sockets.odometry_track import OdometryTrack
from vpr_ros.nodes.sockets.rtabmap_links import ACCEPTED, REJECTED, UNKNOWN, Link, Links
from vpr_ros.nodes.sockets.socket_node import SocketNode

try:
    from rtabmap_msgs.msg import Info, MapGraph
    from rtabmap_msgs.srv import AddLink, GetMap
except ImportError:  # comes with RTAB-Map
    Info = None

BACKEND = 'rtabmap'
USER_CLOSURE = 4  # rtabmap::Link::kUserClosure
TICK_S = 0.1
ASK_S, ASK_MOST_S = 30.0, 600.0  # between two questions for the map, twice as long each time
HOLE_S = 1.5  # odometry with a longer pause, or a faster step, begins anew
JUMP_MPS = 60.0
SILENT_S = 5.0  # RTAB-Map goes through an image a second


class RtabmapLinks(SocketNode):
    """Hears closures, asks RTAB-Map for links, and tells what became of them."""

    def __init__(self, stop: threading.Event, **kwargs: Any) -> None:
        super().__init__('rtabmap_links', RtabmapConfig, stop, **kwargs)

    def begin(self, config: RtabmapConfig) -> None:
        """Connect to the live node and to RTAB-Map."""
        if Info is None:
            raise RosError(
                'the ROS package rtabmap_msgs is not there: install RTAB-Map '
                '(apt install ros-$ROS_DISTRO-rtabmap-ros) and source it'
            )
        try:
            self._connect(config)
        except InvalidServiceNameException as error:
            words = str(error).splitlines()[0]
            raise ConfigError(f'parameter rtabmap is no namespace: {words}') from None

    def _connect(self, config: RtabmapConfig) -> None:
        self._config, self._track = config, OdometryTrack()
        self._asked_s, self._patience_s = -ASK_MOST_S, ASK_S
        self._heard_s, self._ros_ns = -ASK_MOST_S, 0
        self._call: Any = None
        self._question: Any = None
        above = config.rtabmap.rstrip('/')
        self._add_link = self.create_client(AddLink, f'{above}/add_link')
        self._get_map = self.create_client(GetMap, f'{above}/get_map_data')
        self._acks = self.create_publisher(LoopClosureAck, 'loop_closure_ack', 100)
        self._links = Links(config, self._track)
        for type_, topic, act, qos in (
            (LoopClosure, 'loop_closure', self._take, QoSProfile(depth=100)),
            (Odometry, 'odom', self._move, qos_profile_sensor_data),
            (Info, f'{above}/info', self._processed, QoSProfile(depth=10)),
            (MapGraph, f'{above}/mapGraph', self._graph, QoSProfile(depth=1)),
            (MapGraph, f'{above}/mapOdomCache', self._cache, QoSProfile(depth=1)),
        ):
            self.create_subscription(type_, topic, self.guarded(act), qos)
        self.create_timer(
            TICK_S, self.guarded(self._tick), clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def _take(self, message: LoopClosure) -> None:
        self._links.take(message, self._now_ns())
        self._tell()

    def _move(self, message: Odometry) -> None:
        pose, now_ns = pose_from_message(message), stamp_ns(message.header.stamp)
        if pose is None:
            return
        newest_ns = self._track.newest_ns()
        if newest_ns is not None:
            step_s = (now_ns - newest_ns) / NS
            if -1.0 < step_s <= 0.0:
                return  # late
            before = self._track.at(newest_ns)
            if not 0.0 < step_s <= HOLE_S or before.distance_m(pose) > JUMP_MPS * step_s + 1.0:
                self._track.clear()
        self._track.put(now_ns, pose)
        self._links.motion.frame = message.child_frame_id

    def _processed(self, message: Any) -> None:
        self._heard_s = time.monotonic()
        memory = [*message.wm_state, *message.odom_cache.poses_id]
        stamp = stamp_ns(message.header.stamp)
        if not self._links.nodes.processed(message.ref_id, stamp, memory):
            self._began_anew()
        self._links.graph(*_contents(message.odom_cache))
        self._tick()

    def _graph(self, message: Any) -> None:
        numbers, ends = _contents(message)
        self._links.nodes.graph(numbers, ends)
        self._links.graph(numbers, ends)
        self._tell()

    def _cache(self, message: Any) -> None:
        """Where RTAB-Map localises, its new links are here and not in the map's graph."""
        self._links.graph(*_contents(message))
        self._tell()

    def _began_anew(self) -> None:
        self.get_logger().warning('RTAB-Map began anew: its nodes are learnt again')
        self._links.forget()
        self._links.wants_map, self._patience_s = True, ASK_S
        self._asked_s = -ASK_MOST_S

    def _tick(self) -> None:
        """Ask for the next link, and give up what takes too long."""
        links, now_ns, now_s = self._links, self._now_ns(), time.monotonic()
        there = self._add_link.service_is_ready()
        links.look(now_ns, now_s, there)
        if self._call and not links.calling:  # given up
            self._add_link.remove_pending_request(self._call)
            self._call = None
        link = links.next(now_ns, now_s) if there and not self._call else None
        if link:
            self._call = self._add_link.call_async(AddLink.Request(link=_message(link)))
            self._call.add_done_callback(self.guarded(self._answered))
        self._ask_for_map(now_s)
        self._tell()

    def _answered(self, future: Any) -> None:
        if future is not self._call:
            return
        self._call = None
        if future.exception():
            self._links.gave_up(f'add_link failed: {future.exception()}')
        else:
            self._links.called(time.monotonic())
        self._tell()

    def _ask_for_map(self, now_s: float) -> None:
        """Learn the stamps of nodes that `info` did not tell of: they are of before."""
        if not (self._config.ask_map and self._links.wants_map):
            return
        if now_s - self._asked_s < self._patience_s or not self._get_map.service_is_ready():
            return
        self._asked_s, self._links.wants_map = now_s, False
        self._patience_s = min(2 * self._patience_s, ASK_MOST_S)
        if self._question:
            self._get_map.remove_pending_request(self._question)
        request = GetMap.Request(global_map=True, optimized=False, graph_only=True)
        self._question = self._get_map.call_async(request)
        self._question.add_done_callback(self.guarded(self._learn))

    def _learn(self, future: Any) -> None:
        if future is not self._question:
            return
        self._question = None
        if future.exception() or future.result() is None:
            return
        nodes = future.result().data.nodes
        new = self._links.nodes.learn((x.id, x.stamp, x.weight) for x in nodes)
        self.get_logger().info(f'learnt {new} nodes of before from get_map_data')
        if new:
            self._patience_s = ASK_S

    def _now_ns(self) -> int:
        now_ns = self.get_clock().now().nanoseconds
        if now_ns < self._ros_ns - NS:
            self.get_logger().warning('the clock went back: all is forgotten')
            self._track.clear()
            self._links.forget()
            self._links.nodes.clear()
        self._ros_ns = now_ns
        return now_ns

    def _tell(self) -> None:
        for answer in self._links.answers():
            ack = LoopClosureAck(
                closure_id=answer.closure_id, backend=BACKEND, status=answer.status,
                reason=answer.reason,
            )  # fmt: skip
            ack.header.stamp = self.get_clock().now().to_msg()
            self._acks.publish(ack)
            if answer.status in (REJECTED, UNKNOWN):
                self.tell(True, f'{answer.reason} (closure {answer.closure_id})')

    def standing(self) -> tuple[bool, str, Mapping[str, object]]:
        """How it goes with RTAB-Map."""
        return *self._state(), self._values()

    def _state(self) -> tuple[bool, str]:
        above = self._config.rtabmap.rstrip('/')
        if not self._add_link.service_is_ready():
            return True, f'the service {above}/add_link is not there: start RTAB-Map'
        silent_s = time.monotonic() - self._heard_s
        if silent_s > SILENT_S:
            return True, f'nothing on {above}/info lately: RTAB-Map goes through no images'
        counts, last = self._links.counts, self._links.last
        words = (
            f'{counts[ACCEPTED]} closures accepted, {counts[REJECTED]} rejected, '
            f'{counts[UNKNOWN]} without an answer'
        )
        if last and last.status in (REJECTED, UNKNOWN):
            return False, f'{words}; the last one: {last.reason}'
        return False, words

    def _values(self) -> dict[str, object]:
        links = self._links
        return {
            'links asked for': links.asked,
            'closures accepted': links.counts[ACCEPTED],
            'closures rejected': links.counts[REJECTED],
            'closures without an answer': links.counts[UNKNOWN],
            'closures waiting': links.waiting,
            'nodes known': len(links.nodes),
            'poses of odometry kept': len(self._track),
        }


def _contents(graph: Any) -> tuple[list[int], list[tuple[int, int]]]:
    """Nodes of a graph, and the two ends of each link."""
    return list(graph.poses_id), [(link.from_id, link.to_id) for link in graph.links]


def _message(link: Link) -> Any:
    """The `rtabmap_msgs/Link` of a link."""
    message = AddLink.Request().link
    message.from_id, message.to_id, message.type = link.from_id, link.to_id, USER_CLOSURE
    shift, turn = message.transform.translation, message.transform.rotation
    shift.x, shift.y, shift.z = link.pose.position_m
    turn.x, turn.y, turn.z, turn.w = link.pose.quaternion
    message.information = link.information.ravel()
    return message
