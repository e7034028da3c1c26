"""Precision and recall over all distinct scores.

The tie rule: equal scores are accepted together, so a curve has one point for each distinct
score. It starts at recall 0, precision 1 (nothing accepted) and is never extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from vpr_ros.evaluation.protocols import Truth
from vpr_ros.evaluation.ranking import Ranking
from vpr_ros.evaluation.recall import hits, ratio, unjudged


@dataclass(frozen=True)
class Scored:
    """Answers that can be accepted: score (M,), right or wrong (M,), and what there was to find.

    `query` (M,) names the query of each answer.
    """

    score: np.ndarray
    correct: np.ndarray
    query: np.ndarray
    positives: int


@dataclass(frozen=True)
class Curve:
    """Accept score >= threshold: (T + 1) points; the first is (threshold inf, R 0, P 1).

    With no positives at all recall has no meaning; it is then 0 and every measure is None.
    """

    threshold: np.ndarray
    accepted: np.ndarray
    correct: np.ndarray
    positives: int

    @property
    def precision(self) -> np.ndarray:
        return np.where(self.accepted > 0, self.correct / np.maximum(self.accepted, 1), 1.0)

    @property
    def recall(self) -> np.ndarray:
        return self.correct / max(self.positives, 1)


@dataclass(frozen=True)
class Operating:
    """One point of a curve. `threshold` is None where nothing is accepted."""

    threshold: float | None
    precision: float
    recall: float
    f1: float
    accepted: int
    correct: int


@dataclass(frozen=True)
class Summary:
    """The usual figures of one curve; None where there was nothing to find."""

    positives: int
    answers: int
    average_precision: float | None
    auc: float | None
    recall_at_100_precision: float | None
    recall_at_99_precision: float | None
    threshold_at_100_precision: float | None
    max_f1: float | None
    threshold_at_max_f1: float | None


def single_best(ranking: Ranking, truth: Truth) -> Scored:
    """The best reference of each query is its one answer; positives = queries with a right one.

    A best reference that is not judged leaves the answer out: it is neither right nor wrong, but
    its query still counts among the positives if it had a right answer elsewhere.
    """
    hit = hits(ranking, truth.positive)[:, 0]
    rows = np.flatnonzero(ranking.answered & ~unjudged(ranking, truth)[:, 0])
    score = ranking.similarities[rows, 0]
    return Scored(score, hit[rows], rows, int(truth.has_positive.sum()))


def multi_match(similarity: np.ndarray, truth: Truth) -> Scored:
    """Every admissible pair that is not ignored is an answer; positives = all right pairs.

    `similarity` is (Q, R).
    """
    counted = truth.admissible & ~truth.ignored
    query = np.repeat(np.arange(len(similarity)), counted.sum(axis=1))
    correct = truth.positive[counted]
    return Scored(similarity[counted], correct, query, int(truth.positive.sum()))


def curve(scored: Scored, weight: np.ndarray | None = None) -> Curve:
    """Precision and recall at every distinct score.

    `weight` (M,) counts each answer that many times; `positives` is the caller's to weigh.
    """
    order = np.argsort(-scored.score, kind='stable')
    score = scored.score[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else order
    weights = np.ones(len(order), np.int64) if weight is None else weight[order]
    accepted = np.cumsum(weights)[last]
    correct = np.cumsum(weights * scored.correct[order])[last]
    return Curve(
        np.concatenate(([np.inf], score[last])),
        np.concatenate(([0], accepted)),
        np.concatenate(([0], correct)),
        scored.positives,
    )


def average_precision(points: Curve) -> float | None:
    """Sum of precision times the gain in recall, as scikit-learn defines it; no interpolation."""
    if not points.positives:
        return None
    return float(np.sum(np.diff(points.recall) * points.precision[1:]))


def area_under(points: Curve) -> float | None:
    """Area by the trapezoid rule from recall 0 to the largest recall reached."""
    if not points.positives:
        return None
    mean_precision = (points.precision[1:] + points.precision[:-1]) / 2
    return float(np.sum(np.diff(points.recall) * mean_precision))


def at_index(points: Curve, index: int) -> Operating:
    precision, recall = float(points.precision[index]), float(points.recall[index])
    f1 = 2 * precision * recall / (precision + recall) if recall else 0.0
    threshold = float(points.threshold[index]) if index else None
    counts = int(points.accepted[index]), int(points.correct[index])
    return Operating(threshold, precision, recall, f1, *counts)


def at_precision(points: Curve, precision: float) -> Operating:
    """The point of largest recall whose precision is at least this; the start if there is none.

    Among points of equal recall the most precise one is taken, with the highest threshold.
    """
    allowed = points.precision >= precision
    best = points.correct[allowed].max()
    return at_index(points, int(np.flatnonzero(allowed & (points.correct == best))[0]))


def max_f1(points: Curve) -> Operating:
    """The point with the largest F1; the highest threshold among equals."""
    recall, precision = points.recall, points.precision
    total = precision + recall
    f1 = np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)
    return at_index(points, int(np.argmax(f1)))


def summarise(points: Curve) -> Summary:
    """All figures of one curve."""
    if not points.positives:
        return Summary(0, int(points.accepted[-1]), *(None,) * 7)
    full, near, f1 = at_precision(points, 1.0), at_precision(points, 0.99), max_f1(points)
    return Summary(
        positives=points.positives,
        answers=int(points.accepted[-1]),
        average_precision=average_precision(points),
        auc=area_under(points),
        recall_at_100_precision=full.recall,
        recall_at_99_precision=near.recall,
        threshold_at_100_precision=full.threshold,
        max_f1=f1.f1,
        threshold_at_max_f1=f1.threshold,
    )


def ranking_auc(score: np.ndarray, same: np.ndarray) -> float | None:
    """Probability that a pair of the same place scores above one of different places.

    The area under the ROC curve; equal scores count half. None without pairs of both kinds.
    """
    ranks, positives = rankdata(score), int(same.sum())
    wins = ranks[same].sum() - positives * (positives + 1) / 2
    return ratio(float(wins), positives * int((~same).sum()))
