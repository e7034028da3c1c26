"""Runs of closures that wait."""

import numpy as np
import pytest

from vpr_ros.nodes.sockets import quarantine
from vpr_ros.nodes.sockets.closures import Closure
from vpr_ros.nodes.sockets.quarantine import Quarantine, Run, covered_m
from vpr_ros.records import Pose, PoseKind


def closure(newer, older):
    """The stamps are the ways."""
    pose = Pose((0.0, 0.0, 0.0))
    return Closure(newer, newer, older, PoseKind.METRIC, pose, np.eye(6))


def ways_m(closures):
    return np.array([(x.from_ns, x.to_ns) for x in closures], float)


def test_closures_in_a_row_are_one_run_whatever_comes_between():
    waiting = Quarantine(ways_m)
    first = waiting.add(closure(500, 100))
    other = waiting.add(closure(505, 300))
    assert waiting.add(closure(510, 110)) is first is not other
    assert waiting.add(closure(545, 115)) is not first  # the newer end has jumped
    assert waiting.run_before(closure(515, 112)) is first
    assert waiting.run_before(closure(515, 200)) is None
    assert [len(run) for run in waiting] == [2, 1, 1]
    assert [x.from_ns for x in waiting.take(first)] == [500, 510]
    assert len(waiting) == 2


def test_a_run_is_looked_at_again_when_it_is_half_as_long_again():
    run, looks = Run(), []
    for number in range(1, 21):
        run.closures.append(closure(500 + number, number))
        if run.due():
            looks.append(number)
    assert looks == [3, 5, 8, 12, 18]
    assert [x.to_ns for x in run.some(3)] == [1, 11, 20]


def test_covered_way_has_no_gaps_and_is_of_the_end_that_covers_less():
    along = Run([closure(500 + k, 100 + k) for k in range(0, 101, 20)])
    assert covered_m([along], ways_m) == 100.0
    far = Run([closure(900 + k, 400 + k) for k in range(0, 41, 20)])
    assert covered_m([along, far], ways_m) == 140.0
    again = Run([closure(900 + k, 100 + k) for k in range(0, 101, 20)])
    assert covered_m([along, again], ways_m) == 100.0  # the same street, twice


def test_runs_are_looked_at_in_turn():
    waiting = Quarantine(ways_m)
    for number in range(5):
        waiting.add(closure(1000 * number, 10_000 + 1000 * number))
    seen = [run.closures[0].from_ns for _ in range(2) for run in waiting.turn(3)]
    assert seen == [0, 1000, 2000, 3000, 4000, 0]


def test_the_oldest_are_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quarantine, 'HELD', 3)
    waiting = Quarantine(ways_m)
    for newer, older in ((1000, 10), (2000, 20), (2005, 25)):
        waiting.add(closure(newer, older))
    assert waiting.given_up() == []
    waiting.add(closure(3000, 30))
    assert [x.from_ns for x in waiting.given_up()] == [1000]
    assert len(waiting.closures) == 3
