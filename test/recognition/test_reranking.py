"""Mutual nearest neighbours against brute force, with padding, ties, none and one."""

import pytest
import torch
import torch.nn.functional as F

from vpr_ros.recognition.reranking import fol_scores, nearest_neighbours, reranked
from vpr_ros.records import LocalFeatures


def local(tokens, valid=None):
    """Local features of tokens (B, n, d), normalised; rows that are not valid become zero."""
    if valid is None:
        valid = torch.ones(tokens.shape[:2], dtype=torch.bool)
    tokens = F.normalize(tokens, dim=2) * valid[:, :, None]
    return LocalFeatures(tokens, valid, torch.zeros(*valid.shape, 2), valid.float())


def brute_force(query, candidate, valid_query, valid_candidate, least):
    """Count pairs with loops; of equal cosines the first counts."""
    best, back = {}, {}
    for q in range(len(query)):
        for k in range(len(candidate)):
            if valid_query[q] and valid_candidate[k]:
                cosine = float(query[q] @ candidate[k])
                if q not in best or cosine > best[q][0]:
                    best[q] = (cosine, k)
                if k not in back or cosine > back[k][0]:
                    back[k] = (cosine, q)
    return sum(back[k][1] == q and cosine > least for q, (cosine, k) in best.items())


@pytest.mark.parametrize('least', [0.7, 0.0, -1.0])
@pytest.mark.parametrize('chunk_entries', [2**25, 1])
def test_against_brute_force(least, chunk_entries):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(1, 20, 6, generator=generator)
    others = base + torch.rand(7, 1, 1, generator=generator) * torch.randn(
        7, 20, 6, generator=generator
    )
    others = others[:, torch.randperm(20, generator=generator)]
    valid = torch.rand(7, 20, generator=generator) > 0.3
    query = local(base, torch.rand(1, 20, generator=generator) > 0.2)
    candidates = local(others, valid)
    found = fol_scores(query, candidates, least, chunk_entries)
    expected = [
        brute_force(query.tokens[0], candidates.tokens[i], query.valid[0], valid[i], least)
        for i in range(7)
    ]
    assert found.tolist() == expected
    assert len(set(expected)) > 2


def test_padding_never_matches_padding():
    valid = torch.tensor([[True, False, False]])
    one = local(torch.eye(3)[None], valid)
    assert fol_scores(one, one, least_cosine=-2.0).tolist() == [1]


def test_nothing_valid_on_one_side():
    some, none = local(torch.eye(3)[None]), local(torch.eye(3)[None], torch.zeros(1, 3).bool())
    for query, candidates in ((some, none), (none, some), (none, none)):
        assert fol_scores(query, candidates, least_cosine=-2.0).tolist() == [0]


def test_no_tokens_and_no_candidates():
    some, empty = local(torch.eye(3)[None]), local(torch.zeros(2, 0, 3))
    assert fol_scores(some, empty).tolist() == [0, 0]
    assert fol_scores(empty[0], some).tolist() == [0]
    assert fol_scores(some, local(torch.zeros(0, 3, 3))).tolist() == []


def test_no_match_and_exactly_one():
    query = local(torch.eye(4)[None, :2])
    far = torch.eye(4)[None, 2:]
    near = torch.cat((torch.eye(4)[:1], torch.eye(4)[3:]))[None]
    assert fol_scores(query, local(torch.cat((far, near)))).tolist() == [0, 1]


def test_the_limit_itself_does_not_count():
    query = local(torch.tensor([[[1.0, 0.0]]]))
    other = local(torch.tensor([[[0.6, 0.8]]]))  # cosine 0.6
    cosine = nearest_neighbours(query, other).cosine.item()
    assert fol_scores(query, other, least_cosine=cosine).tolist() == [0]
    assert fol_scores(query, other, least_cosine=cosine - 1e-6).tolist() == [1]


def test_of_equal_tokens_the_first_matches():
    twice = local(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]))
    found = nearest_neighbours(twice, twice)
    assert found.place.tolist() == [[0, 0]]
    assert found.mutual.tolist() == [[True, False]]
    assert fol_scores(twice, twice).tolist() == [1]


def test_gradient_flows_through_the_cosine():
    tokens = torch.tensor([[[0.9, 0.1]]], requires_grad=True)
    query = LocalFeatures(tokens, torch.ones(1, 1).bool(), torch.zeros(1, 1, 2), torch.ones(1, 1))
    nearest_neighbours(query, local(torch.eye(2)[None])).cosine.sum().backward()
    assert tokens.grad.tolist() == [[[1.0, 0.0]]]


def test_equal_scores_keep_the_global_order():
    assert reranked(torch.tensor([0, 0, 0, 0])).tolist() == [0, 1, 2, 3]
    assert reranked(torch.tensor([3, 7, 3, 7, 1])).tolist() == [1, 3, 0, 2, 4]
