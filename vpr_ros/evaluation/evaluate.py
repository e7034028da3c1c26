"""Score what has been computed already: descriptors, or the answers of the front door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.answers import (
    checked_stamps,
    ranking_of,
    timing_table,
    verdict_counts,
)
from vpr_ros.evaluation.bootstrap import Bootstrap, bootstrap, default_block
from vpr_ros.evaluation.events import Answers, count_closures
from vpr_ros.evaluation.precision_recall import (
    Scored,
    curve,
    multi_match,
    single_best,
    summarise,
)
from vpr_ros.evaluation.protocols import Track, Truth, TruthRule, truth
from vpr_ros.evaluation.ranking import Ranking, checked_descriptors, rank_descriptors
from vpr_ros.evaluation.recall import KS, hits, recall_at, unjudged
from vpr_ros.evaluation.relative_poses import PoseErrors, relative_errors
from vpr_ros.evaluation.result import Acceptance, Evaluation, Evidence, Setup
from vpr_ros.records import Recognition


@dataclass(frozen=True)
class DescribedSet:
    """N images already described: unit descriptors (N, D), and what is known of their poses."""

    descriptors: np.ndarray
    track: Track = Track()


@dataclass(frozen=True)
class Options:
    """How figures are computed; `block` None: see `bootstrap.default_block`."""

    top_k: int = max(KS)
    replicates: int = 1000
    block: int | None = None
    seed: int = 0


def evaluate_descriptors(
    queries: DescribedSet,
    references: DescribedSet | None,
    rule: TruthRule | Truth,
    *,
    threshold: float | None = None,
    setup: Setup | None = None,
    options: Options | None = None,
) -> Evaluation:
    """Find the nearest references of every query by descriptor, and score them.

    Without references each query is compared with the past of its own drive. `rule` may also be
    a finished table of truth, for data that are labelled by hand. A best reference is accepted
    at similarity >= `threshold`; without one, the threshold of largest recall at full
    precision is taken with hindsight and marked so.

    Raises:
        DatasetError: descriptors that are not finite, not of unit length or of two lengths, or a
            rule that asks for what the tracks do not have.
    """
    options = options or Options()
    others = queries if references is None else references
    ours, theirs = descriptor_pair(queries, others)
    track = None if references is None else references.track
    table = truth_table(rule, queries.track, track, (len(ours), len(theirs)))
    ranking, similarity = rank_descriptors(ours, theirs, table.admissible, options.top_k)
    evidence = Evidence(table, ranking, queries.track, others.track, similarity)
    acceptance = acceptance_at(threshold, evidence)
    accepted = ranking.answered & (best_similarity(ranking) >= acceptance.limit)
    return assemble(
        evidence,
        accepted,
        acceptance,
        setup=setup or Setup(),
        options=options,
        descriptor_length=ours.shape[1],
    )


def score_recognitions(
    recognitions: Sequence[Recognition],
    queries: Track,
    rule: TruthRule | Truth,
    references: Track | None = None,
    reference_ids: np.ndarray | None = None,
    *,
    setup: Setup | None = None,
    options: Options | None = None,
    confidence: Callable[[Recognition], float] | None = None,
) -> Evaluation:
    """Score what the front door answered; row q of `queries` is the true pose of answer q.

    Against a map, `references` are the true poses of its places and `reference_ids` (R,) their
    ids, in the same order (0, 1, 2, ... if not given). Within one drive, places are found among
    the queries by their stamp. Answers are ordered by `confidence`; None: by the similarity of the
    best candidate.

    Raises:
        DatasetError: lengths or stamps that do not fit, or a candidate that is not among the
            references.
    """
    stamps = checked_stamps(recognitions, queries)
    others = queries if references is None else references
    keys = stamps if references is None else reference_ids
    keys = np.arange(len(others)) if keys is None else keys
    rows = {int(key): row for row, key in enumerate(keys)}
    table = truth_table(rule, queries, references, (len(stamps), len(others)))
    ranking = ranking_of(recognitions, rows, by_stamp=references is None)
    if confidence is not None:
        ranking.similarities[:, 0] = [confidence(recognition) for recognition in recognitions]
    accepted = np.array([r.accepted is not None for r in recognitions])
    return assemble(
        Evidence(table, ranking, queries, others, None),
        accepted,
        Acceptance('the verdict of the recogniser'),
        setup=setup or Setup(),
        options=options or Options(),
        recognitions=recognitions,
    )


def assemble(
    evidence: Evidence,
    accepted: np.ndarray,
    acceptance: Acceptance,
    *,
    setup: Setup,
    options: Options,
    descriptor_length: int | None = None,
    recognitions: Sequence[Recognition] = (),
) -> Evaluation:
    """Compute every figure from rankings, truth and what was accepted (Q,)."""
    table, ranking = evidence.truth, evidence.ranking
    answers = judged(evidence, accepted)
    scored = single_best(ranking, table)
    points = curve(scored)
    pairs = None
    if evidence.similarity is not None:
        pairs = curve(multi_match(evidence.similarity, table))
    return Evaluation(
        setup=setup,
        queries=len(table.positive),
        references=table.positive.shape[1],
        descriptor_length=descriptor_length or setup.descriptor_length,
        recall=recall_at(hits(ranking, table.positive), table.has_positive),
        single_best=summarise(points),
        single_best_curve=points,
        multi_match=None if pairs is None else summarise(pairs),
        multi_match_curve=pairs,
        bootstrap=resampled(evidence, scored, answers, options),
        acceptance=acceptance,
        closures=count_closures(answers, evidence.queries),
        verdicts=verdict_counts(recognitions),
        timings=timing_table(recognitions),
        poses=pose_errors(recognitions, evidence, answers),
        answers=answers,
        evidence=evidence,
    )


def descriptor_pair(
    queries: DescribedSet, references: DescribedSet
) -> tuple[np.ndarray, np.ndarray]:
    """Checked descriptors of both sides, of one length."""
    ours = checked_descriptors(queries.descriptors, 'queries')
    if references is queries:
        return ours, ours
    theirs = checked_descriptors(references.descriptors, 'references')
    if ours.shape[1] != theirs.shape[1]:
        raise DatasetError(
            f'queries have descriptors of length {ours.shape[1]}, references of length '
            f'{theirs.shape[1]}; describe both with the same model'
        )
    return ours, theirs


def truth_table(
    rule: TruthRule | Truth, queries: Track, references: Track | None, shape: tuple[int, int]
) -> Truth:
    """The finished table, or the one the rule gives; it must fit the (Q, R) images."""
    table = rule if isinstance(rule, Truth) else truth(rule, queries, references)
    if table.positive.shape != shape:
        raise DatasetError(
            f'truth is known for {table.positive.shape[0]} x {table.positive.shape[1]} pairs, '
            f'but there are {shape[0]} queries and {shape[1]} references'
        )
    return table


def acceptance_at(threshold: float | None, evidence: Evidence) -> Acceptance:
    """The given threshold, or the best one of full precision found with hindsight."""
    if threshold is not None:
        return Acceptance('a threshold given beforehand', threshold)
    best = summarise(curve(single_best(evidence.ranking, evidence.truth)))
    how = 'the threshold of largest recall at full precision, picked with hindsight'
    return Acceptance(how, best.threshold_at_100_precision, hindsight=True)


def best_similarity(ranking: Ranking) -> np.ndarray:
    """Similarity of the best reference (Q,), -1 where there is none."""
    return np.where(ranking.answered, ranking.similarities[:, 0].astype(float), -1.0)


def judged(evidence: Evidence, accepted: np.ndarray) -> Answers:
    """What was said and what was true, for each query."""
    table, ranking = evidence.truth, evidence.ranking
    error = np.full(len(accepted), np.nan)
    ours, theirs = evidence.queries.positions_m, evidence.references.positions_m
    if ours is not None and theirs is not None:
        some = ranking.answered
        error[some] = np.linalg.norm(ours[some] - theirs[ranking.indices[some, 0]], axis=1)
    return Answers(
        accepted=accepted,
        correct=hits(ranking, table.positive)[:, 0],
        ignored=unjudged(ranking, table)[:, 0],
        has_positive=table.has_positive,
        error_m=error,
    )


def pose_errors(
    recognitions: Sequence[Recognition], evidence: Evidence, answers: Answers
) -> dict[str, PoseErrors]:
    """Errors of the relative poses that the front door measured."""
    if not recognitions:
        return {}
    return relative_errors(
        recognitions, evidence.ranking.indices[:, 0], answers.correct, evidence.queries,
        evidence.references,
    )  # fmt: skip


def resampled(
    evidence: Evidence, scored: Scored, answers: Answers, options: Options
) -> Bootstrap | None:
    """Intervals of the single-best figures, or None where there is nothing to find."""
    if not scored.positives or not options.replicates:
        return None
    ordered = evidence.queries.stamps_ns is not None
    return bootstrap(
        scored,
        has_positive=answers.has_positive,
        found_first=answers.correct,
        block=options.block or default_block(len(answers.correct), ordered),
        replicates=options.replicates,
        seed=options.seed,
    )
