"""When slam_toolbox is asked to load its map, and what came of it: time is the test's."""

import pytest
from localisers import a_match, own_pose

from vpr_msgs.msg import PlaceMatch
from vpr_ros.config.sockets import SlamToolboxConfig
from vpr_ros.nodes.sockets.slam_toolbox_rules import Neighbour, Phase, StartUp

SECOND = 10**9
THERE = Neighbour(typed=True, service=True, localizes=True)


class Start:
    """Matches once a second, and a slam_toolbox that does what the test says."""

    def __init__(self, **settings):
        config = SlamToolboxConfig(map_file='office', **settings)
        self.told = []
        self.rules = StartUp(config, lambda warning, words: self.told.append(words))
        self.neighbour, self.now_s = THERE, 100.0

    def second(self, x=10.0, seconds=1.0, **changes):
        self.now_s += seconds
        self.rules.tick(self.now_s, self.neighbour)
        match = a_match(self.now_s, x, **changes)
        now_ns = round(self.now_s * SECOND)
        return self.rules.hear_match(match, self.now_s, now_ns, self.neighbour)

    def called(self):
        """Let time pass until slam_toolbox is called."""
        for _ in range(200):
            if fix := self.second():
                return fix
        raise AssertionError('it was not called')

    def own(self, x, frame='map'):
        self.rules.hear_own(own_pose(self.now_s, x, frame=frame), self.now_s)


def test_it_is_called_once_where_the_matches_agree_and_done_when_it_says_so():
    start = Start()
    assert [start.second(), start.second()] == [None, None]
    fix = start.second()
    assert fix.pose.position_m[0] == 10.0
    start.own(10.0)  # of before: it has not loaded the map yet
    assert start.rules.phase is Phase.CALLED
    start.rules.answered(start.now_s)
    start.own(10.4)
    assert start.rules.phase is Phase.DONE
    assert '0.4 m from where it was put' in start.rules.words
    assert not any(start.second() for _ in range(50))
    assert not start.rules.warning


@pytest.mark.parametrize(
    ('neighbour', 'words'),
    [
        (Neighbour(False, False, False), 'package slam_toolbox is not there'),
        (Neighbour(True, False, False), 'nobody offers slam_toolbox/deserialize_map'),
        (Neighbour(True, True, False), 'a mapping node cannot localise'),
    ],
)
def test_what_is_missing_is_said_and_nothing_called(neighbour, words):
    start = Start()
    start.neighbour = neighbour
    assert not any(start.second() for _ in range(20))
    assert words in start.rules.words
    assert start.rules.warning
    start.neighbour = THERE
    assert start.second()


def test_one_that_gives_no_pose_is_asked_so_often_and_then_given_up():
    start = Start(attempts=3)
    calls = []
    for _ in range(3):
        calls.append(start.called().stamp_ns / SECOND)
        start.rules.answered(start.now_s)
    for _ in range(100):
        assert start.second() is None
    assert start.rules.phase is Phase.GIVEN_UP
    assert 'office.posegraph' in start.rules.words
    assert 'given up after 3 attempts' in start.rules.words
    assert calls[1] - calls[0] >= 25.0  # confirm_s and retry_s


def test_one_that_never_answers_and_one_that_fails():
    start = Start()
    start.called()
    start.called()
    assert any('has not answered in 60 s; attempt 1 of 5' in words for words in start.told)
    start.rules.failed('no such field', start.now_s)
    assert 'no such field; attempt 2 of 5' in start.rules.words
    start.rules.answered(start.now_s)  # too late
    assert start.rules.phase is Phase.WAITING


def test_one_that_is_somewhere_else_is_asked_again():
    start = Start()
    start.called()
    start.rules.answered(start.now_s)
    start.own(10.0, frame='odom')
    assert start.rules.phase is Phase.LOADED
    start.own(40.0)
    assert 'it is 30.0 m from where it was put' in start.rules.words
    assert start.called()


def test_one_that_went_away_is_started_anew():
    start = Start()
    start.called()
    start.rules.answered(start.now_s)
    start.own(10.0)
    start.neighbour = Neighbour(True, False, False)
    start.second()
    assert any('has gone' in words for words in start.told)
    start.neighbour = THERE
    assert start.called()


def test_bad_matches_are_said_and_others_ignored():
    start = Start()
    assert start.second(frame='office') is None
    assert "in frame 'office'" in start.rules.words
    before = len(start.told)
    assert start.second(status=PlaceMatch.STATUS_AMBIGUOUS) is None
    assert len(start.told) == before
    assert [start.second(seconds=x, frames=1) for x in (1.0, -50.0, 1.0)] == [None] * 3
    assert start.second()  # three after time jumped back
