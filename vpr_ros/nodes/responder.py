"""One moment's images in, one answer out: convert, recognise, publish. No node is needed."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.impl.rcutils_logger import RcutilsLogger
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vpr_msgs.msg import GlobalDescriptor, LoopClosure, PlaceMatch
from vpr_ros.bags.images import image_from_message
from vpr_ros.config import DecisionConfig, NodeConfig, TemporalConfig
from vpr_ros.errors import DeviceError, VprError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.nodes.inputs.depth import depth_buffers
from vpr_ros.nodes.inputs.gate import QueryGate
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.nodes.inputs.received import Received
from vpr_ros.nodes.inputs.views import decoded
from vpr_ros.nodes.outputs.messages import (
    NS,
    Signature,
    descriptors,
    loop_closure,
    place_match,
    pose_of,
    stamp_ns,
    to_time,
)
from vpr_ros.nodes.outputs.statistics import Statistics
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Camera, Pose, Recognition, Verdict, View

LOG_PERIOD_S = 5.0


def nowhere(stamp: int) -> Pose | None:
    """No poses are known."""
    return None


class Pictures(Protocol):
    """Shows answers to people, of which `Visuals` is one."""

    @property
    def wants_similarities(self) -> bool: ...

    def show(
        self,
        recognition: Recognition,
        match: PlaceMatch,
        views: list[View],
        place_map: PlaceMap,
        pose: Pose | None,
    ) -> None: ...


@dataclass(frozen=True)
class Outlets:
    """Where answers go."""

    match: Callable[[PlaceMatch], None]
    closure: Callable[[LoopClosure], None]
    pose: Callable[[PoseWithCovarianceStamped], None]
    descriptor: Callable[[GlobalDescriptor], None]


class Responder:
    """Answers every image that passes the gate, with a status and the reason when refused.

    One thread at a time, that of the worker, but for `paused`, `cameras` and `depths`, which the
    subscriptions fill. An accepted image makes one loop closure; repeated pairs of query and place
    are not held back, so closures come at the rate at which images are processed.
    """

    def __init__(
        self,
        config: NodeConfig,
        recognizer: Recognizer,
        outlets: Outlets,
        logger: RcutilsLogger,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.config = config
        self.recognizer = recognizer
        self.statistics = Statistics()
        self.gate = QueryGate(config)
        self.paused = False
        self.poses: Callable[[int], Pose | None] = nowhere  # at a stamp
        self.depths = depth_buffers(config, logger)
        self.cameras: dict[str, Camera] = {}  # told by the thread of the subscriptions
        self.watchers: list[Callable[[PlaceMatch], None]] = []  # told of every answer
        self.pictures: Pictures | None = None
        self.map_changed: Callable[[], None] = lambda: None
        self.device_error: DeviceError | None = None  # nothing can be described any more
        self.unsaved = ''  # why the map could not be made durable; empty: it could
        self._seen_through: dict[str, Camera] = {}
        self._outlets = outlets
        self._logger = logger
        self._now_ns = now_ns
        self._closures = 0
        self._dropped = 0  # before images that were skipped
        self._committed_s = time.monotonic()

    @property
    def place_map(self) -> PlaceMap:
        return self.recognizer.place_map

    def handle(self, arrival: Arrival[tuple[Received, ...]]) -> None:
        """Answer the images of one moment."""
        stamp = arrival.item[0].stamp_ns
        pose = self.poses(stamp)
        if self.paused or not self.gate.takes(stamp, pose):
            self.statistics.skip(arrival)
            self._dropped += arrival.dropped
            return
        waited_ms = 1e3 * (time.perf_counter() - arrival.item[0].arrived_s)
        arrival = replace(arrival, waited_ms=waited_ms, dropped=arrival.dropped + self._dropped)
        self._dropped = 0
        recognition, views, header = self._answer(arrival.item, stamp, pose)
        self.statistics.add(recognition, arrival)
        signature = self._signature()
        match = place_match(recognition, header, arrival, signature)
        self._outlets.match(match)
        if recognition.accepted:
            self._close(recognition, match, signature)
        self._tell(recognition, match, views, pose)
        self.recognizer.look_ahead()

    def query(self, message: Image | CompressedImage, top_k: int = 0) -> PlaceMatch:
        """Answer one image for itself: nothing is recorded, and the live queries do not notice.

        Raises:
            ImageError: it cannot be decoded.
        """
        search = replace(self.config.search, top_k=top_k or self.config.search.top_k)
        decision: DecisionConfig = replace(
            self.config.decision, consistent_frames=1, max_jump_m=0.0
        )
        config = replace(
            self.config, search=search, decision=decision, temporal=TemporalConfig('none')
        )
        model, name = self.recognizer.model, self.config.cameras[0]
        alone = Recognizer(model, self.place_map, config, camera=name)
        if name in self.cameras:
            alone.see_through(self.cameras[name], name)
        image = image_from_message(message)
        recognition = alone.recognize(image, stamp_ns(message.header.stamp))
        nothing: Arrival[tuple[Received, ...]] = Arrival((), 0.0, 0)
        signature = replace(self._signature(), config=config)
        return place_match(recognition, message.header, nothing, signature)

    def use(self, place_map: PlaceMap) -> None:
        """Search another map from now on; the one before is not closed.

        Raises:
            ConfigError: no threshold belongs to it; the one before stays in use.
        """
        before = self.recognizer
        self.recognizer = Recognizer(
            before.model, place_map, self.config, before.session_id, before.camera
        )
        self._seen_through = {}
        self.map_changed()

    def check(self, config: NodeConfig) -> None:
        """Raise a ConfigError where `retune` would."""
        self.recognizer.check(config)

    def retune(self, config: NodeConfig) -> None:
        """Go on with other settings, of those that may change while the node runs."""
        if _recognition(config) != _recognition(self.config):
            self.recognizer.retune(config)
        self.gate.retune(config)
        self.config = config

    def forget(self) -> None:
        """Forget where the robot was: the next image is looked at and stands for itself."""
        self.recognizer.forget()
        self.gate.reset()

    def reset(self) -> None:
        """Forget where the robot was, and all counts. The map stays as it is."""
        self.forget()
        self.statistics.reset()

    def take_camera(self, name: str, camera: Camera) -> None:
        """Remember a camera's model for the images to come."""
        self.cameras[name] = camera

    def commit_when_due(self) -> None:
        """Make a growing map durable every `autosave_s`."""
        if time.monotonic() - self._committed_s >= self.config.autosave_s:
            self._committed_s = time.monotonic()
            revision = self.place_map.info.revision
            try:
                self.place_map.commit()
            except VprError as error:
                self.unsaved = str(error)
                raise
            self.unsaved = ''
            if self.place_map.info.revision != revision:
                self.map_changed()

    def failed(self, error: Exception) -> None:
        """Log what could not be answered; the node lives on, unless its device is lost."""
        if isinstance(error, DeviceError):
            self.device_error = error
        self._logger.error(_sentence(error), throttle_duration_sec=LOG_PERIOD_S)

    def _signature(self) -> Signature:
        recognizer = self.recognizer
        return Signature(
            self.config, recognizer.model.id, recognizer.threshold, recognizer.place_map.info
        )

    def _answer(
        self, received: tuple[Received, ...], stamp: int, pose: Pose | None
    ) -> tuple[Recognition, list[View], Header]:
        """The answer, what was seen, and the header of the view that it rests on."""
        nameless = Header(stamp=to_time(stamp))
        start = time.perf_counter()
        try:
            self._look_through()
            age_s = (self._now_ns() - stamp) / NS
            views, headers, fault = decoded(received, self.config, self.depths, age_s)
            decode_ms = 1e3 * (time.perf_counter() - start)
            header = next(iter(headers.values()), nameless)
            if not views:
                return self._refused(stamp, fault), views, header
            wanted = self.config.publish_descriptor or (
                self.pictures is not None and self.pictures.wants_similarities
            )
            recognition = self.recognizer.recognize_views(views, stamp, pose, attach=wanted)
        except Exception as error:
            self.failed(error)
            recognition = self.recognizer.refuse(stamp, Verdict.ERROR, str(error) or repr(error))
            return recognition, [], nameless
        timings = recognition.timings
        timings = replace(timings, preprocess_ms=timings.preprocess_ms + decode_ms)
        if recognition.best:
            header = headers.get(recognition.best.seen_by, header)
        return replace(recognition, timings=timings), views, header

    def _refused(self, stamp: int, fault: str) -> Recognition:
        self._logger.warning(f'image refused: {fault}', throttle_duration_sec=LOG_PERIOD_S)
        return self.recognizer.refuse(stamp, Verdict.BAD_IMAGE, fault)

    def _look_through(self) -> None:
        """Hand over what has become known of the cameras since the image before."""
        for name, camera in list(self.cameras.items()):
            if self._seen_through.get(name) is not camera:
                self._seen_through[name] = camera
                self.recognizer.see_through(camera, name)

    def _close(self, recognition: Recognition, match: PlaceMatch, signature: Signature) -> None:
        session_id = self.recognizer.session_id
        self._outlets.closure(
            loop_closure(recognition, match, self._closures, session_id, signature)
        )
        self._closures += 1
        self.statistics.close()
        if match.pose_valid:
            self._outlets.pose(pose_of(match))

    def _tell(
        self, recognition: Recognition, match: PlaceMatch, views: list[View], pose: Pose | None
    ) -> None:
        """Whoever else wants to know of an answer."""
        for watcher in self.watchers:
            watcher(match)
        if self.config.publish_descriptor:
            for message in descriptors(recognition, match):
                self._outlets.descriptor(message)
        if self.pictures is not None:
            known = pose if self.config.mode != 'localize' else None
            self.pictures.show(recognition, match, views, self.place_map, known)


def _recognition(config: NodeConfig) -> tuple:
    """What the recogniser reads of the settings."""
    return (
        config.search, config.reranking, config.verification, config.temporal, config.decision,
        config.keyframes,
    )  # fmt: skip


def _sentence(error: Exception) -> str:
    """The error itself where a user caused it, the traceback where we did."""
    if isinstance(error, VprError):
        return str(error)
    return ''.join(traceback.format_exception(error))
