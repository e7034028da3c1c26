"""The front door: an image and its stamp in, a recognised place or the reason why not out."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import cv2
import numpy as np

from vpr_ros.bags.keyframes import KeyframeSelector
from vpr_ros.config import RecognizerConfig
from vpr_ros.errors import ConfigError, ImageError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.calibration import Calibrator, calibrator_for
from vpr_ros.recognition.decision import Evidence, Thresholds, decide
from vpr_ros.recognition.image_check import ImageCheck
from vpr_ros.recognition.own_past import OwnPast
from vpr_ros.recognition.pipeline import Pipeline, Query
from vpr_ros.records import Camera, Features, Place, Pose, Recognition, Timings, Verdict

THUMBNAIL_WIDTH = 320  # enough for people, and for geometry


class Recognizer:
    """Describe, collect evidence, decide; and remember the place when a session is being mapped.

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

        Args:
            model: with its weights.
            place_map: made with it.
            config: of all stages.
            session_id: of the session that is being mapped; None: nothing is remembered.
            camera: name of the camera in the map; its intrinsics are used where the map has them.

        Raises:
            ConfigError: neither the settings nor the weights give a similarity threshold for this
                map, no calibrator belongs to the probability asked for, or the model's descriptors
                depend on the batch.
            MapError: the map's calibrator is damaged.
        """
        model.require_single_image()
        self.model = model
        self.place_map = place_map
        self.config = config or RecognizerConfig()
        self.session_id = session_id
        self.camera = camera
        verified = self.config.verification.candidates > 0
        calibrator = calibrator_for(model, place_map, verified)
        self.thresholds = thresholds(model, place_map, self.config, calibrator)
        self._pipeline = Pipeline(
            place_map, self.config, model.input.size, place_map.camera(camera), calibrator
        )
        self._images = ImageCheck()
        self._keyframes = KeyframeSelector(self.config.keyframes)
        self._past = OwnPast(self.config.decision, len(place_map))
        self._queries = 0

    @property
    def threshold(self) -> float:
        """Least similarity to accept."""
        return self.thresholds.similarity

    def see_through(self, camera: Camera) -> None:
        """Take the camera's model, which came later; it belongs to the places to come, too.

        Where it does not say how it is mounted, the map's word holds.
        """
        known = self.place_map.camera(self.camera)
        if camera.base is None and known is not None:
            camera = replace(camera, base=known.base)
        self._pipeline.see_through(camera)
        if self.session_id is not None and self.place_map.camera(self.camera) != camera:
            self.place_map.beside.put_camera(self.camera, camera)

    def recognize(
        self,
        image: np.ndarray,
        stamp_ns: int,
        pose: Pose | None = None,
        depth: np.ndarray | None = None,
    ) -> Recognition:
        """Answer one image.

        Args:
            image: (H, W, 3), uint8, RGB.
            stamp_ns: when it was taken.
            pose: base in map or odometry frame at that time, where known.
            depth: (H, W), float32, metres, aligned with the image; 0 or nan where not known.

        Returns:
            The answer; never raises for a bad image, which is answered with BAD_IMAGE.
        """
        try:
            features, timings = self.describe(image)
        except ImageError as error:
            return self.refuse(stamp_ns, Verdict.BAD_IMAGE, str(error))
        found = self._images.look(image, pose)
        if found.fault:
            self._follow(stamp_ns, pose)
            return self.refuse(stamp_ns, Verdict.BAD_IMAGE, found.fault)
        query = Query(
            features.descriptor[0].cpu().numpy(), stamp_ns, pose, features.local, image, depth,
            found.repeated,
        )  # fmt: skip
        return self.answer(query, timings)

    def describe(self, image: np.ndarray) -> tuple[Features, Timings]:
        """Features of an RGB image (H, W, 3), uint8.

        Raises:
            ImageError: not an RGB uint8 image.
        """
        start = time.perf_counter()
        tensor = self.model.prepare([image])
        ready = time.perf_counter()
        features = self.model.describe_tensor(tensor)
        done = time.perf_counter()
        return features, Timings(1e3 * (ready - start), 1e3 * (done - ready))

    def answer(self, query: Query, timings: Timings | None = None) -> Recognition:
        """Search, decide, remember: `recognize` for an image that is described already.

        Args:
            query: described.
            timings: of the steps before.
        """
        self._follow(query.stamp_ns, query.pose)
        evidence, spent = self._pipeline.collect(query, self._past.searchable(query.stamp_ns))
        if evidence is not None:
            recognition = self._decided(query, evidence)
        elif len(self.place_map):
            recognition = self.refuse(
                query.stamp_ns, Verdict.EXCLUDED_RECENT, 'only the own recent past is known so far'
            )
        else:
            recognition = self.refuse(query.stamp_ns, Verdict.NO_MAP, 'the map has no places yet')
        place = self._remember(query)
        before_us = timings or Timings()
        timings = replace(
            spent, preprocess_ms=before_us.preprocess_ms, inference_ms=before_us.inference_ms
        )
        return replace(recognition, place=place, timings=timings)

    def refuse(self, stamp_ns: int, verdict: Verdict, reason: str) -> Recognition:
        """Answer without a search: the image could not be read, or there is nothing to search."""
        self._pipeline.interrupt()
        return Recognition(self._next_id(), stamp_ns, verdict, reason)

    def _decided(self, query: Query, evidence: Evidence) -> Recognition:
        decision = decide(evidence, self.thresholds, self.config)
        if decision.verdict not in (Verdict.ACCEPTED, Verdict.TEMPORAL_PENDING):
            self._pipeline.interrupt()
        return Recognition(
            self._next_id(), query.stamp_ns, decision.verdict, decision.reason,
            evidence.candidates, evidence.agreeing, signals=evidence.signals,
            probability=evidence.probability, ambiguity=evidence.ambiguity, pool=evidence.pool,
        )  # fmt: skip

    def _next_id(self) -> int:
        self._queries += 1
        return self._queries - 1

    def _follow(self, stamp_ns: int, pose: Pose | None) -> None:
        if not self._past.follow(stamp_ns, pose):
            self._pipeline.reset()

    def _remember(self, query: Query) -> Place | None:
        if self.session_id is None or not self._keyframes.take(query.stamp_ns, query.pose):
            return None
        if not self._past.takes(query.stamp_ns):
            return None
        place = Place(
            0, self.session_id, query.stamp_ns, query.pose, self.camera, self._past.travelled_m
        )
        thumbnail = None if query.image is None else encode_thumbnail(query.image)
        place = self.place_map.add(place, query.descriptor, thumbnail, query.local)
        self._pipeline.added(place)
        self._past.add(place)
        return place


def encode_thumbnail(image: np.ndarray, width: int = THUMBNAIL_WIDTH) -> bytes:
    """JPEG of an RGB image (H, W, 3), uint8, scaled to a width in pixels unless it is smaller."""
    width = min(width, image.shape[1])
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', small[:, :, ::-1])[1].tobytes()


def decode_thumbnail(jpeg: bytes) -> np.ndarray:
    """The inverse of `encode_thumbnail`: RGB (H, W, 3), uint8.

    Raises:
        ImageError: it is no JPEG.
    """
    pixels = np.frombuffer(jpeg, np.uint8)
    image = cv2.imdecode(pixels, cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError('the thumbnail is no JPEG')
    return np.ascontiguousarray(image[:, :, ::-1])


def thresholds(
    model: PlaceModel,
    place_map: PlaceMap,
    config: RecognizerConfig,
    calibrator: Calibrator | None = None,
) -> Thresholds:
    """What the settings, the weights and the calibrator make of yes and no.

    Raises:
        ConfigError: there is no similarity threshold, or no calibrator where one is needed.
    """
    decision = config.decision
    by_probability = decision.max_false_closure_rate or decision.min_probability
    similarity = decision.similarity_threshold or model.similarity_threshold or 0.0
    if by_probability:
        if calibrator is None:
            raise ConfigError(
                f'{place_map.path} has no calibrator, which an accepted probability needs: '
                'run `vpr calibrate`, or set decision.similarity_threshold'
            )
        return Thresholds(similarity, decision.min_probability or _promised(calibrator, config))
    return Thresholds(_similarity(model, place_map, config))


def _promised(calibrator: Calibrator, config: RecognizerConfig) -> float:
    rate = config.decision.max_false_closure_rate
    threshold = calibrator.threshold_for(rate)
    if math.isinf(threshold):
        raise ConfigError(
            f'max_false_closure_rate {rate:g} cannot be promised: the data of the calibrator '
            f'allow {calibrator.least_rate:.2g} at best; run `vpr calibrate` with a longer drive, '
            'ask for less, or set decision.min_probability'
        )
    return threshold


def _similarity(model: PlaceModel, place_map: PlaceMap, config: RecognizerConfig) -> float:
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
