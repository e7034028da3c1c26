"""The record of one evaluation, and its JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpr_ros.evaluation.bootstrap import Bootstrap
from vpr_ros.evaluation.events import Answers, Closures
from vpr_ros.evaluation.precision_recall import Curve, Summary
from vpr_ros.evaluation.protocols import Track, Truth
from vpr_ros.evaluation.ranking import Ranking
from vpr_ros.evaluation.recall import Recall
from vpr_ros.evaluation.relative_poses import PoseErrors

FORMAT = 'vpr_ros evaluation 1'
CURVE_POINTS = 1000  # a longer curve is thinned in the file; its figures are computed from all


@dataclass(frozen=True)
class Setup:
    """What was evaluated, in words for the reader of a report; empty: not stated."""

    dataset: str = ''
    model: str = ''
    image_size: tuple[int, int] | None = None  # (height, width) the model saw
    preprocessing: str = ''
    projection: str = 'none'
    batch_rule: str = 'each image alone'
    notes: dict[str, str] = field(default_factory=dict)
    descriptor_length: int | None = None  # for answers of the front door, which carry none


@dataclass(frozen=True)
class Acceptance:
    """How an answer became accepted.

    `hindsight` marks a threshold picked with the truth at hand: an upper bound, not a result.
    """

    how: str
    threshold: float | None = None
    hindsight: bool = False

    @property
    def limit(self) -> float:
        """Similarity that is enough; infinite where nothing is accepted."""
        return float('inf') if self.threshold is None else self.threshold


@dataclass(frozen=True)
class Timing:
    """Percentiles of one stage over all queries, in milliseconds."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True)
class Evidence:
    """What the figures were computed from; pictures are drawn from it. Not in the JSON."""

    truth: Truth
    ranking: Ranking
    queries: Track
    references: Track
    similarity: np.ndarray | None  # (Q, R), None if not known or too large to keep


@dataclass(frozen=True)
class Evaluation:
    """All figures of one evaluation."""

    setup: Setup
    queries: int
    references: int
    descriptor_length: int | None
    recall: Recall
    single_best: Summary
    single_best_curve: Curve
    multi_match: Summary | None  # None: no table of similarities, or too large
    multi_match_curve: Curve | None
    bootstrap: Bootstrap | None
    acceptance: Acceptance
    closures: Closures
    verdicts: dict[str, int] | None  # None: not asked of the front door
    timings: dict[str, Timing] | None
    poses: dict[str, PoseErrors]  # measured relative poses by their kind; empty: none
    answers: Answers = field(repr=False)
    evidence: Evidence = field(repr=False)

    @property
    def is_drive(self) -> bool:
        """Whether the queries follow one another; else they are a set of images."""
        return self.evidence.queries.stamps_ns is not None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the evidence, as plain values; None for what is not defined."""
        rule = self.evidence.truth.rule
        return plain(
            {
                'format': FORMAT,
                'setup': self.setup,
                'protocol': {
                    'name': rule.name if rule else 'labelled by hand',
                    'within_drive': self.evidence.truth.within_drive,
                    'rule': rule,
                },
                'queries': self.queries,
                'queries_with_a_right_answer': self.recall.matchable,
                'references': self.references,
                'descriptor_length': self.descriptor_length,
                'recall': {
                    **dataclasses.asdict(self.recall),
                    'of_all': self.recall.of_all,
                    'of_matchable': self.recall.of_matchable,
                },
                'single_best': self.single_best,
                'multi_match': self.multi_match,
                'bootstrap': self.bootstrap,
                'acceptance': self.acceptance,
                'closures': self.closures,
                'verdicts': self.verdicts,
                'timings': self.timings,
                'relative_poses': self.poses,
                'curves': {
                    'single_best': points(self.single_best_curve),
                    'multi_match': points(self.multi_match_curve),
                },
                'matches': matches(self.evidence, self.answers),
            }
        )

    def to_json(self) -> str:
        """The same as text: strict JSON, null where a figure is not defined."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


def points(curve: Curve | None) -> dict[str, Any] | None:
    """A curve in columns, thinned to about CURVE_POINTS along the recall."""
    if curve is None:
        return None
    chosen = thinned(curve)
    return {
        'points_in_all': len(curve.threshold),
        'threshold': curve.threshold[chosen],
        'precision': curve.precision[chosen],
        'recall': curve.recall[chosen] if curve.positives else None,
        'accepted': curve.accepted[chosen],
    }


def thinned(curve: Curve) -> np.ndarray:
    """Indices of about CURVE_POINTS points, even in recall and in rank; both ends are kept."""
    count = len(curve.threshold)
    if count <= CURVE_POINTS:
        return np.arange(count)
    even = np.linspace(0, count - 1, CURVE_POINTS // 2).astype(int)
    levels = np.linspace(0, curve.correct[-1], CURVE_POINTS // 2)
    return np.unique(np.concatenate((even, np.searchsorted(curve.correct, levels))))


def matches(evidence: Evidence, answers: Answers) -> dict[str, Any]:
    """One row for each query, in columns: what was answered, and what was true."""
    ranking = evidence.ranking
    rows = zip(ranking.indices[:, 0], ranking.answered, strict=True)
    best = [int(row) if answered else None for row, answered in rows]
    similarity = np.where(ranking.answered, ranking.similarities[:, 0], np.nan)
    return {
        'query_stamp_ns': evidence.queries.stamps_ns,
        'query_position_m': evidence.queries.positions_m,
        'best_reference': best,
        'similarity': similarity,
        'distance_m': answers.error_m,
        'accepted': answers.accepted,
        'correct': answers.correct,
        'ignored': answers.ignored,
        'has_right_answer': answers.has_positive,
    }


def plain(value: Any) -> Any:
    """Dataclasses, arrays and numpy numbers as plain values; nan and infinity as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
