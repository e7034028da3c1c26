"""Curves against hand-worked numbers and against brute force over all thresholds."""

import numpy as np
import pytest

from vpr_ros.evaluation.precision_recall import (
    Scored,
    area_under,
    at_precision,
    average_precision,
    curve,
    max_f1,
    multi_match,
    ranking_auc,
    single_best,
    summarise,
)
from vpr_ros.evaluation.protocols import Truth, labelled
from vpr_ros.evaluation.ranking import rank


def scored(score, correct, positives):
    return Scored(
        np.array(score, float), np.array(correct, bool), np.arange(len(score)), positives
    )


def pairs(points):
    return list(zip(points.recall.tolist(), points.precision.tolist(), strict=True))


WORKED = scored([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0], 4)


def test_a_curve_worked_by_hand():
    points = curve(WORKED)
    assert pairs(points) == [
        (0, 1),
        (0.25, 1),
        (0.5, 1),
        (0.5, 2 / 3),
        (0.75, 3 / 4),
        (0.75, 3 / 5),
    ]
    assert average_precision(points) == pytest.approx(0.25 + 0.25 + 0.25 * 3 / 4)
    assert area_under(points) == pytest.approx(0.25 + 0.25 + 0.25 * (2 / 3 + 3 / 4) / 2)
    assert at_precision(points, 1.0).recall == 0.5
    assert at_precision(points, 1.0).threshold == 0.8
    assert at_precision(points, 0.75).recall == 0.75
    best = max_f1(points)
    assert (best.f1, best.threshold, best.accepted, best.correct) == (0.75, 0.6, 4, 3)


def test_equal_scores_enter_together_whatever_their_order():
    for correct in ([1, 0, 1], [0, 1, 1], [1, 1, 0]):
        points = curve(scored([0.5, 0.5, 0.5], correct, 2))
        assert pairs(points) == [(0, 1), (1, 2 / 3)]
        assert average_precision(points) == pytest.approx(2 / 3)
        assert at_precision(points, 1.0).recall == 0
        assert at_precision(points, 1.0).threshold is None


def test_a_wrong_surest_match_leaves_no_recall_at_full_precision():
    summary = summarise(curve(scored([0.9, 0.8], [0, 1], 1)))
    assert summary.recall_at_100_precision == 0
    assert summary.threshold_at_100_precision is None
    assert summary.average_precision == 0.5


def test_what_is_never_answered_still_counts_as_a_positive():
    assert average_precision(curve(scored([0.9], [1], 10))) == pytest.approx(0.1)


@pytest.mark.parametrize('correct', [[], [0, 0]])
def test_with_nothing_to_find_no_measure_is_defined(correct):
    summary = summarise(curve(scored([0.5] * len(correct), correct, 0)))
    assert summary.positives == 0
    assert summary.answers == len(correct)
    assert {summary.average_precision, summary.auc, summary.max_f1} == {None}


def test_without_answers_everything_is_missed():
    summary = summarise(curve(scored([], [], 3)))
    assert summary.average_precision == summary.auc == summary.max_f1 == 0
    assert summary.recall_at_100_precision == 0


@pytest.mark.parametrize('seed', range(20))
def test_brute_force_over_all_thresholds_agrees(seed):
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(60), 1 + seed % 2)  # many ties, or few
    correct = rng.random(60) < score * 0.8
    positives = int(correct.sum()) + seed
    table = scored(score, correct, positives)
    recall, precision = [0.0], [1.0]
    for threshold in sorted(set(score), reverse=True):
        accepted = score >= threshold
        recall.append((accepted & correct).sum() / positives)
        precision.append((accepted & correct).sum() / accepted.sum())
    points, summary = curve(table), summarise(curve(table))
    assert points.recall.tolist() == recall
    assert points.precision.tolist() == precision
    gains = np.diff(recall)
    assert summary.average_precision == pytest.approx(np.sum(gains * precision[1:]))
    means = (np.array(precision[1:]) + precision[:-1]) / 2
    assert summary.auc == pytest.approx(np.sum(gains * means))
    full = max(r for r, p in zip(recall, precision, strict=True) if p == 1)
    near = max(r for r, p in zip(recall, precision, strict=True) if p >= 0.99)
    assert (summary.recall_at_100_precision, summary.recall_at_99_precision) == (full, near)
    f1 = [2 * r * p / (r + p) if r else 0 for r, p in zip(recall, precision, strict=True)]
    assert summary.max_f1 == pytest.approx(max(f1))


def test_weights_repeat_answers():
    weight = np.array([2, 0, 1, 3, 1])
    repeated = scored(np.repeat(WORKED.score, weight), np.repeat(WORKED.correct, weight), 4)
    heavy, plain = curve(WORKED, weight), curve(repeated)
    assert average_precision(heavy) == pytest.approx(average_precision(plain))
    assert heavy.accepted[-1] == plain.accepted[-1] == 7


SIMILARITY = np.array([[0.9, 0.2, 0.8], [0.3, 0.7, 0.6]], np.float32)


def test_single_best_takes_one_answer_for_each_query():
    truth = labelled(np.array([[True, False, False], [False, False, True]]))
    answers = single_best(rank(SIMILARITY, truth.admissible, 3), truth)
    assert answers.score.tolist() == SIMILARITY[[0, 1], [0, 1]].tolist()
    assert answers.correct.tolist() == [True, False]
    assert answers.positives == 2


def test_single_best_leaves_out_an_ignored_answer_but_not_its_query():
    positive = np.array([[False, False, True], [False, True, False]])
    ignored = np.array([[True, False, False], [False, False, False]])
    truth = Truth(positive, ignored, np.ones((2, 3), bool))
    answers = single_best(rank(SIMILARITY, truth.admissible, 3), truth)
    assert answers.query.tolist() == [1]
    assert answers.positives == 2


def test_multi_match_counts_every_admissible_pair_that_is_not_ignored():
    positive = np.array([[True, False, True], [False, False, False]])
    ignored = np.array([[False, True, False], [False, False, False]])
    admissible = np.array([[True, True, True], [True, False, False]])
    answers = multi_match(SIMILARITY, Truth(positive, ignored, admissible))
    assert answers.score.tolist() == SIMILARITY[[0, 0, 1], [0, 2, 0]].tolist()
    assert answers.correct.tolist() == [True, True, False]
    assert answers.query.tolist() == [0, 0, 1]
    assert answers.positives == 2
    assert average_precision(curve(answers)) == 1


def test_roc_area_counts_ties_half():
    same = np.array([True, True, False, False])
    assert ranking_auc(np.array([0.9, 0.5, 0.5, 0.1]), same) == pytest.approx(3.5 / 4)
    assert ranking_auc(np.array([0.9, 0.5]), np.array([True, True])) is None
