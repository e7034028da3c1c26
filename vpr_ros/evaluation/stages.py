"""Does a stage earn its place? One ride answered with more and more of the stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vpr_ros.config import RecognizerConfig
from vpr_ros.evaluation.drives import places_of
from vpr_ros.evaluation.evaluate import Options, score_recognitions
from vpr_ros.evaluation.protocols import Track
from vpr_ros.evaluation.result import Evaluation, plain
from vpr_ros.evaluation.rides import Prepare, Ride, map_of, nothing, play
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.calibration import calibrator_for
from vpr_ros.recognition.confirming import thorough
from vpr_ros.recognition.drive import Progress
from vpr_ros.records import Recognition, Timings

Confidence = Callable[[Recognition], float]
Change = Callable[[RecognizerConfig], RecognizerConfig]

VERIFIED = 3  # candidates, where the settings ask for none
LIKELY = 0.9  # probability asked for, where the settings ask for none


@dataclass(frozen=True)
class Stage:
    """A name, the settings that switch the stage on, and how sure it is of its best candidate."""

    name: str
    change: Change
    confidence: Confidence


def by_similarity(answer: Recognition) -> float:
    best = answer.best
    return best.similarity if best else -1.0


def by_score(answer: Recognition) -> float:
    """The fused score, where candidates were re-ranked."""
    best = answer.best
    return best.score if best and best.score is not None else by_similarity(answer)


def by_inliers(answer: Recognition) -> float:
    """Inliers; of equals, what the stages before say."""
    best = answer.best
    inliers = best.verification.inliers if best and best.verification else 0
    return inliers + math.tanh(by_score(answer)) / 2


def by_support(answer: Recognition) -> float:
    """What the stages before say, as far as the queries before support it."""
    support = answer.signals.support if answer.signals else math.nan
    verified = answer.best is not None and answer.best.verification is not None
    before = by_inliers(answer) if verified else 1.0 + by_similarity(answer)
    return 0.0 if math.isnan(support) else support * before


def by_probability(answer: Recognition) -> float:
    return -1.0 if math.isnan(answer.probability) else answer.probability


def bare(config: RecognizerConfig) -> RecognizerConfig:
    """Similarity and a threshold alone."""
    return replace(
        config,
        reranking=replace(config.reranking, method='none'),
        verification=replace(config.verification, candidates=0),
        temporal=replace(config.temporal, method='none'),
    )


def with_reranking(config: RecognizerConfig) -> RecognizerConfig:
    return replace(config, reranking=replace(config.reranking, method='folpp'))


def with_verification(config: RecognizerConfig) -> RecognizerConfig:
    candidates = config.verification.candidates or VERIFIED
    config = replace(config, verification=replace(config.verification, candidates=candidates))
    return thorough(config)


def with_agreement(config: RecognizerConfig) -> RecognizerConfig:
    return replace(config, temporal=replace(config.temporal, method='agreement'))


def with_filter(config: RecognizerConfig) -> RecognizerConfig:
    return replace(config, temporal=replace(config.temporal, method='filter'))


def with_sequence(config: RecognizerConfig) -> RecognizerConfig:
    return replace(config, temporal=replace(config.temporal, method='sequence'))


def with_probability(config: RecognizerConfig) -> RecognizerConfig:
    decision = config.decision
    if not decision.max_false_closure_rate and not decision.min_probability:
        decision = replace(decision, min_probability=LIKELY)
    return replace(config, decision=decision)


def chain(*changes: Change) -> Change:
    def changed(config: RecognizerConfig) -> RecognizerConfig:
        for change in changes:
            config = change(config)
        return config

    return changed


def stages(has_local: bool, calibrated: bool) -> list[Stage]:
    """Each stage on top of those before it, then each by itself.

    Args:
        has_local: the model gives local features, so that candidates can be re-ranked.
        calibrated: there is a calibrator.
    """
    first = [with_reranking] if has_local else []
    second = [*first, with_verification]
    third = [*second, with_filter]
    found = [Stage('similarity alone', bare, by_similarity)]
    if has_local:
        found.append(Stage('+ re-ranking', chain(bare, *first), by_score))
    found += [
        Stage('+ verification', chain(bare, *second), by_inliers),
        Stage('+ time (filter)', chain(bare, *third), by_support),
    ]
    if calibrated:
        found.append(Stage('+ probability', chain(bare, *third, with_probability), by_probability))
    return found + alone(calibrated)


def alone(calibrated: bool) -> list[Stage]:
    """Stages by themselves."""
    found = [
        Stage('verification alone', chain(bare, with_verification), by_inliers),
        Stage('agreement alone', chain(bare, with_agreement), by_similarity),
        Stage('filter alone', chain(bare, with_filter), by_support),
        Stage('sequence alone', chain(bare, with_sequence), by_support),
    ]
    if calibrated:
        probable = chain(bare, with_probability)
        both = chain(bare, with_agreement, with_probability)
        found += [
            Stage('probability alone', probable, by_probability),
            Stage('agreement, probability', both, by_probability),
        ]
    return found


@dataclass(frozen=True)
class StageResult:
    """What one set of stages makes of a ride."""

    name: str
    evaluation: Evaluation
    spent_ms: float  # of its own on a query, median: search and describing not counted

    def figures(self) -> dict[str, Any]:
        """The figures of one row of the table; None where not defined."""
        closures, best = self.evaluation.closures, self.evaluation.single_best
        per_thousand = 1000.0 * closures.wrong / max(1, self.evaluation.queries)
        return plain(
            {
                'stages': self.name,
                'r@1': self.evaluation.recall.of_matchable[0],
                'ap': best.average_precision,
                'r@100p': best.recall_at_100_precision,
                'right': closures.correct,
                'of': closures.matchable,
                'wrong': closures.wrong,
                'wrong per 1000': per_thousand,
                'wrong per km': closures.wrong_per_km,
                'delay s': closures.latency_s.mean if closures.latency_s else None,
                'own ms': self.spent_ms,
            }
        )


def compare(
    model: PlaceModel,
    ride: Ride,
    config: RecognizerConfig,
    chosen: Sequence[Stage] | None = None,
    prepare: Prepare = nothing,
    progress: Progress = lambda done, total: None,
) -> list[StageResult]:
    """Answer a ride with each set of stages and score the answers.

    Args:
        model: that described it.
        ride: what is asked.
        config: settings of the stages; which of them are on is up to each set.
        chosen: sets of stages; None: those of `stages`.
        prepare: is given each map and the settings before the first query, to put a calibrator
            into it.
        progress: called with sets answered and sets in all.
    """
    if chosen is None:
        has_local = any(query.views[0].local is not None for query in ride.queries)
        chosen = stages(has_local, is_calibrated(model, ride, config, prepare))
    results = []
    for stage in chosen:
        answers = play(model, ride, stage.change(config), prepare)
        results.append(scored(ride, stage, answers))
        progress(len(results), len(chosen))
    return results


def is_calibrated(
    model: PlaceModel, ride: Ride, config: RecognizerConfig, prepare: Prepare
) -> bool:
    """Whether there will be a calibrator when the ride is answered."""
    with map_of(model, ride) as place_map:
        prepare(place_map, config)
        return calibrator_for(model, place_map) is not None


def scored(ride: Ride, stage: Stage, answers: list[Recognition]) -> StageResult:
    """Score the answers by the confidence of a stage."""
    evaluation = score_recognitions(
        answers,
        ride.track,
        ride.rule,
        *_places(ride),
        options=Options(replicates=0),
        confidence=stage.confidence,
    )
    own = sorted(_own_ms(answer.timings) for answer in answers)
    return StageResult(stage.name, evaluation, own[len(own) // 2])


def _places(ride: Ride) -> tuple[Track | None, np.ndarray | None]:
    """Track and ids of the places that were there before the ride; None where there were none."""
    if ride.map_path is None:
        count = len(ride.references or ())
        return ride.reference_track, np.arange(1, count + 1) if count else None
    with PlaceMap.open(ride.map_path, None) as place_map:
        return places_of(place_map, ride.track.viewing_axis)


def _own_ms(timings: Timings) -> float:
    return timings.rerank_ms + timings.verify_ms + timings.decide_ms
