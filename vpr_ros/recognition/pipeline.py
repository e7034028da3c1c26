"""The stages between a described query and the decision: search, re-rank, verify, time, weigh."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vpr_ros.config import RecognizerConfig
from vpr_ros.maps.index import most_similar
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.recognition.calibration import Calibrator, default_calibrator
from vpr_ros.recognition.confirming import Confirmer, least_similarity
from vpr_ros.recognition.decision import Evidence, Thresholds
from vpr_ros.recognition.described import Query, by_view
from vpr_ros.recognition.neighbourhood import PlaceArrays
from vpr_ros.recognition.over_time.agreement import Agreement
from vpr_ros.recognition.over_time.methods import TemporalQuery, build_temporal
from vpr_ros.recognition.reranking import build_reranker
from vpr_ros.recognition.signals import ambiguity, margin, measure
from vpr_ros.records import Camera, Candidate, Pose, Timings, View

CERTAIN = 0.5  # support of a place above which no other can have more


class Pipeline:
    """Collect the evidence on one query after the other; keeps what the temporal stage remembers.

    Stages that are switched off cost nothing.
    """

    def __init__(
        self,
        place_map: PlaceMap,
        config: RecognizerConfig,
        input_size: tuple[int, int],
        calibrator: Calibrator | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        """Build the stages that the settings ask for.

        Args:
            place_map: what is searched.
            config: of the stages.
            input_size: height and width of the model's input, which local positions refer to.
            calibrator: gives the probability; None: it stays unknown. Of a candidate that was not
                verified where candidates are, the default by similarities alone gives it.
            thresholds: what will decide, so that nothing is verified that is refused in any case.
        """
        self.place_map, self.config = place_map, config
        self.calibrator = self._unverified = calibrator
        if calibrator and config.verification.candidates:  # which knows geometry as a rule
            self._unverified = default_calibrator(verified=False)
        self._arrays = PlaceArrays(place_map.places)
        self._rows = {place.id: row for row, place in enumerate(place_map.places)}
        self._cameras: dict[str, Camera | None] = {}
        self._names = {place.camera for place in place_map.places}
        self._reranker = build_reranker(config.reranking)
        least = least_similarity(config, thresholds)
        self._confirmer = Confirmer(
            place_map, config.verification, input_size, self._rows, self.camera, least
        )
        self._temporal = build_temporal(config.temporal, config.decision.neighbourhood_m)
        self._agreement = Agreement(config.decision)  # of queries that were not refused
        self._run = Agreement(config.decision)  # of all: evidence, whatever was decided before

    def reset(self) -> None:
        """Forget the queries before: after a jump in time, or one that could not be answered."""
        self._agreement.reset()
        self._run.reset()
        self._temporal.reset()

    def interrupt(self) -> None:
        """A refused query ends the run that may be accepted; what was seen stays evidence."""
        self._agreement.reset()

    def follow_map(self) -> None:
        """Take note of the places that the map has got."""
        for row, place in enumerate(self.place_map.places[len(self._arrays) :], len(self._arrays)):
            self._rows[place.id] = row
            self._names.add(place.camera)
        self._arrays.follow(self.place_map.places)

    def see_through(self, name: str, camera: Camera) -> None:
        """Take the model of a camera of the queries."""
        self._cameras[name] = camera

    def take_cameras(self, other: Pipeline) -> None:
        """Take over the models of cameras that another one knows."""
        self._cameras.update(other._cameras)

    def camera(self, name: str) -> Camera | None:
        """The model of a camera of the queries: what was told, else what the map knows."""
        if name not in self._cameras:
            self._cameras[name] = self.place_map.camera(name)
        return self._cameras[name]

    def begin(self, views: Sequence[View]) -> None:
        """Told of views that are about to be described; what can begin meanwhile does."""
        self._confirmer.begin(views)

    def look_ahead(self) -> None:
        """Make ready for the next query; no answer depends on it."""
        self._confirmer.look_ahead()

    def collect(self, query: Query, hidden: Sequence[int] = ()) -> tuple[Evidence | None, Timings]:
        """Everything found out about a query, or None where there is no place to compare with.

        Args:
            query: described.
            hidden: rows of the map that may not be matched.
        """
        clock = _Clock()
        similarities, seen_by = self._compared(query, hidden)
        candidates = self._search(query, similarities, seen_by)
        search_ms = clock.lap()
        if not candidates:
            return None, Timings(search_ms=search_ms)
        candidates, pool = self._reranked(query, candidates)
        rerank_ms = clock.lap()
        candidates = self._confirmer.confirm(query, candidates)
        verify_ms = clock.lap()
        evidence = self._weighed(query, similarities, seen_by, candidates, pool)
        timings = Timings(
            search_ms=search_ms, rerank_ms=rerank_ms, verify_ms=verify_ms, decide_ms=clock.lap()
        )
        return evidence, timings

    def _compared(self, query: Query, hidden: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Similarity of every place to the view that is most like it, and which view that is."""
        each = [self.place_map.similarities(view.descriptor) for view in query.views]
        if len(each) == 1:
            similarities, seen_by = each[0], np.zeros(len(each[0]), np.intp)
        else:
            seen_by = np.argmax(each, axis=0)
            similarities = np.max(each, axis=0)
        if len(hidden):
            similarities[np.asarray(hidden)] = -np.inf
        return similarities, seen_by

    def _search(
        self, query: Query, similarities: np.ndarray, seen_by: np.ndarray
    ) -> list[Candidate]:
        wanted = max(self.config.search.top_k, self._reranker.wanted)
        rows = most_similar(similarities, wanted)
        return [self._candidate(query, row, similarities, seen_by) for row in rows]

    def _candidate(
        self, query: Query, row: int, similarities: np.ndarray, seen_by: np.ndarray
    ) -> Candidate:
        camera = query.views[seen_by[row]].camera
        return Candidate(self.place_map.places[row], float(similarities[row]), seen_by=camera)

    def _reranked(self, query: Query, candidates: list[Candidate]) -> tuple[list[Candidate], int]:
        """Each view orders the candidates that it found; scores of two views compare."""
        read, pool = self.place_map.local_features, 0
        scored: list[Candidate] = []
        others: list[Candidate] = []
        for view, some in by_view(query, candidates):
            found = self._reranker.rerank(view.local, some, read)
            pool += found.pool
            for candidate in found.candidates:
                (others if candidate.score is None else scored).append(candidate)
        if len(query.views) > 1:
            scored.sort(key=lambda candidate: -(candidate.score or 0.0))
            others.sort(key=lambda candidate: -candidate.similarity)
        return (scored + others)[: self.config.search.top_k], pool

    def _weighed(
        self, query: Query, similarities: np.ndarray, seen_by: np.ndarray,
        candidates: list[Candidate], pool: int,
    ) -> Evidence:  # fmt: skip
        """Time, signals, probability."""
        support = self._temporal.update(
            TemporalQuery(
                similarities, self.place_map.places, query.stamp_ns, query.pose,
                self._rows[candidates[0].place.id],
            )
        )  # fmt: skip
        ranked = candidates[0]
        if support.row >= 0 and support.believed > max(CERTAIN, support.mass):
            believed = self._candidate(query, support.row, similarities, seen_by)
            candidates = self._first(believed, candidates)
        mass = support.mass if candidates[0] is ranked else support.believed
        if candidates[0] is not ranked and candidates[0].verification is None:
            candidates = self._confirmer.confirm(query, candidates[:1]) + candidates[1:]
        best = candidates[0]
        count = self._agreement.update(query.stamp_ns, best.place, query.repeated)
        run = self._run.update(query.stamp_ns, best.place, query.repeated)
        within_m = self.config.decision.neighbourhood_m
        signals = measure(similarities, self._rows[best.place.id], self._arrays, within_m)
        signals = replace(
            signals, **_geometry(best), local=_local(best, query), support=mass,
            agreement=float(run), margin=margin(candidates, self._rows, self._arrays, within_m),
        )  # fmt: skip
        calibrator = self.calibrator if best.tried else self._unverified
        probability = calibrator.probability(signals) if calibrator else math.nan
        return Evidence(
            tuple(candidates), signals, probability, ambiguity(signals), count, pool,
            similarities=similarities, assumed=self.assumed(query, best),
        )  # fmt: skip

    def _first(self, believed: Candidate, candidates: list[Candidate]) -> list[Candidate]:
        """The place that the queries before point to, where they are sure of it, comes first."""
        same = [c for c in candidates if c.place.id == believed.place.id] or [believed]
        rest = [c for c in candidates if c.place.id != believed.place.id]
        return (same + rest)[: self.config.search.top_k]

    def assumed(self, query: Query, best: Candidate) -> Pose | None:
        """The place's base in the query's if the two cameras stood alike; None: not known.

        With `X_to C_to = X_from C_from` for the mountings C, `X_to = X_from * T`.
        """
        alike = best.seen_by == best.place.camera
        ours, theirs = self.camera(best.seen_by), self.place_map.camera(best.place.camera)
        if not alike and ours and theirs and ours.base and theirs.base:
            return ours.base @ theirs.base.inverse()
        # Where each side has one camera, names may differ: maps of recordings have topics there.
        single = len(query.views) == 1 and len(self._names) == 1
        return Pose((0.0, 0.0, 0.0)) if alike or single else None


class _Clock:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Milliseconds since the last lap."""
        now = time.perf_counter()
        elapsed, self._last = now - self._last, now
        return 1e3 * elapsed


def _geometry(best: Candidate) -> dict[str, float]:
    found = best.verification
    if found is None:
        return {}
    return {'inliers': float(found.inliers), 'inlier_ratio': found.ratio}


def _local(best: Candidate, query: Query) -> float:
    """Share of the query's local features that found their like in the best place."""
    ((view, _),) = by_view(query, [best])
    if best.matches is None or view.local is None:
        return math.nan
    return best.matches / max(1, int(view.local.valid.sum()))
