"""The node `loop_closing`: a pose graph of odometry and closures, where no SLAM system has one.

The executor's thread takes messages and never waits; one worker owns the graph. Odometry stays as
smooth as it is: what jumps when a loop closes is map -> odom (REP-105).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from vpr_msgs.msg import LoopClosure, LoopClosureAck, VprStatus
from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.errors import ConfigError, VprError
from vpr_ros.nodes.outputs.messages import NS, to_time
from vpr_ros.nodes.outputs.visuals import Outlet
from vpr_ros.nodes.services.waiting import Waiting
from vpr_ros.nodes.sockets import corrected_messages as messages
from vpr_ros.nodes.sockets.closures import Answer
from vpr_ros.nodes.sockets.drive_saving import DriveSaving
from vpr_ros.nodes.sockets.following import Drive, Following
from vpr_ros.nodes.sockets.graph_worker import GraphWorker
from vpr_ros.nodes.sockets.judging import Judging
from vpr_ros.nodes.sockets.socket_node import SocketNode

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # a part of every robot's installation, but not of the wheels
    TFMessage = None

ODOMETRY = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=100)
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
QUEUE = 200  # keyframes and closures that wait for the optimiser
BUSY = 50  # of them are worth a warning
LOOK_S = 0.1


class LoopClosingNode(SocketNode):
    """Closes loops live, and says what became of every closure."""

    def __init__(self, stop: threading.Event, **kwargs: Any) -> None:
        """Declare the parameters; `stop` is set when the process is to end."""
        super().__init__('loop_closing', LoopClosingConfig, stop, **kwargs)
        self._stack = ExitStack()
        self._waiting = Waiting(self)
        self._shown: tuple[Drive, int] | None = None  # whose correction was told, and its version

    def begin(self, config: LoopClosingConfig) -> None:
        if config.publish_tf and TFMessage is None:
            raise ConfigError(
                'publish_tf needs tf2_msgs, which cannot be imported: install it, or follow '
                '~/correction'
            )
        self._config = config
        self._worker = GraphWorker(QUEUE, self._publish, self._failed, self._wake)
        judging = Judging(lambda error: self.tell(True, str(error)))
        self.following = Following(
            config, self._worker.ask, self._answer, lambda sentence: self.tell(True, sentence),
            judge=judging.ask,
        )  # fmt: skip
        self._offer()
        self._stack.callback(self.following.end, 'the node is being shut down')
        self._stack.enter_context(self._worker)
        self._listen()

    def linger(self) -> None:
        self._stack.close()
        super().linger()

    def standing(self) -> tuple[bool, str, Mapping[str, object]]:
        following = self.following
        warning, words = self._words(following)
        return warning, words, self._figures(following)

    def _offer(self) -> None:
        """What is published and served."""
        make, period_s = self.create_publisher, self._config.path_period_s
        self._acks = make(LoopClosureAck, 'loop_closure_ack', RELIABLE)
        self._correction = make(PoseWithCovarianceStamped, '~/correction', KEPT)
        self._path = Outlet(make(Path, '~/path', KEPT), period_s)
        self._markers = Outlet(make(MarkerArray, '~/markers', KEPT), period_s)
        self._saving = DriveSaving(self, self._config, self._worker, self._waiting)
        self.create_service(Trigger, '~/save', self._save, callback_group=ReentrantCallbackGroup())

    def _listen(self) -> None:
        following, hear = self.following, self.create_subscription
        odometry = hear(Odometry, 'odom', self.guarded(following.odometry), ODOMETRY)
        self._odom_topic = odometry.topic_name
        closures = hear(LoopClosure, 'loop_closure', self.guarded(following.closure), RELIABLE)
        hear(VprStatus, 'vpr_status', self.guarded(following.status), KEPT)
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_S, self.guarded(following.look), clock=clock)
        self.tell(False, f'listening to {self._odom_topic} and {closures.topic_name}')
        if self._config.publish_tf:
            self._tf = self.create_publisher(TFMessage, '/tf', RELIABLE)
            period_s = 1.0 / self._config.tf_rate
            self.create_timer(period_s, self.guarded(self._transform), clock=clock)

    def _words(self, following: Following) -> tuple[bool, str]:
        silent_s, topic = following.silent_s(), self._odom_topic
        if not following.received:
            return True, f'no odometry on {topic}: is it published, and remapped?'
        if following.newest_ns is None:
            return True, f'nothing on {topic} is a finite pose with a stamp'
        if silent_s > self._config.input_timeout_s:
            return True, f'no odometry on {topic} for {silent_s:.1f} s'
        if len(self._worker) > BUSY:
            return True, f'{len(self._worker)} keyframes and closures wait for the optimiser'
        graph = following.drive.graph
        if not following.closures:
            return False, f'{graph.keyframes} keyframes, no closure was heard yet'
        return False, (
            f'{graph.keyframes} keyframes; {len(graph.closed)} closures hold, {following.pending} '
            f'wait, {following.rejected} were rejected; the last correction moved the robot by '
            f'{following.drive.moved_m:.2f} m'
        )

    def _figures(self, following: Following) -> dict[str, object]:
        graph = following.drive.graph
        spent = 1e3 * np.array([*following.graph_s] or [0.0])
        return {
            'odometry received': following.received,
            'odometry left out': following.dropped,
            'drives': following.drives,
            'keyframes of this drive': graph.keyframes,
            'keyframes in the graph': len(graph),
            'closures received': following.closures,
            'closures in the graph': len(graph.closed),
            'closures that wait': following.pending,
            'times all were judged together': following.judged,
            'answers accepted': following.accepted,
            'answers rejected': following.rejected,
            'last reason of a rejection': following.last_reason,
            'last correction, m': f'{following.drive.moved_m:.2f}',
            'per keyframe lately, median, ms': f'{np.median(spent):.1f}',
            'per keyframe lately, max, ms': f'{spent.max():.1f}',
            'last closure, ms': f'{1e3 * following.closing_s:.1f}',
            'waiting for the optimiser': len(self._worker),
        }

    async def _save(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Answer with what was written, and not before."""
        try:
            response.message = await self._saving.save(self.following.drive)
            response.success = True
        except Exception as error:
            response.message = str(error) if isinstance(error, VprError) else repr(error)
        return response

    def _answer(self, answer: Answer) -> None:
        self._acks.publish(messages.acknowledgement(answer, self.get_clock().now().to_msg()))

    def _publish(self) -> None:
        """In the worker, after each job and now and then."""
        drive = self.following.drive
        graph = drive.graph
        if not len(graph):
            return
        if (drive, graph.version) != self._shown:
            self._shown = drive, graph.version
            header, covariance = self._header(), graph.covariance()
            self._correction.publish(messages.correction(header, drive.correction, covariance))
        if self._path.due():
            self._path.publish(messages.path(self._header(), *graph.path()))
        if self._markers.due():
            self._markers.publish(messages.markers(self._header(), *drive.closures.lines()))

    def _transform(self) -> None:
        following = self.following
        if following.newest_ns is None:
            return
        ahead_ns = int(self._config.transform_tolerance_s * NS)
        stamp = to_time(following.newest_ns + ahead_ns)
        header = Header(stamp=stamp, frame_id=self._config.map_frame)
        corrected = messages.transform(header, following.odom_frame, following.drive.correction)
        self._tf.publish(TFMessage(transforms=[corrected]))

    def _header(self) -> Header:
        newest_ns = self.following.newest_ns
        stamp = self.get_clock().now().to_msg() if newest_ns is None else to_time(newest_ns)
        return Header(stamp=stamp, frame_id=self._config.map_frame)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, VprError):  # others reach those who asked
            self.tell(True, f'{type(error).__name__}: {error}')

    def _wake(self) -> None:
        """Those who wait in the executor look again."""
        if self.executor is not None:
            self.executor.wake()
