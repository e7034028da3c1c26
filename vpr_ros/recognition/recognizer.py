"""The front door: an image and its stamp in, a recognised place or the reason why not out."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import replace

import cv2
import numpy as np

from vpr_ros.bags.keyframes import KeyframeSelector
from vpr_ros.config import RecognizerConfig
from vpr_ros.errors import ConfigError, ImageError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.decision import NS, Agreement, decide
from vpr_ros.records import Place, Pose, Recognition, Timings, Verdict

THUMBNAIL_WIDTH = 160


class Recognizer:
    """Describe, search, decide; and remember the place when a session is being mapped.

    One thread at a time. With `session_id` the images given become places of the map as they come,
    and the robot's own recent past is not searched.
    """

    def __init__(
        self,
        model: PlaceModel,
        place_map: PlaceMap,
        config: RecognizerConfig | None = None,
        session_id: int | None = None,
        camera: str = '',
    ) -> None:
        """Bind a model, a map made with it and the settings.

        Raises:
            ConfigError: neither the settings nor the weights give a similarity threshold for this
                map, or the model's descriptors depend on the batch.
        """
        model.require_single_image()
        self.model = model
        self.place_map = place_map
        self.config = config or RecognizerConfig()
        self.session_id = session_id
        self.camera = camera
        self.threshold = _threshold(model, place_map, self.config)
        self.travelled_m = 0.0
        self._agreement = Agreement(self.config.decision)
        self._keyframes = KeyframeSelector(self.config.keyframes)
        self._own: list[Place] = []  # this session's places, oldest first
        self._foreign_rows = len(place_map)  # rows before this session's
        self._queries = 0
        self._last_stamp_ns: int | None = None
        self._last_pose: Pose | None = None

    def recognize(self, image: np.ndarray, stamp_ns: int, pose: Pose | None = None) -> Recognition:
        """Answer one image.

        Args:
            image: (H, W, 3), uint8, RGB.
            stamp_ns: when it was taken.
            pose: base in map or odometry frame at that time, where known.

        Returns:
            The answer; never raises for a bad image, which is answered with BAD_IMAGE.
        """
        try:
            descriptor, timings = self.describe(image)
        except ImageError as error:
            return self.refuse(stamp_ns, Verdict.BAD_IMAGE, str(error))
        return self.answer(descriptor, stamp_ns, pose, image, timings)

    def describe(self, image: np.ndarray) -> tuple[np.ndarray, Timings]:
        """Descriptor (D,), float32, unit length, of an RGB image (H, W, 3), uint8.

        Raises:
            ImageError: not an RGB uint8 image.
        """
        start = time.perf_counter()
        tensor = self.model.prepare([image])
        ready = time.perf_counter()
        descriptor = self.model.describe_tensor(tensor).descriptor[0].cpu().numpy()
        done = time.perf_counter()
        return descriptor, Timings(1e3 * (ready - start), 1e3 * (done - ready))

    def answer(
        self,
        descriptor: np.ndarray,
        stamp_ns: int,
        pose: Pose | None = None,
        image: np.ndarray | None = None,
        timings: Timings | None = None,
    ) -> Recognition:
        """Search, decide, remember: `recognize` for an image that is described already.

        Args:
            descriptor: (D,), float32, unit length.
            stamp_ns: when the image was taken.
            pose: base in map or odometry frame at that time, where known.
            image: for the thumbnail of a place that is remembered.
            timings: of the steps before.
        """
        self._follow(stamp_ns, pose)
        start = time.perf_counter()
        before = self._foreign_rows + self._admissible(stamp_ns)
        candidates = self.place_map.search(descriptor, self.config.search.top_k, before)
        search_ms = 1e3 * (time.perf_counter() - start)
        if candidates:
            required = self.config.decision.consistent_frames
            decision = decide(candidates, stamp_ns, self.threshold, required, self._agreement)
            recognition = Recognition(
                self._next_id(), stamp_ns, decision.verdict, decision.reason,
                tuple(candidates), decision.consistent_frames,
            )  # fmt: skip
        elif len(self.place_map):
            recognition = self.refuse(
                stamp_ns, Verdict.EXCLUDED_RECENT, 'only the own recent past is known so far'
            )
        else:
            recognition = self.refuse(stamp_ns, Verdict.NO_MAP, 'the map has no places yet')
        place = self._remember(descriptor, stamp_ns, pose, image)
        timings = replace(timings or Timings(), search_ms=search_ms)
        return replace(recognition, place=place, timings=timings)

    def refuse(self, stamp_ns: int, verdict: Verdict, reason: str) -> Recognition:
        """Answer without a search: the image could not be read, or there is nothing to search."""
        self._agreement.reset()
        return Recognition(self._next_id(), stamp_ns, verdict, reason)

    def _next_id(self) -> int:
        self._queries += 1
        return self._queries - 1

    def _follow(self, stamp_ns: int, pose: Pose | None) -> None:
        """Keep account of time and path; a clock that jumps back ends every run of agreement."""
        if self._last_stamp_ns is not None and stamp_ns < self._last_stamp_ns:
            self._agreement.reset()
        if pose is not None:
            if self._last_pose is not None:
                self.travelled_m += pose.distance_m(self._last_pose)
            self._last_pose = pose
        self._last_stamp_ns = stamp_ns

    def _admissible(self, stamp_ns: int) -> int:
        """How many of this session's places are old and far enough to be searched."""
        decision = self.config.decision
        newest_ns = stamp_ns - int(decision.exclude_recent_s * NS)
        count = bisect_right(self._own, newest_ns, key=lambda place: place.stamp_ns)
        if decision.exclude_recent_m > 0 and self._last_pose is not None:
            furthest_m = self.travelled_m - decision.exclude_recent_m
            count = min(count, bisect_right(self._own, furthest_m, key=_travelled_m))
        return count

    def _remember(
        self, descriptor: np.ndarray, stamp_ns: int, pose: Pose | None, image: np.ndarray | None
    ) -> Place | None:
        if self.session_id is None or not self._keyframes.take(stamp_ns, pose):
            return None
        if self._own and stamp_ns <= self._own[-1].stamp_ns:
            return None  # places stay in order of time, which the exclusion of the past relies on
        travelled_m = self.travelled_m if self._last_pose is not None else None
        place = Place(0, self.session_id, stamp_ns, pose, self.camera, travelled_m)
        place = self.place_map.add(
            place, descriptor, None if image is None else encode_thumbnail(image)
        )
        self._own.append(place)
        return place


def encode_thumbnail(image: np.ndarray, width: int = THUMBNAIL_WIDTH) -> bytes:
    """JPEG of an RGB image (H, W, 3), uint8, scaled to a width in pixels."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', small[:, :, ::-1])[1].tobytes()


def _travelled_m(place: Place) -> float:
    return place.travelled_m or 0.0


def _threshold(model: PlaceModel, place_map: PlaceMap, config: RecognizerConfig) -> float:
    given = config.decision.similarity_threshold
    if not given and not place_map.keeps_cosines:
        raise ConfigError(
            f'the similarities of {place_map.path} are those of a centred compression, which no '
            'threshold of weights is made for: set decision.similarity_threshold'
        )
    threshold = given or model.similarity_threshold
    if not threshold:
        raise ConfigError(
            f'the weights of {model.name} carry no similarity threshold: '
            'set decision.similarity_threshold'
        )
    return threshold
