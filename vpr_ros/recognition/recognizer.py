"""The front door: an image and its stamp in, a recognised place or the reason why not out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vpr_ros.bags.keyframes import KeyframeSelector
from vpr_ros.config import RecognizerConfig
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.maps.place_rows import sound_pose
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.calibration import Calibrator, calibrator_for
from vpr_ros.recognition.decision import Evidence, decide
from vpr_ros.recognition.described import Described, Query
from vpr_ros.recognition.describing import Describer
from vpr_ros.recognition.over_time.own_past import OwnPast
from vpr_ros.recognition.over_time.plausibility import Plausibility
from vpr_ros.recognition.pipeline import Pipeline
from vpr_ros.recognition.thresholds import thresholds
from vpr_ros.recognition.thumbnails import encode_thumbnail
from vpr_ros.records import Camera, Place, Pose, Recognition, Timings, Verdict, View


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
            camera: name of the only camera, as in the map, which may know its intrinsics.

        Raises:
            ConfigError: neither the settings nor the weights give a similarity threshold for this
                map, no calibrator belongs to the probability asked for, or the model's descriptors
                depend on the batch.
            MapError: the map's calibrator is damaged.
        """
        model.require_single_image()
        self.model = model
        self.place_map = place_map
        self.session_id = session_id
        self.camera = camera
        self._eyes = Describer(model)
        self._plausibility = Plausibility()
        self._queries = 0
        self._adopt(config or RecognizerConfig())
        self._keyframes = KeyframeSelector(self.config.keyframes)
        self._past = OwnPast(self.config.decision)

    @property
    def threshold(self) -> float:
        """Least similarity to accept."""
        return self.thresholds.similarity

    def check(self, config: RecognizerConfig) -> None:
        """Raise what `retune` would."""
        thresholds(self.model, self.place_map, config, self._calibrator(config))

    def retune(self, config: RecognizerConfig) -> None:
        """Go on with other settings; what was remembered of the queries before is forgotten.

        Raises:
            ConfigError: as the constructor; the settings before stay in force.
        """
        self._adopt(config)
        self._keyframes.config = config.keyframes
        self._past.config = config.decision
        self._plausibility.reset()

    def forget(self) -> None:
        """Forget where the robot was: the next query stands for itself."""
        self._pipeline.reset()
        self._plausibility.reset()

    def look_ahead(self) -> None:
        """Make ready for the next image, after an answer was sent; no answer depends on it."""
        self._pipeline.look_ahead()

    def follow_map(self) -> None:
        """Take note of places that others have added to the map; they are not the own past."""
        self._pipeline.follow_map()

    def see_through(self, camera: Camera, name: str | None = None) -> None:
        """Take the model of a camera, which came later; it belongs to the places to come, too.

        Where it does not say how it is mounted, the map's word holds.

        Args:
            camera: its model.
            name: as in the map; None: the only one.
        """
        name = self.camera if name is None else name
        known = self.place_map.camera(name)
        if camera.base is None and known is not None:
            camera = replace(camera, base=known.base)
        self._pipeline.see_through(name, camera)
        if self.session_id is not None and known != camera:
            self.place_map.beside.put_camera(name, camera)

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
            pose: base in map or odometry frame at that time, where known; not finite is not known.
            depth: (H, W), float32, metres, aligned with the image; 0 or nan where not known.

        Returns:
            The answer; never raises for a bad image, which is answered with BAD_IMAGE.
        """
        return self.recognize_views([View(image, self.camera, depth)], stamp_ns, pose)

    def recognize_views(
        self,
        views: Sequence[View],
        stamp_ns: int,
        pose: Pose | None = None,
        attach: bool = False,
    ) -> Recognition:
        """Answer what several cameras saw at one moment: each place by the view most like it.

        Views in which nothing can be seen are left out; if all are, the answer is BAD_IMAGE.

        Args:
            views: one of each camera.
            stamp_ns: when they were taken.
            pose: base in map or odometry frame at that time, where known.
            attach: similarities and descriptors to the answer.
        """
        pose = sound_pose(pose)
        self._pipeline.begin(views)
        described, timings, fault = self._eyes.describe(views, pose)
        if not described:
            self._follow(stamp_ns, pose)
            return self.refuse(stamp_ns, Verdict.BAD_IMAGE, fault)
        query = Query(tuple(described), stamp_ns, pose)
        recognition = self._answer(query, timings, attach)
        if not attach:
            return recognition
        return replace(recognition, descriptors={x.camera: x.descriptor for x in described})

    def answer(
        self, query: Query, timings: Timings | None = None, attach: bool = False
    ) -> Recognition:
        """Search, decide, remember: `recognize` for an image that is described already.

        Args:
            query: described.
            timings: of the steps before.
            attach: similarities to the answer.
        """
        return self._answer(replace(query, pose=sound_pose(query.pose)), timings, attach)

    def _answer(self, query: Query, timings: Timings | None, attach: bool) -> Recognition:
        """As `answer`, of a query whose pose is one, or not known."""
        self._follow(query.stamp_ns, query.pose)
        evidence, spent = self._pipeline.collect(query, self._past.hidden(query.stamp_ns))
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
        similarities = evidence.similarities if attach and evidence else None
        return replace(recognition, place=place, timings=timings, similarities=similarities)

    def refuse(self, stamp_ns: int, verdict: Verdict, reason: str) -> Recognition:
        """Answer without a search: the image could not be read, or there is nothing to search."""
        self._pipeline.interrupt()
        return Recognition(self._next_id(), stamp_ns, verdict, reason)

    def _adopt(self, config: RecognizerConfig) -> None:
        calibrator = self._calibrator(config)
        self.thresholds = thresholds(self.model, self.place_map, config, calibrator)
        before = getattr(self, '_pipeline', None)
        self._pipeline = Pipeline(
            self.place_map, config, self.model.input.size, calibrator, self.thresholds
        )
        if before is not None:
            self._pipeline.take_cameras(before)
        self.config = config

    def _calibrator(self, config: RecognizerConfig) -> Calibrator | None:
        return calibrator_for(self.model, self.place_map, config.verification.candidates > 0)

    def _decided(self, query: Query, evidence: Evidence) -> Recognition:
        best, travelled_m = evidence.candidates[0], self._past.travelled_m
        excess_m = self._plausibility.excess_m(best.place, travelled_m)
        evidence = replace(evidence, excess_m=excess_m)
        decision = decide(evidence, self.thresholds, self.config)
        if decision.verdict is Verdict.ACCEPTED:
            self._plausibility.accept(best.place, travelled_m)
        elif decision.verdict is not Verdict.TEMPORAL_PENDING:
            self._pipeline.interrupt()
        return Recognition(
            self._next_id(), query.stamp_ns, decision.verdict, decision.reason,
            evidence.candidates, evidence.agreeing, signals=evidence.signals,
            probability=evidence.probability, ambiguity=evidence.ambiguity, pool=evidence.pool,
            assumed=evidence.assumed,
        )  # fmt: skip

    def _next_id(self) -> int:
        self._queries += 1
        return self._queries - 1

    def _follow(self, stamp_ns: int, pose: Pose | None) -> None:
        if not self._past.follow(stamp_ns, pose):
            self.forget()

    def _remember(self, query: Query) -> Place | None:
        """Each view becomes a place of the map; the first one is told."""
        if self.session_id is None or not self._keyframes.take(query.stamp_ns, query.pose):
            return None
        if not self._past.takes(query.stamp_ns):
            return None
        places = [self._added(query, view) for view in query.views]
        self._pipeline.follow_map()
        return places[0]

    def _added(self, query: Query, view: Described) -> Place:
        assert self.session_id is not None
        travelled_m = self._past.travelled_m
        place = Place(0, self.session_id, query.stamp_ns, query.pose, view.camera, travelled_m)
        thumbnail = None if view.image is None else encode_thumbnail(view.image)
        place = self.place_map.add(place, view.descriptor, thumbnail, view.local)
        self._past.add(place, len(self.place_map) - 1)
        return place
