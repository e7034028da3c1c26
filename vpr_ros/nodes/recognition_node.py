"""The live node: images in, recognised places and loop closures out."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import numpy as np
import yaml
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.qos import DurabilityPolicy, QoSProfile

from vpr_msgs.msg import GlobalDescriptor, LoopClosure, LoopClosureAck, MapInfo, PlaceMatch
from vpr_ros.config import NodeConfig, to_dict
from vpr_ros.errors import ConfigError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.nodes.bond import Bond
from vpr_ros.nodes.inputs.camera_input import CameraInput
from vpr_ros.nodes.inputs.flow import Flow
from vpr_ros.nodes.inputs.image_input import ImageInput, image_topic
from vpr_ros.nodes.inputs.newest import NewestWorker
from vpr_ros.nodes.inputs.pose_input import PoseInput, require_poses
from vpr_ros.nodes.inputs.rig import Rig
from vpr_ros.nodes.inputs.transforms import open_transforms, require_transforms
from vpr_ros.nodes.lifecycle import ReportingLifecycleNode
from vpr_ros.nodes.live_map import live_map
from vpr_ros.nodes.outputs.reporter import Reporter
from vpr_ros.nodes.outputs.status import map_info
from vpr_ros.nodes.outputs.visuals import Visuals
from vpr_ros.nodes.parameters import Parameters
from vpr_ros.nodes.responder import Outlets, Responder, nowhere
from vpr_ros.nodes.services.calls import Calls
from vpr_ros.nodes.services.localization import Attempts
from vpr_ros.nodes.transport import advice
from vpr_ros.recognition.recognizer import Recognizer

NODE_NAME = 'place_recognition'
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ACKS = QoSProfile(depth=100)
LAST_ANSWER_S = 10.0


class PlaceRecognition(ReportingLifecycleNode):
    """Inactive means deaf: the subscriptions exist only while the node is active.

    Two threads: the executor's, with all call-backs, and the worker's, which owns model and map.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(NODE_NAME, **kwargs)
        self.parameters = Parameters(self, NodeConfig)
        self.responder: Responder | None = None  # while configured
        self.worker: NewestWorker | None = None
        self.attempts: Attempts | None = None
        self._calls: Calls | None = None
        self.inputs: tuple[ImageInput, ...] = ()  # while active
        self.pose_input: PoseInput | None = None  # likewise
        self._reporter: Reporter | None = None
        self.flows: dict[str, Flow] = {}

    @property
    def active(self) -> bool:
        return bool(self.inputs)

    def configure(self, stack: ExitStack) -> None:
        config = self.parameters.read()
        require_frames(config)
        require_transforms(config)
        self.flows = {camera: Flow() for camera in config.cameras}
        self.get_logger().info(f'settings: {_one_line(to_dict(config))}')
        self._reporter = Reporter(self, config, stack)
        self._reporter.load('the model')
        model = ready_model(config)
        self.get_logger().info(f'model {model.id} on {model.placement}')
        self._reporter.load('the map')
        place_map = stack.enter_context(live_map(config, model))
        require_poses(config, place_map.info.frame)
        session_id = self._begin_session(config, place_map)
        recognizer = Recognizer(model, place_map, config, session_id, config.cameras[0])
        self._respond(stack, config, recognizer)
        self._reporter.report()
        if config.image_transport == 'raw' and (warning := advice(os.environ)):
            self.get_logger().warning(warning)

    def _respond(self, stack: ExitStack, config: NodeConfig, recognizer: Recognizer) -> None:
        """Everything that answers: images, those who ask, those who look."""
        outlets = Outlets(
            self._publish(stack, PlaceMatch, '~/place_match', 10),
            self._publish(stack, LoopClosure, '~/loop_closure', 100),
            self._publish(stack, PoseWithCovarianceStamped, '~/pose', 10),
            self._publish(stack, GlobalDescriptor, '~/descriptor', 10),
        )
        clock = self.get_clock()
        responder = Responder(
            config, recognizer, outlets, self.get_logger(), lambda: clock.now().nanoseconds
        )
        # After load_map it is another one than that which was opened first.
        stack.callback(lambda: responder.place_map.close())  # noqa: PLW0108 (looked up late)
        responder.pictures = visuals = Visuals(self, stack)
        responder.map_changed = self._telling_of_the_map(stack, responder)
        self.attempts = Attempts(responder.forget)
        responder.watchers.append(self.attempts.take)
        self.worker = NewestWorker(
            responder.handle, responder.commit_when_due, responder.failed, config.autosave_s,
            self._wake,
        )  # fmt: skip
        stack.enter_context(self.worker)
        self.responder = responder
        self._listen_to_acks(stack, responder)
        self._calls = Calls(
            self, responder, self.worker, self.attempts, stack, lambda: self.active
        )
        self._follow_parameters(stack, responder)
        self._reporter.watch(
            responder, self.worker, visuals, lambda: self.inputs, lambda: self.pose_input
        )
        stack.callback(self._forget)
        responder.map_changed()

    def activate(self, stack: ExitStack) -> None:
        responder, config = self.responder, self.responder.config
        stack.callback(self._stop_listening)
        transforms = open_transforms(self, config, stack)
        frame = lambda: responder.place_map.info.frame  # noqa: E731
        self.pose_input = PoseInput(self, config, transforms, frame, stack)
        responder.poses = self.pose_input.at
        for camera, depth in responder.depths.items():
            CameraInput(self, config, camera, responder.take_camera, transforms, depth, stack)
        rig = Rig(config.cameras, config.camera_gap_s, self.worker.put, self._count_late)
        self.inputs = tuple(
            ImageInput(self, camera, config.image_transport, rig.put, stack, flow)
            for camera, flow in self.flows.items()
        )
        bond = Bond(self)
        stack.callback(bond.stop)
        bond.start()
        topics = ', '.join(x.topic for x in self.inputs)
        self.get_logger().info(f'listening to {topics}')
        self._reporter.report()

    def _begin_session(self, config: NodeConfig, place_map: PlaceMap) -> int | None:
        if config.mode == 'localize':
            return None
        topic = image_topic(self, config.cameras[0], config.image_transport)
        session_id = place_map.add_session('live', topic)
        place_map.commit()  # a map that cannot be written is told now, not after the drive
        return session_id

    def _publish(self, stack: ExitStack, type_: type, topic: str, depth: int) -> Callable:
        publisher = self.create_lifecycle_publisher(type_, topic, depth)
        stack.callback(self.destroy_lifecycle_publisher, publisher)
        return publisher.publish

    def _telling_of_the_map(self, stack: ExitStack, responder: Responder) -> Callable[[], None]:
        publisher = self.create_publisher(MapInfo, '~/map_info', KEPT)
        stack.callback(self.destroy_publisher, publisher)

        def tell() -> None:
            now = self.get_clock().now().to_msg()
            publisher.publish(map_info(responder.place_map, responder.recognizer.model.id, now))

        return tell

    def _listen_to_acks(self, stack: ExitStack, responder: Responder) -> None:
        def take(ack: LoopClosureAck) -> None:
            if not responder.statistics.acknowledge(ack):
                self.get_logger().warning(
                    f'{ack.backend} answers loop closure {ack.closure_id}, which was never given',
                    throttle_duration_sec=5.0,
                )

        acks = self.create_subscription(LoopClosureAck, '~/loop_closure_ack', take, ACKS)
        stack.callback(self.destroy_subscription, acks)

    def _follow_parameters(self, stack: ExitStack, responder: Responder) -> None:
        """From now on only live settings may change; the worker takes them over."""
        parameters, worker = self.parameters, self.worker

        def change(config: NodeConfig) -> None:
            worker.ask(partial(self._retune, responder, config))

        parameters.accept, parameters.changed = responder.check, change
        parameters.locked = True

        def unlock() -> None:
            parameters.locked = False

        stack.callback(unlock)

    def _retune(self, responder: Responder, config: NodeConfig) -> None:
        try:
            responder.retune(config)
        except Exception as error:
            responder.failed(error)

    def _wake(self) -> None:
        """Let the executor look whether what somebody waits for has come."""
        if self.executor is not None and self._calls is not None and self._calls.waited_for:
            self.executor.wake()

    def _forget(self) -> None:
        self.responder = self.worker = self.attempts = self._calls = None

    def _count_late(self, camera: str) -> None:
        self.flows[camera].late += 1

    def _stop_listening(self) -> None:
        self.inputs, self.pose_input = (), None
        self.attempts.abort('the node was deactivated')
        self.worker.forget()
        # The image in work is answered while the publishers are still active.
        self.worker.ask(lambda: None).wait(LAST_ANSWER_S)
        self.responder.poses = nowhere
        self._reporter.report()


def ready_model(config: NodeConfig) -> PlaceModel:
    """The model of the settings, warm, and with no memory that it does not need.

    Raises:
        CheckpointError: it has no weights.
        ConfigError: there is no such model or device.
    """
    wanted = config.model
    model = build_model(wanted.name, wanted.device, wanted.weights, wanted.precision)
    warm_up(model)
    model.release()
    return model


def require_frames(config: NodeConfig) -> None:
    """Refuse empty frames: no message may leave with one.

    Raises:
        ConfigError: a frame is empty.
    """
    for name in ('map_frame', 'base_frame', 'camera_frame', 'odom_frame'):
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
