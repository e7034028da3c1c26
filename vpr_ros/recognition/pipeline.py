"""The stages between a described query and the decision: search, re-rank, verify, time, weigh."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.config import RecognizerConfig
from vpr_ros.maps.index import most_similar
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.recognition.agreement import Agreement
from vpr_ros.recognition.calibration import Calibrator
from vpr_ros.recognition.decision import Evidence
from vpr_ros.recognition.neighbourhood import PlaceArrays
from vpr_ros.recognition.reranking import build_reranker
from vpr_ros.recognition.signals import ambiguity, measure
from vpr_ros.recognition.temporal import Support, TemporalQuery, build_temporal
from vpr_ros.recognition.verification import QueryView, Verifier, passed
from vpr_ros.records import Camera, Candidate, LocalFeatures, Place, Pose, Timings

CERTAIN = 0.5  # support of a place above which no other can have more


@dataclass(frozen=True)
class Query:
    """One described image and what is known of its moment.

    `descriptor` is (D,), float32, unit length; `image` RGB uint8 (H, W, 3); `depth` (H, W) float32
    in metres, aligned with it. A `repeated` image is the same as the one before.
    """

    descriptor: np.ndarray
    stamp_ns: int
    pose: Pose | None = None
    local: LocalFeatures | None = None
    image: np.ndarray | None = None
    depth: np.ndarray | None = None
    repeated: bool = False


class Pipeline:
    """Collect the evidence on one query after the other; keeps what the temporal stage remembers.

    Stages that are switched off cost nothing.
    """

    def __init__(
        self,
        place_map: PlaceMap,
        config: RecognizerConfig,
        input_size: tuple[int, int],
        camera: Camera | None = None,
        calibrator: Calibrator | None = None,
    ) -> None:
        """Build the stages that the settings ask for.

        Args:
            place_map: what is searched.
            config: of the stages.
            input_size: height and width of the model's input, which local positions refer to.
            camera: of the queries, where it is known.
            calibrator: gives the probability; None: it stays unknown.
        """
        self.place_map, self.config = place_map, config
        self.calibrator = calibrator
        self._input_size = input_size
        self._arrays = PlaceArrays(place_map.places)
        self._rows = {place.id: row for row, place in enumerate(place_map.places)}
        self._reranker = build_reranker(config.reranking)
        self._verifier = Verifier(config.verification, place_map, camera)
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

    def added(self, place: Place) -> None:
        """Take note of a place that the map has got."""
        self._rows[place.id] = len(self._arrays)
        self._arrays.extend([place])

    def see_through(self, camera: Camera) -> None:
        """Take the model of the camera of the queries."""
        self._verifier = Verifier(self.config.verification, self.place_map, camera)

    def collect(self, query: Query, before: int | None = None) -> tuple[Evidence | None, Timings]:
        """Everything found out about a query, or None where there is no place to compare with.

        Args:
            query: described.
            before: only the first so many places of the map may be matched.
        """
        clock = _Clock()
        similarities = self.place_map.similarities(query.descriptor, before)
        candidates = self._search(similarities)
        search_ms = clock.lap()
        if not candidates:
            return None, Timings(search_ms=search_ms)
        candidates, pool = self._reranked(query, candidates)
        rerank_ms = clock.lap()
        candidates = self._verified(query, candidates)
        verify_ms = clock.lap()
        evidence = self._weighed(query, similarities, candidates, pool)
        timings = Timings(
            search_ms=search_ms, rerank_ms=rerank_ms, verify_ms=verify_ms, decide_ms=clock.lap()
        )
        return evidence, timings

    def _search(self, similarities: np.ndarray) -> list[Candidate]:
        wanted = max(self.config.search.top_k, self._reranker.wanted)
        rows = most_similar(similarities, wanted)
        return [Candidate(self.place_map.places[row], float(similarities[row])) for row in rows]

    def _reranked(self, query: Query, candidates: list[Candidate]) -> tuple[list[Candidate], int]:
        found = self._reranker.rerank(query.local, candidates, self.place_map.local_features)
        return found.candidates[: self.config.search.top_k], found.pool

    def _verified(self, query: Query, candidates: list[Candidate]) -> list[Candidate]:
        """Places that geometry confirms come before those it contradicts."""
        if not self.config.verification.candidates:
            return candidates
        view = QueryView(query.image, query.local, query.depth, self._input_size)
        candidates = self._verifier.verify(view, candidates)
        return sorted(candidates, key=self._contradicted)

    def _contradicted(self, candidate: Candidate) -> bool:
        found = candidate.verification
        return found is None or not passed(found, self.config.verification)

    def _weighed(
        self, query: Query, similarities: np.ndarray, candidates: list[Candidate], pool: int
    ) -> Evidence:
        """Time, signals, probability."""
        support = self._temporal.update(
            TemporalQuery(
                similarities, self.place_map.places, query.stamp_ns, query.pose,
                self._rows[candidates[0].place.id],
            )
        )  # fmt: skip
        ranked, candidates = candidates[0], self._believed(candidates, support, similarities)
        mass = support.mass if candidates[0] is ranked else support.believed
        if candidates[0] is not ranked and candidates[0].verification is None:
            candidates = self._verified(query, candidates[:1]) + candidates[1:]
        best = candidates[0]
        count = self._agreement.update(query.stamp_ns, best.place, query.repeated)
        run = self._run.update(query.stamp_ns, best.place, query.repeated)
        signals = measure(
            similarities, self._rows[best.place.id], self._arrays,
            self.config.decision.neighbourhood_m,
        )  # fmt: skip
        signals = replace(
            signals, **_geometry(best), local=_local(best, query), support=mass,
            agreement=float(run),
        )  # fmt: skip
        probability = self.calibrator.probability(signals) if self.calibrator else math.nan
        return Evidence(tuple(candidates), signals, probability, ambiguity(signals), count, pool)

    def _believed(
        self, candidates: list[Candidate], support: Support, similarities: np.ndarray
    ) -> list[Candidate]:
        """The place that the queries before point to comes first, where they are sure of it."""
        if support.row < 0 or not support.believed > max(CERTAIN, support.mass):
            return candidates
        place = self.place_map.places[support.row]
        first = [c for c in candidates if c.place.id == place.id]
        if not first:
            first = [Candidate(place, float(similarities[support.row]))]
        return (first + [c for c in candidates if c.place.id != place.id])[
            : self.config.search.top_k
        ]


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
    if best.matches is None or query.local is None:
        return math.nan
    return best.matches / max(1, int(query.local.valid.sum()))
