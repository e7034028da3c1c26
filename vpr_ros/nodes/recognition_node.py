"""The live node: images in, recognised places and loop closures out."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.qos import qos_profile_sensor_data

from vpr_msgs.msg import LoopClosure, PlaceMatch
from vpr_ros.config import NodeConfig, to_dict
from vpr_ros.errors import ConfigError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.nodes.inputs.camera_input import CameraInput
from vpr_ros.nodes.inputs.image_input import ImageInput, image_topic
from vpr_ros.nodes.inputs.newest import NewestWorker
from vpr_ros.nodes.lifecycle import ReportingLifecycleNode
from vpr_ros.nodes.live_map import live_map
from vpr_ros.nodes.outputs.diagnostics import status
from vpr_ros.nodes.outputs.messages import POSE_TYPES
from vpr_ros.nodes.parameters import Parameters
from vpr_ros.nodes.responder import Outlets, Responder
from vpr_ros.nodes.transport import advice
from vpr_ros.recognition.recognizer import Recognizer

NODE_NAME = 'place_recognition'
DIAGNOSTICS_PERIOD_S = 1.0
TROUBLE_PERIOD_S = 30.0


class PlaceRecognition(ReportingLifecycleNode):
    """Inactive means deaf: the subscriptions exist only while the node is active."""

    def __init__(self, **kwargs) -> None:
        super().__init__(NODE_NAME, **kwargs)
        self.parameters = Parameters(self, NodeConfig)
        self.responder: Responder | None = None  # while configured
        self.input: ImageInput | None = None  # while active

    def configure(self, stack: ExitStack) -> None:
        config = self.parameters.read()
        require_frames(config)
        self.get_logger().info(f'settings: {_one_line(to_dict(config))}')
        wanted = config.model
        model = build_model(wanted.name, wanted.device, wanted.weights, wanted.precision)
        warm_up(model)
        model.release()
        self.get_logger().info(f'model {model.id} on {model.placement}')
        place_map = stack.enter_context(live_map(config, model))
        session_id = self._begin_session(config, place_map)
        recognizer = Recognizer(model, place_map, config, session_id, config.camera)
        outlets = Outlets(
            self._publish(stack, PlaceMatch, '~/place_match', 10),
            self._publish(stack, LoopClosure, '~/loop_closure', 100),
        )
        self.responder = Responder(config, recognizer, outlets, self.get_logger())
        self.parameters.locked = True
        stack.callback(self._forget)
        self._diagnose_regularly(stack)
        if config.image_transport == 'raw' and (warning := advice(os.environ)):
            self.get_logger().warning(warning)

    def activate(self, stack: ExitStack) -> None:
        responder, config = self.responder, self.responder.config
        worker = NewestWorker(
            responder.handle, responder.commit_when_due, responder.failed, config.map_commit_s
        )
        stack.enter_context(worker)
        if config.pose_input in POSE_TYPES:
            poses = self.create_subscription(
                POSE_TYPES[config.pose_input], 'odom', responder.take_pose, qos_profile_sensor_data
            )
            stack.callback(self.destroy_subscription, poses)
        CameraInput(self, config, responder.take_camera, responder.depth, stack)
        self.input = ImageInput(self, config.image_transport, worker.put, responder.statistics)
        stack.callback(self._stop_listening)
        self.get_logger().info(f'listening to {self.input.topic}')

    def _begin_session(self, config: NodeConfig, place_map: PlaceMap) -> int | None:
        if config.mode == 'localize':
            return None
        topic = image_topic(self, config.image_transport)
        session_id = place_map.add_session('live', topic)
        place_map.commit()  # a map that cannot be written is told now, not after the drive
        return session_id

    def _publish(self, stack: ExitStack, type_: type, topic: str, depth: int) -> Callable:
        publisher = self.create_lifecycle_publisher(type_, topic, depth)
        stack.callback(self.destroy_lifecycle_publisher, publisher)
        return publisher.publish

    def _forget(self) -> None:
        self.responder = None
        self.parameters.locked = False

    def _stop_listening(self) -> None:
        self.input.close()
        self.input = None

    def _diagnose_regularly(self, stack: ExitStack) -> None:
        publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        stack.callback(self.destroy_publisher, publisher)
        # With simulated time a paused simulation must not silence the diagnostics.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        timer = self.create_timer(
            DIAGNOSTICS_PERIOD_S, lambda: publisher.publish(self.diagnose()), clock=clock
        )
        stack.callback(self.destroy_timer, timer)

    def diagnose(self) -> DiagnosticArray:
        """How the node is doing, in words and figures; trouble is logged as well."""
        responder = self.responder
        trouble = self.input.trouble(responder.config.input_timeout_s) if self.input else None
        if trouble:
            self.get_logger().warning(trouble, throttle_duration_sec=TROUBLE_PERIOD_S)
        summary = responder.summary() if self.input else 'inactive: not listening'
        name = self.get_fully_qualified_name().lstrip('/')
        array = DiagnosticArray(status=[status(name, trouble, summary, responder.figures())])
        array.header.stamp = self.get_clock().now().to_msg()
        return array


def require_frames(config: NodeConfig) -> None:
    """Refuse empty frames: no message may leave with one.

    Raises:
        ConfigError: a frame is empty.
    """
    for name in ('map_frame', 'base_frame', 'camera_frame'):
        if not getattr(config, name):
            raise ConfigError(f'parameter {name} is empty: give the name of a frame')


def warm_up(model: PlaceModel) -> None:
    """Describe one black image, so that the first real one does not wait for memory.

    Raises:
        CheckpointError: the model has no weights.
    """
    black = np.zeros((*model.input.size, 3), np.uint8)
    model.describe([black])


def _one_line(settings: dict) -> str:
    return yaml.safe_dump(settings, default_flow_style=True, width=10**6, sort_keys=False).strip()
