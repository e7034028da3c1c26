"""Events, latency and closures per kilometre on a drive drawn by hand."""

import numpy as np
import pytest

from vpr_ros.evaluation.events import Answers, Outcome, Spread, count_closures, events, outcomes
from vpr_ros.evaluation.protocols import Track

S = 1_000_000_000


def flags(text):
    return np.array([c != '.' for c in text])


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('.....', []),
        ('##...', [(0, 1)]),
        ('.#.#.', [(1, 3)]),  # one frame between: the same event
        ('.#..#', [(1, 1), (4, 4)]),
        ('#####', [(0, 4)]),
    ],
)
def test_consecutive_hits_merge(text, expected):
    assert events(flags(text)) == expected


def drive(count):
    positions = np.zeros((count, 3))
    positions[:, 0] = 10.0 * np.arange(count)
    return Track(2 * S * np.arange(count, dtype=np.int64), positions)


#          0123456789
TRUTH = '..###..##.'
RIGHT = '..###..#..'
SAID_ = '#..##.....'


def answers(**more):
    error = np.where(flags(RIGHT), 1.0, 30.0)
    columns = {
        'accepted': flags(SAID_),
        'correct': flags(RIGHT),
        'ignored': flags('..........'),
        'has_positive': flags(TRUTH),
        'error_m': error,
    }
    return Answers(**{**columns, **more})


def test_every_count_of_a_drive_worked_by_hand():
    counted = count_closures(answers(), drive(10))
    assert (counted.accepted, counted.correct, counted.wrong, counted.missed) == (3, 2, 1, 3)
    assert counted.matchable == 5
    assert counted.precision == pytest.approx(2 / 3)
    assert counted.recall == pytest.approx(2 / 5)
    assert (counted.revisits, counted.revisits_found, counted.false_events) == (2, 1, 1)
    assert counted.travelled_km == pytest.approx(0.09)
    assert counted.wrong_per_km == pytest.approx(1 / 0.09)
    assert counted.error_m == Spread(pytest.approx(32 / 3), 30.0)
    assert counted.correct_error_m == Spread(1.0, 1.0)
    assert counted.latency_s == Spread(2.0, 2.0)  # one frame of two seconds into the revisit
    assert counted.latency_m == Spread(10.0, 10.0)


def test_what_the_rule_ignores_is_neither_right_nor_wrong():
    counted = count_closures(answers(ignored=flags('#.........')), drive(10))
    assert (counted.accepted, counted.correct, counted.wrong, counted.ignored) == (3, 2, 0, 1)
    assert counted.precision == 1.0


def test_silence_has_no_precision():
    counted = count_closures(answers(accepted=flags('..........')), drive(10))
    assert counted.precision is None
    assert counted.recall == 0.0
    assert counted.error_m is counted.latency_s is None


def test_a_set_of_images_has_no_events_and_no_kilometres():
    counted = count_closures(answers(error_m=np.full(10, np.nan)), Track())
    assert (counted.revisits, counted.false_events, counted.wrong_per_km) == (None, None, None)
    assert counted.error_m is None
    assert counted.wrong == 1


def test_a_robot_that_stands_still_has_no_rate_per_kilometre():
    still = Track(np.arange(10) * S, np.zeros((10, 3)))
    assert count_closures(answers(), still).wrong_per_km is None


def test_every_query_has_one_outcome():
    found = outcomes(answers(ignored=flags('....#.....'), correct=flags('...#......')))
    names = [Outcome(value).name for value in found]
    assert names == [
        'WRONG', 'SILENT', 'MISSED', 'RIGHT', 'IGNORED', 'SILENT', 'SILENT', 'MISSED', 'MISSED',
        'SILENT',
    ]  # fmt: skip
