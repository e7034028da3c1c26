"""Status and diagnostics, once a second and whenever something changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile

from vpr_msgs.msg import VprStatus
from vpr_ros.config import NodeConfig
from vpr_ros.nodes.inputs.flow import Trouble
from vpr_ros.nodes.inputs.image_input import ImageInput
from vpr_ros.nodes.inputs.newest import NewestWorker
from vpr_ros.nodes.inputs.pose_input import PoseInput
from vpr_ros.nodes.inputs.pose_watch import PoseReport
from vpr_ros.nodes.lifecycle import ReportingLifecycleNode
from vpr_ros.nodes.outputs.diagnostics import diagnostics
from vpr_ros.nodes.outputs.status import (
    NO_CLOCK,
    InputReport,
    MapReport,
    Situation,
    known_of,
    status,
)
from vpr_ros.nodes.outputs.visuals import Visuals
from vpr_ros.nodes.responder import Responder

PERIOD_S = 1.0
TROUBLE_PERIOD_S = 30.0
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Reporter:
    """Tells how a node is doing, from the time its configuration begins. In the executor."""

    def __init__(self, node: ReportingLifecycleNode, config: NodeConfig, stack: ExitStack) -> None:
        """Create the topics and the timer; the stack destroys them."""
        self._node, self._config = node, config
        self._responder: Responder | None = None
        self._worker: NewestWorker | None = None
        self._visuals: Visuals | None = None
        self._inputs: Callable[[], tuple[ImageInput, ...]] = tuple
        self._poses: Callable[[], PoseInput | None] = lambda: None
        self._loading = ''
        self._heard: tuple[InputReport, ...] = ()  # counts outlive a deactivation
        self._status = node.create_publisher(VprStatus, '~/status', KEPT)
        stack.callback(node.destroy_publisher, self._status)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        stack.callback(node.destroy_publisher, self._diagnostics)
        # With simulated time a paused simulation must not silence the diagnostics.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        timer = node.create_timer(PERIOD_S, self._tick, clock=clock)
        stack.callback(node.destroy_timer, timer)

    def load(self, what: str) -> None:
        """Say that something is being read, which takes its time."""
        self._loading = what
        self._status.publish(status(self.situation(), self._now()))

    def watch(
        self,
        responder: Responder,
        worker: NewestWorker,
        visuals: Visuals,
        inputs: Callable[[], tuple[ImageInput, ...]],
        poses: Callable[[], PoseInput | None],
    ) -> None:
        """From now on report on these.

        Args:
            responder: answers.
            worker: owns the map.
            visuals: show the map while nothing is asked.
            inputs: those of an active node; empty while it is not.
            poses: likewise.
        """
        self._responder, self._worker, self._visuals = responder, worker, visuals
        self._inputs, self._poses = inputs, poses
        self._loading = ''

    def situation(self) -> Situation:
        """Everything that is told, as of now; trouble is logged as well."""
        responder, listening = self._responder, self._inputs()
        if responder is None:
            return Situation(self._config.mode, active=False, loading=self._loading)
        inputs = tuple(self._look_at(x, responder) for x in listening) or self._heard
        self._heard = inputs
        responder.statistics.lose(sum(x.lost for x in inputs))
        model = responder.recognizer.model
        return Situation(
            mode=self._config.mode,
            active=bool(listening),
            paused=responder.paused,
            localized=responder.statistics.localized(
                time.monotonic(), responder.config.localized_s
            ),
            inputs=inputs,
            poses=self._ask_for_poses(responder.config.input_timeout_s),
            figures=responder.statistics.figures(),
            map=MapReport.of(responder.place_map, responder.unsaved),
            model_id=model.id,
            placement=model.placement,
            clock_stands=self._clock_stands(),
        )

    def report(self) -> None:
        """Publish status and diagnostics."""
        situation, now = self.situation(), self._now()
        name = self._node.get_fully_qualified_name().lstrip('/')
        self._status.publish(status(situation, now))
        self._diagnostics.publish(diagnostics(name, situation, now))

    def _tick(self) -> None:
        responder = self._responder
        self.report()
        if responder is None or self._worker is None or self._visuals is None:
            return
        visuals = self._visuals
        self._worker.ask(lambda: visuals.idle(responder.place_map))
        if responder.device_error is not None and self._inputs():
            self._node.break_down(responder.device_error)

    def _look_at(self, camera: ImageInput, responder: Responder) -> InputReport:
        trouble = camera.trouble(responder.config.input_timeout_s)
        if trouble:
            self._log(trouble)
        known = ''
        if responder.config.camera_info:
            known = known_of(responder.cameras.get(camera.camera))
        return InputReport.of(camera.topic, camera.flow, trouble, known)

    def _ask_for_poses(self, timeout_s: float) -> PoseReport | None:
        poses = self._poses()
        report = poses.report(timeout_s) if poses else None
        if report and report.trouble:
            log = self._node.get_logger()
            log.error(report.trouble, throttle_duration_sec=TROUBLE_PERIOD_S)
        return report

    def _clock_stands(self) -> bool:
        clock = self._node.get_clock()
        stands = clock.ros_time_is_active and not clock.now().nanoseconds
        if stands:
            self._node.get_logger().warning(NO_CLOCK, throttle_duration_sec=TROUBLE_PERIOD_S)
        return stands

    def _log(self, trouble: Trouble) -> None:
        log = self._node.get_logger()
        # Two lines: rclpy allows each line that logs one severity only.
        if trouble.error:
            log.error(trouble.text, throttle_duration_sec=TROUBLE_PERIOD_S)
        else:
            log.warning(trouble.text, throttle_duration_sec=TROUBLE_PERIOD_S)

    def _now(self):
        return self._node.get_clock().now().to_msg()
