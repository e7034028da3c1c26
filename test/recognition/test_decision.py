"""Agreement in a row, and the words of a refusal."""

import math
from dataclasses import replace

import numpy as np
import pytest

from vpr_ros.config import DecisionConfig, RecognizerConfig, TemporalConfig, VerificationConfig
from vpr_ros.recognition.decision import Evidence, Thresholds, decide
from vpr_ros.recognition.over_time.agreement import NS, Agreement
from vpr_ros.records import Candidate, Place, Pose, Signals, Verdict, Verification

CONFIG = DecisionConfig(
    consistent_frames=3, consistent_distance_m=2.0, consistent_spacing_s=0.25, consistent_gap_s=4.0
)


def posed(x, stamp_s=0.0, session=1):
    return Place(1, session, int(stamp_s * NS), Pose((x, 0.0, 0.0)))


def unposed(stamp_s, session=1):
    return Place(1, session, int(stamp_s * NS))


def counts(pairs, config=CONFIG):
    agreement = Agreement(config)
    return [agreement.update(int(stamp_s * NS), place) for stamp_s, place in pairs]


@pytest.mark.parametrize(
    ('pairs', 'expected'),
    [
        ([(0, posed(0)), (1, posed(1)), (2, posed(2))], [1, 2, 3]),
        ([(0, posed(0)), (1, posed(9)), (2, posed(9))], [1, 1, 2]),
        ([(0, posed(0)), (5, posed(0)), (6, posed(0))], [1, 1, 2]),  # too long in between
        ([(0, posed(0)), (0.1, posed(0)), (0.3, posed(0))], [1, 1, 2]),  # same view twice
        ([(9, posed(0)), (3, posed(0)), (4, posed(0))], [1, 1, 2]),  # the clock jumped back
        ([(0, unposed(50)), (1, unposed(51)), (2, unposed(60))], [1, 2, 1]),
        ([(0, unposed(50)), (1, unposed(51, session=2))], [1, 1]),
        ([(0, unposed(50)), (1, unposed(49))], [1, 2]),  # driven the other way round
    ],
)
def test_agreement(pairs, expected):
    assert counts(pairs) == expected


def test_fast_frames_count_by_time_and_not_by_number():
    pairs = [(t, posed(0)) for t in np.arange(0, 1.01, 1 / 30)]
    assert counts(pairs)[-1] == 4  # 0, 0.27, 0.53, 0.8 s


def evidence(similarity=0.6, agreeing=3, probability=math.nan, ambiguity=math.nan, **signals):
    verification = signals.pop('verification', None)
    best = Candidate(posed(0), similarity, verification=verification)
    return Evidence(
        (best, Candidate(posed(9), 0.1)), Signals(similarity, **signals), probability, ambiguity,
        agreeing,
    )  # fmt: skip


def verdict(found, thresholds=None, **settings):
    config = RecognizerConfig(decision=replace(CONFIG, **settings.pop('decision', {})))
    config = replace(config, **settings)
    return decide(found, thresholds or Thresholds(0.5), config)


def geometry(inliers, matches):
    points = np.zeros((matches, 2), np.float32)
    return Verification('sift', 'essential', points, points, np.arange(matches) < inliers)


def test_similarity_decides_and_tells_why():
    low = verdict(evidence(0.49))
    assert low.verdict is Verdict.LOW_SIMILARITY
    assert '0.490' in low.reason and '0.500' in low.reason
    pending = verdict(evidence(0.5, agreeing=2))
    assert pending.verdict is Verdict.TEMPORAL_PENDING
    assert pending.reason == '2 of 3 agreeing queries so far'
    assert verdict(evidence(0.5)).verdict is Verdict.ACCEPTED


def test_probability_decides_where_it_is_asked_for():
    asked = Thresholds(0.5, 0.9)
    wish = {'decision': {'max_false_closure_rate': 0.01}}
    low = verdict(evidence(0.8, probability=0.89), asked, **wish)
    assert low.verdict is Verdict.LOW_PROBABILITY
    assert (
        low.reason == 'probability 0.890 is below 0.900, which keeps the false closures below 1 %'
    )
    unknown = verdict(evidence(0.8), asked, **wish)
    assert unknown.verdict is Verdict.LOW_PROBABILITY
    accepted = verdict(evidence(0.3, probability=0.95), asked, **wish)
    assert accepted.verdict is Verdict.ACCEPTED
    assert accepted.reason.startswith('probability 0.950 (needed 0.900)')


def test_a_place_with_a_rival_as_good_is_refused_where_that_is_wished():
    found = evidence(ambiguity=0.9)
    assert verdict(found).verdict is Verdict.ACCEPTED
    refused = verdict(found, decision={'max_ambiguity': 0.8})
    assert refused.verdict is Verdict.AMBIGUOUS
    assert '0.90' in refused.reason
    unknown = verdict(evidence(), decision={'max_ambiguity': 0.8})
    assert unknown.verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ('inliers', 'matches', 'expected'),
    [
        (20, 40, Verdict.ACCEPTED),
        (19, 40, Verdict.GEOMETRY_FAILED),  # one inlier short
        (20, 41, Verdict.GEOMETRY_FAILED),  # less than half of the matches
        (0, 0, Verdict.GEOMETRY_FAILED),
    ],
)
def test_geometry_contradicts(inliers, matches, expected):
    found = evidence(verification=geometry(inliers, matches))
    settings = VerificationConfig(candidates=1, min_inliers=20, min_ratio=0.5)
    decision = verdict(found, verification=settings)
    assert decision.verdict is expected
    assert f'{inliers}' in decision.reason


@pytest.mark.parametrize('method', ['filter', 'sequence'])
def test_methods_over_time_must_support_the_place(method):
    settings = {'temporal': TemporalConfig(method), 'decision': {'min_support': 0.6}}
    assert verdict(evidence(support=0.59), **settings).verdict is Verdict.TEMPORAL_PENDING
    assert verdict(evidence(support=0.6, agreeing=1), **settings).verdict is Verdict.ACCEPTED


def test_without_time_every_query_stands_for_itself():
    alone = verdict(evidence(agreeing=1), temporal=TemporalConfig('none'))
    assert alone.verdict is Verdict.ACCEPTED


def test_a_repeated_image_neither_adds_nor_ends():
    agreement = Agreement(CONFIG)
    assert agreement.update(0, posed(0)) == 1
    assert agreement.update(1 * NS, posed(0), repeated=True) == 1
    assert agreement.update(2 * NS, posed(0)) == 2


def test_nan_is_never_accepted():
    assert verdict(evidence(math.nan)).verdict is Verdict.LOW_SIMILARITY
