"""Ranking and recall@K, against numbers worked by hand."""

import numpy as np
import pytest

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation import ranking
from vpr_ros.evaluation.protocols import Truth, labelled
from vpr_ros.evaluation.ranking import Ranking, checked_descriptors, rank, rank_descriptors
from vpr_ros.evaluation.recall import hits, recall_at, unjudged


def filled(indices):
    indices = np.array(indices)
    return Ranking(indices, np.zeros(indices.shape), np.full(len(indices), indices.shape[1]))


def test_recall_counts_each_query_once_and_names_both_denominators():
    positive = np.zeros((4, 6), bool)
    positive[0, [0, 1]] = positive[1, 2] = positive[2, 5] = True  # query 3 has no right answer
    ranked = filled([[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2]])
    table = recall_at(hits(ranked, positive), positive.any(axis=1), ks=(1, 2, 3))
    assert table.found == (1, 1, 2)
    assert table.of_all == (1 / 4, 1 / 4, 2 / 4)
    assert table.of_matchable == (1 / 3, 1 / 3, 2 / 3)


def test_a_k_beyond_the_references_is_left_out():
    positive = np.ones((2, 3), bool)
    table = recall_at(hits(filled([[0, 1, 2]] * 2), positive), positive.any(axis=1))
    assert table.ks == (1,)


def test_without_any_right_answer_recall_is_not_defined():
    positive = np.zeros((2, 3), bool)
    table = recall_at(hits(filled([[0, 1, 2]] * 2), positive), positive.any(axis=1))
    assert table.of_matchable == (None,)
    assert table.of_all == (0.0,)


def test_ranks_that_hold_nothing_are_no_hits():
    ranked = Ranking(np.zeros((2, 2), int), np.zeros((2, 2)), np.array([0, 1]))
    assert hits(ranked, np.ones((2, 1), bool)).tolist() == [[False, False], [True, False]]


def test_an_ignored_reference_keeps_its_rank():
    positive, ignored = np.zeros((1, 3), bool), np.zeros((1, 3), bool)
    ignored[0, 0] = positive[0, 1] = True
    ranked = filled([[0, 1, 2]])
    table = recall_at(hits(ranked, positive), positive.any(axis=1), ks=(1, 2))
    assert table.found == (0, 1)
    truth = Truth(positive, ignored, np.ones((1, 3), bool))
    assert unjudged(ranked, truth).tolist() == [[True, False, False]]


def test_the_recent_past_is_not_judged_even_if_it_is_offered():
    truth = Truth(*np.zeros((2, 1, 3), bool), np.array([[False, True, True]]))
    assert unjudged(filled([[0, 1, 2]]), truth).tolist() == [[True, False, False]]


def test_only_admissible_references_are_ranked_and_ties_keep_their_order():
    similarity = np.array([[0.5, 0.9, 0.5, 0.7]], np.float32)
    ranked = rank(similarity, np.array([[True, False, True, True]]), 3)
    assert ranked.indices.tolist() == [[3, 0, 2]]
    assert ranked.similarities[0].tolist() == similarity[0, [3, 0, 2]].tolist()
    first = rank(similarity, np.array([[False, False, True, False]]), 3)
    assert first.count.tolist() == [1]
    assert first.filled.tolist() == [[True, False, False]]
    assert not rank(similarity, np.zeros((1, 4), bool), 3).answered.any()


def test_blocks_change_nothing_and_large_tables_are_not_kept(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(n, 8)).astype(np.float32) for n in (30, 20))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    admissible = labelled(rng.random((30, 20)) < 0.7).positive
    whole, table = rank_descriptors(a, b, admissible, 5)
    monkeypatch.setattr(ranking, 'BLOCK_CELLS', 100)
    monkeypatch.setattr(ranking, 'MAX_KEPT_CELLS', 100)
    parts, nothing = rank_descriptors(a, b, admissible, 5)
    assert (whole.indices == parts.indices)[whole.filled].all()
    assert np.allclose(table, a @ b.T, atol=1e-6)
    assert nothing is None


@pytest.mark.parametrize(
    ('values', 'word'),
    [
        (np.zeros((0, 4)), 'shape'),
        (np.ones(4), 'shape'),
        (np.array([[1.0, 0], [np.nan, 0]]), 'image 1 is not finite'),
        (np.array([[1.0, 0], [3.0, 4.0]]), 'unit length, found 5 at image 1'),
    ],
)
def test_descriptors_that_cannot_be_compared_are_refused(values, word):
    with pytest.raises(DatasetError, match=f'queries.*{word}'):
        checked_descriptors(values, 'queries')
