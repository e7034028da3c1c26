"""Mutual nearest neighbours against brute force, with padding, ties, none and one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vpr_ros.config.recognition import RerankingConfig
from vpr_ros.errors import MapError
from vpr_ros.recognition.matching import match, nearest_neighbours
from vpr_ros.recognition.reranking import (
    SIMILARITY_WEIGHT,
    build_reranker,
    fol_scores,
    most_evidence,
    pool_size,
    reranked,
)
from vpr_ros.records import Candidate, LocalFeatures, Place


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


def related(seed, images, tokens, dim=16):
    """A query and images that show it more or less, in other orders, partly padded."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(1, tokens, dim, generator=generator)
    noise = torch.randn(images, tokens, dim, generator=generator)
    others = base + torch.rand(images, 1, 1, generator=generator) * noise
    others = others[:, torch.randperm(tokens, generator=generator)]
    found = local(others, torch.rand(images, tokens, generator=generator) > 0.2)
    reliability = torch.rand(images, tokens, generator=generator)
    query = replace(local(base), reliability=torch.rand(1, tokens, generator=generator))
    return query, replace(found, reliability=reliability)


def take(features, some):
    return LocalFeatures(*(value[some] for value in vars(features).values()))


def candidates(*similarities):
    return [Candidate(Place(i, 0, 0), s) for i, s in enumerate(similarities)]


def reader(features, has=None):
    """Reads places by their number; those that `has` denies have nothing."""
    has = np.ones(len(features.tokens), bool) if has is None else np.array(has)

    def read(ids):
        return take(features, ids), has[ids]

    return read


def order(found):
    return [candidate.place.id for candidate in found.candidates]


ALL = {
    'similarity_range': 2.0,
    'deviations': -10.0,
    'by_reliability': False,
}  # every candidate is re-ranked


@pytest.mark.parametrize('least', [0.7, 0.0, -1.0])
def test_matching_finds_the_pairs_of_nearest_neighbours(least):
    query, others = related(1, 12, 30)
    found = nearest_neighbours(query, others)
    kept = found.mutual & (found.cosine > least)
    partner = others.reliability.gather(1, found.place)
    matches = match(query, others, least)
    assert matches.number.tolist() == kept.sum(dim=1).tolist()
    weight = ((query.reliability * partner).double().sqrt() * kept).sum(dim=1)
    torch.testing.assert_close(matches.weight, weight)


@pytest.mark.parametrize('least', [0.7, -1.0])
def test_matching_of_many_equal_tokens(least):
    """Cosines of small whole numbers are exact, and most of them are equal to another."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.eye(4)[torch.randint(0, 4, (9, 7), generator=generator)]
    valid = torch.rand(9, 7, generator=generator) > 0.3
    everyone = LocalFeatures(
        tokens * valid[:, :, None], valid, torch.zeros(9, 7, 2), valid.float()
    )
    query, others = everyone[0], take(everyone, slice(1, None))
    expected = [
        brute_force(query.tokens[0], others.tokens[i], query.valid[0], others.valid[i], least)
        for i in range(8)
    ]
    assert fol_scores(query, others, least).tolist() == expected


def test_a_weight_is_the_root_of_both_reliabilities():
    query = replace(local(torch.eye(3)[None, :2]), reliability=torch.tensor([[0.25, 0.5]]))
    other = replace(local(torch.eye(3)[None, 1:]), reliability=torch.tensor([[0.32, 1.0]]))
    matches = match(query, other)
    assert matches.number.tolist() == [1]
    assert matches.weight.item() == pytest.approx(0.4)


def test_padding_changes_nothing():
    query, others = related(4, 6, 20)
    long = LocalFeatures(*(
        F.pad(value, (0, 0, 0, 9) if value.dim() == 3 else (0, 9))
        for value in vars(others).values()
    ))  # fmt: skip
    plain, padded = match(query, others), match(query, long)
    assert plain.number.tolist() == padded.number.tolist()
    assert plain.weight.tolist() == pytest.approx(padded.weight.tolist(), abs=1e-12)


def test_neither_order_nor_chunks_change_a_score():
    query, others = related(5, 9, 20)
    shuffled = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    plain = match(query, others)
    for other, back in (
        (match(query, take(others, shuffled)), shuffled.argsort()),
        (match(query, others, chunk_entries=1), torch.arange(9)),
        (match(query, others, chunk_entries=20 * 20 * 4), torch.arange(9)),
    ):
        assert plain.number.tolist() == other.number[back].tolist()
        assert plain.weight.tolist() == pytest.approx(other.weight[back].tolist(), abs=1e-12)


def test_tokens_of_another_length_are_another_models():
    with pytest.raises(MapError, match=r'tokens|values'):
        match(local(torch.eye(3)[None]), local(torch.eye(4)[None]))


def test_folpp_worked_by_hand():
    """One of two tokens found, at reliabilities 0.25 and 0.64: 0.4 / sqrt(2 * 2) = 0.2."""
    query = replace(local(torch.eye(4)[None, :2]), reliability=torch.full((1, 2), 0.25))
    none, one = torch.eye(4)[2:], torch.eye(4)[1:3]
    places = replace(local(torch.stack((none, one))), reliability=torch.full((2, 2), 0.64))
    config = RerankingConfig(method='folpp', similarity_weight=2.0)
    found = build_reranker(config).rerank(query, candidates(0.6, 0.55), reader(places))
    assert order(found) == [1, 0]
    assert [c.score for c in found.candidates] == pytest.approx([1.1 + 0.2, 1.2])
    assert [c.matches for c in found.candidates] == [1, 0]
    assert found.pool == 2
    assert config.similarity_weight != SIMILARITY_WEIGHT


def test_folpp_weighs_the_similarity_by_default():
    query, places = related(6, 2, 10)
    reranker = build_reranker(RerankingConfig(method='folpp'))
    given = build_reranker(RerankingConfig(method='folpp', similarity_weight=SIMILARITY_WEIGHT))
    some = candidates(0.6, 0.5)
    scores = [x.rerank(query, some, reader(places)).candidates for x in (reranker, given)]
    assert scores[0] == scores[1]
    assert 0.6 * SIMILARITY_WEIGHT <= scores[0][0].score <= 0.6 * SIMILARITY_WEIGHT + 1.0


def test_folpp_does_not_depend_on_how_many_tokens_there_are():
    """Twice the tokens, all matched: the same share."""
    config = RerankingConfig(method='folpp', similarity_weight=1.0)
    scores = [
        build_reranker(config).rerank(
            local(torch.eye(8)[None, :n]), candidates(0.5), reader(local(torch.eye(8)[None, :n]))
        ).candidates[0].score
        for n in (4, 8)
    ]  # fmt: skip
    assert scores == pytest.approx([1.5, 1.5])


@pytest.mark.parametrize('method', ['fol', 'folpp'])
def test_equal_evidence_keeps_the_global_order(method):
    same = local(torch.eye(4)[None].repeat(4, 1, 1))
    some = candidates(0.6, 0.6, 0.6, 0.6)
    found = build_reranker(RerankingConfig(method, **ALL)).rerank(same[0], some, reader(same))
    assert order(found) == [0, 1, 2, 3]
    assert found.pool == 4


@pytest.mark.parametrize('method', ['fol', 'folpp'])
def test_no_match_at_all_keeps_the_global_order(method):
    query, others = local(torch.eye(4)[None, :2]), local(torch.eye(4)[None, 2:].repeat(3, 1, 1))
    reranker = build_reranker(RerankingConfig(method, **ALL))
    found = reranker.rerank(query, candidates(0.6, 0.5, 0.4), reader(others))
    assert order(found) == [0, 1, 2]
    assert [c.matches for c in found.candidates] == [0, 0, 0]


def test_fol_counts_and_ignores_the_similarity():
    query, places = related(7, 5, 20)
    counts = fol_scores(query, places).tolist()
    assert counts != sorted(counts, reverse=True)
    found = build_reranker(RerankingConfig(method='fol', most=4)).rerank(
        query, candidates(0.9, 0.8, 0.2, 0.1, 0.05), reader(places)
    )
    assert order(found) == [*sorted(range(4), key=lambda i: -counts[i]), 4]
    assert [c.score for c in found.candidates[:4]] == sorted(counts[:4], reverse=True)
    assert found.candidates[4].score is None
    assert found.pool == 4


def test_the_rest_follows_in_global_order():
    query, places = related(8, 8, 20)
    config = RerankingConfig(method='folpp', fewest=3, deviations=10.0, similarity_weight=1e-6)
    some = candidates(0.60, 0.59, 0.58, 0.57, 0.56, 0.55, 0.54, 0.53)
    asked = []

    def read(ids):
        asked.append(ids)
        return reader(places)(ids)

    found = build_reranker(config).rerank(query, some, read)
    assert asked == [[0, 1, 2]]
    assert sorted(order(found)[:3]) == [0, 1, 2]
    assert found.candidates[3:] == some[3:]


def test_a_place_without_local_features_counts_as_the_median():
    """Shares of 1, 0 and 1/4, the fourth not known: 1/4 is taken for it."""
    base = torch.eye(8)
    half = torch.cat((base[:1], base[5:8]))
    places = local(torch.stack((base[4:8], base[:4], half, torch.zeros(4, 8))))
    query = local(base[None, :4])
    reranker = build_reranker(RerankingConfig(method='folpp', similarity_weight=1.0, **ALL))
    some = candidates(0.50, 0.49, 0.47, 0.48)
    found = reranker.rerank(query, some, reader(places, [True, True, True, False]))
    assert order(found) == [1, 3, 2, 0]
    scores = {c.place.id: c.score for c in found.candidates}
    assert scores == pytest.approx({0: 0.50, 1: 1.49, 2: 0.72, 3: 0.73})
    assert [c.matches for c in found.candidates] == [4, None, 1, 0]


@pytest.mark.parametrize('method', ['none', 'fol', 'folpp'])
def test_without_local_features_nothing_changes(method):
    query, places = related(9, 3, 10)
    reranker = build_reranker(RerankingConfig(method))
    some = candidates(0.6, 0.5, 0.4)
    nothing = local(torch.zeros(1, 4, 16), torch.zeros(1, 4).bool())
    empty = LocalFeatures(*(value[:, :0] for value in vars(places).values()))
    for asked, read in (
        (None, reader(places)),
        (nothing, reader(places)),
        (query, reader(empty, [False] * 3)),
    ):
        found = reranker.rerank(asked, some, read)
        assert found.candidates == some
        assert found.pool == 0
    assert reranker.rerank(query, [], reader(places)).candidates == []


def test_how_many_candidates_the_search_should_give():
    wanted = [build_reranker(RerankingConfig(m, most=70)).wanted for m in ('none', 'fol', 'folpp')]
    assert wanted == [0, 70, 70]


def pool(similarities, **settings):
    return pool_size(similarities, RerankingConfig('folpp', **settings))


def test_pool_worked_by_hand():
    """Mean 0.5, standard deviation 0.1 sqrt(2): a limit of 0.5707 beside 0.55."""
    similarities = [0.7, 0.6, 0.5, 0.4, 0.3]
    assert pool(similarities, fewest=1) == 2
    assert pool(similarities, fewest=1, deviations=0.0) == 2  # 0.7 - 0.15
    assert pool(similarities, fewest=1, deviations=-1.0, similarity_range=0.25) == 3
    assert pool(similarities) == 5
    assert pool(similarities, fewest=3) == 3
    assert pool(similarities, fewest=5, most=4) == 4


def test_one_candidate_that_stands_out_is_not_re_ranked():
    assert pool([0.9, 0.7, 0.69, 0.68]) == 1
    assert pool([0.9, 0.7, 0.69, 0.68], similarity_range=0.3) == 4


def test_reliability_says_how_far_a_candidate_can_rise():
    """Mean reliability 0.25: evidence of 0.5 at most, which is 0.05 of similarity at w = 10."""
    query, places = related(6, 8, 10)
    query = replace(query, reliability=torch.full_like(query.reliability, 0.25))
    assert most_evidence(query) == pytest.approx(0.5)
    some = candidates(0.60, 0.56, 0.5501, 0.5499, 0.53, 0.5, 0.4, 0.3)
    given = {'fewest': 1, 'deviations': -10.0, 'similarity_weight': 10.0}
    pools = [
        build_reranker(RerankingConfig('folpp', by_reliability=by, **given))
        .rerank(query, some, reader(places)).pool
        for by in (True, False)
    ]  # fmt: skip
    assert pools == [3, 6]


@pytest.mark.parametrize('weight', [0.5, 2.0, 10.0])
def test_what_reliability_leaves_out_could_not_have_been_the_best(weight):
    """The same first place as of all candidates, and never more of them looked at."""
    generator, looked_at = np.random.default_rng(3), []
    for seed in range(30):
        query, places = related(20 + seed, 12, 10)
        low = replace(query, reliability=query.reliability * float(generator.uniform(0.0, 1.0)))
        some = candidates(*np.sort(generator.uniform(0.2, 0.9, 12))[::-1].tolist())
        given = {**ALL, 'fewest': 1, 'similarity_weight': weight}
        few, every = (
            build_reranker(RerankingConfig('folpp', **{**given, 'by_reliability': by}))
            .rerank(low, some, reader(places))
            for by in (True, False)
        )  # fmt: skip
        assert order(few)[0] == order(every)[0]
        assert few.pool <= every.pool == 12
        looked_at.append(few.pool)
    assert np.mean(looked_at) < 12


def test_pool_of_few_and_of_equal_candidates():
    assert pool([]) == 0
    assert pool([0.5]) == 1
    assert pool([0.3] * 300) == 100
    assert pool(np.full(40, 0.1, np.float32)) == 40


def test_pool_is_monotone_and_clipped():
    generator = np.random.default_rng(0)
    for _ in range(20):
        similarities = np.sort(generator.normal(0.5, 0.1, 150))[::-1]
        wider = [pool(similarities, similarity_range=r) for r in np.linspace(0.0, 2.0, 30)]
        assert wider == sorted(wider)
        stricter = [pool(similarities, deviations=d) for d in np.linspace(-3.0, 3.0, 30)]
        assert stricter == sorted(stricter, reverse=True)
        assert all(p == 1 or 5 <= p <= 100 for p in wider + stricter)


def test_scores_are_finite_without_reliability():
    query, places = related(10, 4, 10)
    query = replace(query, reliability=torch.zeros_like(query.reliability))
    reranker = build_reranker(RerankingConfig('folpp', **ALL))
    found = reranker.rerank(query, candidates(0.6, 0.5, 0.4, 0.3), reader(places))
    assert all(math.isfinite(c.score) for c in found.candidates)
    assert order(found) == [0, 1, 2, 3]
