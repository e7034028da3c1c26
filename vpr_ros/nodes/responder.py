"""One image message in, one answer out: convert, recognise, publish. No node is needed."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.serialization import deserialize_message

from vpr_msgs.msg import LoopClosure, PlaceMatch
from vpr_ros.bags.images import image_from_message
from vpr_ros.config import NodeConfig
from vpr_ros.errors import ImageError, VprError
from vpr_ros.nodes.inputs.depth import DepthBuffer
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.nodes.inputs.odometry import PoseBuffer
from vpr_ros.nodes.outputs.diagnostics import Statistics
from vpr_ros.nodes.outputs.messages import (
    IMAGE_TYPES,
    Signature,
    loop_closure,
    place_match,
    pose_from_message,
    stamp_ns,
)
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Camera, Recognition, Verdict

LOG_PERIOD_S = 5.0


@dataclass(frozen=True)
class Outlets:
    """Where answers go."""

    match: Callable[[PlaceMatch], None]
    closure: Callable[[LoopClosure], None]


class Responder:
    """Answers every image it is given, with a status and the reason when refused.

    One thread at a time. An accepted image makes one loop closure; repeated pairs of query and
    place are not held back, so closures come at the rate at which images are processed.
    """

    def __init__(
        self,
        config: NodeConfig,
        recognizer: Recognizer,
        outlets: Outlets,
        logger: RcutilsLogger,
    ) -> None:
        self.config = config
        self.recognizer = recognizer
        self.poses = PoseBuffer(config.pose.max_gap_s)
        self.depth = DepthBuffer(config.depth_gap_s)
        self.camera: Camera | None = None  # told by the thread of the subscriptions
        self._seen_through: Camera | None = None
        self.statistics = Statistics()
        self._outlets = outlets
        self._logger = logger
        self._closures = 0
        self._committed_s = time.monotonic()

    def handle(self, arrival: Arrival[bytes]) -> None:
        """Answer a serialised image message."""
        message = deserialize_message(arrival.item, IMAGE_TYPES[self.config.image_transport])
        recognition = self._answer(message)
        self.statistics.add(recognition, arrival)
        signature = Signature(
            self.config,
            self.recognizer.model.id,
            self.recognizer.threshold,
            self.recognizer.place_map.info,
        )
        match = place_match(recognition, message.header, arrival, signature)
        self._outlets.match(match)
        if recognition.accepted:
            session_id = self.recognizer.session_id
            self._outlets.closure(
                loop_closure(recognition, match, self._closures, session_id, signature)
            )
            self._closures += 1

    def take_pose(self, message: Odometry | PoseStamped | PoseWithCovarianceStamped) -> None:
        """Remember a pose for the images around it."""
        frame, map_frame = message.header.frame_id, self.recognizer.place_map.info.frame
        if self.config.mode == 'both' and frame != map_frame:
            self._logger.warning(
                f'poses are in frame {frame!r} and the map in {map_frame!r}: places are recorded '
                'without a pose; give poses in the frame of the map',
                throttle_duration_sec=LOG_PERIOD_S,
            )
            return
        pose = pose_from_message(message)
        if pose is None:
            self._logger.warning(
                'a pose that is not finite was dropped', throttle_duration_sec=LOG_PERIOD_S
            )
            return
        self.poses.put(stamp_ns(message.header.stamp), pose)

    def take_camera(self, camera: Camera) -> None:
        """Remember the camera's model for the images to come."""
        self.camera = camera

    def summary(self) -> str:
        """One sentence on what was done so far."""
        place_map, statistics = self.recognizer.place_map, self.statistics
        accepted = statistics.verdicts[Verdict.ACCEPTED]
        return (
            f'mode {self.config.mode}, map {place_map.path} with {len(place_map)} places: '
            f'{statistics.processed} images answered, {accepted} accepted'
        )

    def figures(self) -> dict[str, str]:
        """Names and values for the diagnostics."""
        place_map, model = self.recognizer.place_map, self.recognizer.model
        return {
            'mode': self.config.mode,
            'map': place_map.path,
            'map uuid': place_map.info.uuid,
            'map revision': str(place_map.info.revision),
            'places': str(len(place_map)),
            'model': model.id,
            'device': str(model.placement),
            'loop closures': str(self._closures),
            **self.statistics.values(),
        }

    def commit_when_due(self) -> None:
        """Make a growing map durable every `map_commit_s`."""
        if time.monotonic() - self._committed_s >= self.config.map_commit_s:
            self._committed_s = time.monotonic()
            self.recognizer.place_map.commit()

    def failed(self, error: Exception) -> None:
        """Log what could not be answered; the node lives on."""
        self._logger.error(_sentence(error), throttle_duration_sec=LOG_PERIOD_S)

    def _answer(self, message) -> Recognition:
        stamp = stamp_ns(message.header.stamp)
        start = time.perf_counter()
        camera = self.camera
        if camera is not None and camera is not self._seen_through:
            self._seen_through = camera
            self.recognizer.see_through(camera)
        try:
            image = image_from_message(message)
            decode_ms = 1e3 * (time.perf_counter() - start)
            depth = self.depth.at(stamp)
            recognition = self.recognizer.recognize(image, stamp, self.poses.at(stamp), depth)
        except ImageError as error:
            self._logger.warning(f'image refused: {error}', throttle_duration_sec=LOG_PERIOD_S)
            return self.recognizer.refuse(stamp, Verdict.BAD_IMAGE, str(error))
        except Exception as error:
            self.failed(error)
            return self.recognizer.refuse(stamp, Verdict.ERROR, str(error) or repr(error))
        timings = recognition.timings
        timings = replace(timings, preprocess_ms=timings.preprocess_ms + decode_ms)
        return replace(recognition, timings=timings)


def _sentence(error: Exception) -> str:
    """The error itself where a user caused it, the traceback where we did."""
    if isinstance(error, VprError):
        return str(error)
    return ''.join(traceback.format_exception(error))
