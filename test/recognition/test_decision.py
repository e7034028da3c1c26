"""Agreement in a row, and the words of a refusal."""

import numpy as np
import pytest

from vpr_ros.config import DecisionConfig
from vpr_ros.recognition.decision import NS, Agreement, decide
from vpr_ros.records import Candidate, Place, Pose, Verdict

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


def test_decide_tells_why():
    agreement = Agreement(CONFIG)

    def ask(similarity, stamp_s):
        candidates = [Candidate(posed(0), similarity), Candidate(posed(9), 0.1)]
        return decide(candidates, int(stamp_s * NS), 0.5, 3, agreement)

    low = ask(0.49, 0)
    assert low.verdict is Verdict.LOW_SIMILARITY
    assert '0.490' in low.reason and '0.500' in low.reason
    assert [ask(0.5, t).verdict for t in (1, 2)] == [Verdict.TEMPORAL_PENDING] * 2
    assert ask(0.5, 3).verdict is Verdict.ACCEPTED
    assert ask(0.6, 4).consistent_frames == 4
    assert ask(0.4, 5).verdict is Verdict.LOW_SIMILARITY
    assert ask(0.9, 6).verdict is Verdict.TEMPORAL_PENDING  # a refusal ends the run


def test_nan_is_never_accepted():
    decision = decide([Candidate(posed(0), float('nan'))], 0, 0.5, 1, Agreement(CONFIG))
    assert decision.verdict is Verdict.LOW_SIMILARITY
