"""From evidence to one verdict with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.config import RecognizerConfig
from vpr_ros.recognition.geometry.verification import passed
from vpr_ros.records import Candidate, Pose, Signals, Verdict


@dataclass(frozen=True)
class Evidence:
    """What was found out about one query.

    `candidates` are in the order of belief. `agreeing` queries in a row, this one included, have
    their best places together. The best one lies `excess_m` further from the last accepted place
    than the robot has moved since. `similarities` (N,) are those of every place of the map;
    `assumed` is the relative pose if the two cameras stood alike.
    """

    candidates: tuple[Candidate, ...]
    signals: Signals
    probability: float = math.nan
    ambiguity: float = math.nan
    agreeing: int = 1
    pool: int = 0
    excess_m: float = math.nan
    similarities: np.ndarray | None = field(default=None, repr=False, compare=False)
    assumed: Pose | None = None


@dataclass(frozen=True)
class Thresholds:
    """What decides between yes and no; a probability of nan: similarity decides."""

    similarity: float
    probability: float = math.nan


@dataclass(frozen=True)
class Decision:
    """A verdict and the reason in words."""

    verdict: Verdict
    reason: str


def decide(evidence: Evidence, thresholds: Thresholds, config: RecognizerConfig) -> Decision:
    """Accept the best candidate or refuse it with the first reason that holds.

    In this order: too little evidence for itself, a rival as good, a geometry that contradicts, an
    odometry that does, too few queries in a row.
    """
    for check in (_weak, _ambiguous, _contradicted, _implausible, _unsupported):
        if found := check(evidence, thresholds, config):
            return found
    return Decision(Verdict.ACCEPTED, _accepted(evidence, thresholds))


def _weak(evidence: Evidence, thresholds: Thresholds, config: RecognizerConfig) -> Decision | None:
    """By probability where that decides, else by similarity."""
    if math.isnan(thresholds.probability):
        similarity = evidence.candidates[0].similarity
        if similarity >= thresholds.similarity:
            return None
        return Decision(
            Verdict.LOW_SIMILARITY,
            f'similarity {similarity:.3f} is below the threshold {thresholds.similarity:.3f}',
        )
    if evidence.probability >= thresholds.probability:
        return None
    return Decision(
        Verdict.LOW_PROBABILITY,
        f'probability {evidence.probability:.3f} is below {thresholds.probability:.3f}, '
        f'which {_wish(config)}',
    )


def _wish(config: RecognizerConfig) -> str:
    if config.decision.min_probability:
        return 'is required'
    rate = config.decision.max_false_closure_rate
    return f'keeps the false closures below {100 * rate:g} %'


def _ambiguous(
    evidence: Evidence, thresholds: Thresholds, config: RecognizerConfig
) -> Decision | None:
    limit = config.decision.max_ambiguity
    if not evidence.ambiguity > limit:  # unknown is not ambiguous
        return None
    return Decision(
        Verdict.AMBIGUOUS,
        f'another place is as good: ambiguity {evidence.ambiguity:.2f} is above {limit:.2f}',
    )


def _contradicted(
    evidence: Evidence, thresholds: Thresholds, config: RecognizerConfig
) -> Decision | None:
    found = evidence.candidates[0].verification
    if found is None or passed(found, config.verification):
        return None
    return Decision(
        Verdict.GEOMETRY_FAILED,
        f'geometry: {found.inliers} of {found.matches} matches agree, '
        f'{config.verification.min_inliers} and {config.verification.min_ratio:.0%} are needed',
    )


def _implausible(
    evidence: Evidence, thresholds: Thresholds, config: RecognizerConfig
) -> Decision | None:
    """Unless so many queries in a row agree that the odometry, or the last place, was wrong."""
    limit = config.decision.max_jump_m
    if not limit or not evidence.excess_m > limit:  # unknown is plausible
        return None
    agreeing, needed = evidence.signals.agreement, config.decision.jump_frames
    if agreeing >= needed:
        return None
    return Decision(
        Verdict.INCONSISTENT,
        f'the place is {evidence.excess_m:.1f} m further from the last accepted one than the '
        f'robot has moved: {agreeing:.0f} of {needed} agreeing queries that overrule odometry',
    )


def _unsupported(
    evidence: Evidence, thresholds: Thresholds, config: RecognizerConfig
) -> Decision | None:
    method, decision = config.temporal.method, config.decision
    if method == 'agreement' and evidence.agreeing < decision.consistent_frames:
        return Decision(
            Verdict.TEMPORAL_PENDING,
            f'{evidence.agreeing} of {decision.consistent_frames} agreeing queries so far',
        )
    support = evidence.signals.support
    if method in ('filter', 'sequence') and support < decision.min_support:
        return Decision(
            Verdict.TEMPORAL_PENDING,
            f'the queries before support this place with {support:.2f}, '
            f'{decision.min_support:.2f} are needed',
        )
    return None


def _accepted(evidence: Evidence, thresholds: Thresholds) -> str:
    best = evidence.candidates[0]
    words = [f'similarity {best.similarity:.3f} (threshold {thresholds.similarity:.3f})']
    if not math.isnan(thresholds.probability):
        words = [f'probability {evidence.probability:.3f} (needed {thresholds.probability:.3f})']
    if best.verification is not None:
        words.append(f'{best.verification.inliers} inliers')
    words.append(f'{evidence.agreeing} agreeing queries')
    return ', '.join(words)
