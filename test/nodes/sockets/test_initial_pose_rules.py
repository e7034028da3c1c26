"""When the localiser is told, and what came of it: time is the test's."""

import pytest
from localisers import Amcl, a_match, covariance_of, own_pose
from nav_msgs.msg import OccupancyGrid

from vpr_msgs.msg import PlaceMatch
from vpr_ros.config.sockets import InitialPoseConfig
from vpr_ros.nodes.sockets.initial_pose_rules import InitialPose

SECOND = 10**9
SILENT_S = 6.0  # longer than silent_s


class Drive:
    """A robot, its matches and its localiser, one second after the other."""

    def __init__(self, **settings):
        self.config = InitialPoseConfig(**settings)
        self.told = []
        self.rules = InitialPose(self.config, 0.0, lambda warning, words: self.told.append(words))
        self.now_s, self.listeners, self.localizers = 0.0, 1, 1

    def second(self, x=None, own=None, seconds=1.0, **changes):
        """Let a second pass, with a match at x and the localiser saying `own`."""
        self.now_s += seconds
        if own is not None:
            self.rules.hear_own(own_pose(self.now_s, own))
        sent = None
        if x is not None:
            match = a_match(self.now_s, x, **changes)
            now_ns = round(self.now_s * SECOND)
            sent = self.rules.hear_match(match, self.now_s, now_ns, self.listeners)
        self.rules.tick(self.now_s, self.localizers)
        return sent

    def seconds(self, count, *arguments, **changes):
        return [m for m in (self.second(*arguments, **changes) for _ in range(count)) if m]


def test_a_silent_localiser_is_told_once_the_matches_agree():
    drive = Drive()
    assert drive.second(10.0) is None  # it may only be slow to be heard
    assert drive.seconds(2, 10.0, seconds=SILENT_S) != []
    drive = Drive()
    drive.second(seconds=SILENT_S)
    assert drive.seconds(2, 10.0) == []
    [sent] = drive.seconds(1, 10.0)
    assert sent.pose.pose.position.x == 10.0
    assert sent.header.stamp.sec == int(drive.now_s)


def test_one_that_follows_is_confirmed_and_told_no_more():
    drive = Drive()
    drive.second(seconds=SILENT_S)
    [sent] = drive.seconds(1, 10.0, frames=5)
    amcl = Amcl()
    amcl.receive(sent)
    drive.second(10.5, own=amcl.pose[0])
    assert drive.rules.settled
    assert drive.rules.counts['confirmed'] == 1
    assert any('has followed: it is 0.0 m' in words for words in drive.told)
    assert drive.seconds(60, 11.0, own=11.2) == []
    assert drive.seconds(60, 90.0, own=11.2) == []  # startup: later it is only suggested
    assert drive.rules.warning
    assert 'call ~/send' in drive.rules.words


def test_a_scan_from_just_before_the_image_confirms_too():
    drive = Drive()
    drive.second(seconds=SILENT_S)
    assert drive.seconds(1, 10.0, frames=5)
    drive.rules.hear_own(own_pose(drive.now_s - 0.2, 10.0))
    assert drive.rules.counts['confirmed'] == 1


def test_one_that_wakes_at_the_wrong_place_is_told_after_enough_matches():
    drive = Drive()
    assert drive.seconds(4, 50.0, own=0.0) == []
    assert 'they say 50.0, 0.0 m' in drive.rules.words
    assert drive.rules.warning
    [sent] = drive.seconds(1, 50.0, own=0.0)
    assert sent.pose.pose.position.x == 50.0


def test_while_it_agrees_nothing_is_ever_sent():
    for lost_when in ('startup', 'disagreement', 'asked'):
        drive = Drive(lost_when=lost_when)
        sent = [drive.second(float(i), own=i + 1.0, frames=9) for i in range(50)]
        assert not any(sent)
        assert drive.rules.settled
    asked = drive.rules.ask(drive.now_s)
    assert drive.seconds(1, 50.0, own=50.0) == []
    assert asked.outcome == (True, 'nothing was sent: the localiser agrees already')


def test_a_kidnapped_robot_is_told_of_after_so_many_matches_in_a_row():
    drive = Drive(lost_when='disagreement')
    drive.seconds(5, 0.0, own=0.0)
    assert drive.seconds(4, 30.0, own=0.0) == []
    assert drive.seconds(1, 0.1, own=0.0) == []  # it agrees: from the beginning
    assert drive.seconds(4, 30.0, own=0.0) == []
    assert len(drive.seconds(1, 30.0, own=0.0)) == 1


def test_between_the_two_limits_nothing_changes():
    drive = Drive(lost_when='disagreement', disagreeing_matches=3)
    drive.seconds(2, 30.0, own=0.0)
    assert drive.seconds(20, 2.5, own=0.0) == []  # more than 0.7 of 3 m: neither
    assert drive.seconds(1, 30.0, own=0.0, frames=3) != []


def test_a_match_that_is_not_sure_does_not_contradict():
    wide = covariance_of(5.0, 3.2)  # as copied from the map
    drive = Drive(lost_when='disagreement')
    assert drive.seconds(20, 9.0, own=0.0, yaw=3.0, covariance=wide) == []
    assert drive.seconds(20, 11.0, own=0.0, covariance=wide) != []


def test_a_localiser_that_has_lost_all_certainty_is_lost():
    drive = Drive(lost_when='disagreement')
    unsure = own_pose(0.5, 0.0, covariance=covariance_of(8.0, 1.0))
    drive.rules.hear_own(unsure)
    assert len(drive.seconds(5, 0.0)) == 1
    drive = Drive(lost_when='disagreement')
    drive.rules.hear_own(unsure)
    wide = covariance_of(6.0, 1.0)  # no better
    assert drive.seconds(20, 0.0, covariance=wide) == []


def test_one_that_never_follows_is_told_more_and_more_rarely():
    drive = Drive(lost_when='disagreement')
    sent = []
    for _ in range(400):
        if drive.second(10.0):
            sent.append(drive.now_s)
    gaps = [b - a for a, b in zip(sent, sent[1:], strict=False)]
    assert gaps[:5] == pytest.approx([10.0, 20.0, 40.0, 80.0, 80.0], abs=1.5)
    assert drive.rules.counts['not confirmed'] >= 4
    assert any('it gave no pose' in words for words in drive.told)


def test_one_that_refuses_is_quoted():
    drive = Drive()
    drive.seconds(5, 50.0, own=0.0)
    drive.seconds(12, own=1.0)
    assert any('49.0 m away: see its log' in words for words in drive.told)


def test_nobody_listens():
    drive = Drive()
    drive.listeners = 0
    assert drive.seconds(20, 10.0) == []
    assert drive.rules.warning
    assert 'nobody listens' in drive.rules.words
    drive.listeners = 1
    assert len(drive.seconds(1, 10.0)) == 1


def test_one_that_is_started_again_is_told_again():
    drive = Drive()
    drive.seconds(5, 0.0, own=0.0)
    assert drive.rules.settled
    drive.localizers = 0
    drive.seconds(1, 0.0)
    assert not drive.rules.settled
    drive.localizers = 1
    assert len(drive.seconds(8, 0.0)) == 1


def test_asked_it_sends_what_the_matches_agree_on_and_says_what_came_of_it():
    drive = Drive(lost_when='asked')
    assert drive.seconds(30, 10.0, own=0.0) == []
    asked = drive.rules.ask(drive.now_s)
    assert drive.rules.ask(drive.now_s) is asked
    assert len(drive.seconds(1, 10.0, own=0.0)) == 1
    assert asked.outcome is None
    drive.second(own=10.2)
    assert asked.outcome[0]
    assert '0.2 m from what it was told' in asked.outcome[1]
    assert drive.rules.ask(drive.now_s) is not asked


def test_asked_in_vain():
    drive = Drive(lost_when='asked')
    asked = drive.rules.ask(0.0)
    drive.seconds(20, 10.0, status=PlaceMatch.STATUS_AMBIGUOUS)
    assert asked.outcome is None
    drive.seconds(11)
    assert asked.outcome == (False, 'nothing was sent: no match was accepted yet')
    asked = drive.rules.ask(drive.now_s)
    assert len(drive.seconds(5, 10.0)) == 1
    drive.seconds(12)
    success, words = asked.outcome
    assert not success
    assert 'has not followed in 10 s' in words
    asked = drive.rules.ask(drive.now_s)
    drive.seconds(29)
    assert len(drive.seconds(1, 10.0, frames=3)) == 1
    drive.second()  # the time is over, but what was sent may still be followed
    drive.second(own=10.0)
    assert asked.outcome[0]
    asked = drive.rules.ask(drive.now_s)
    drive.rules.end('the node ends')
    assert asked.outcome == (False, 'the node ends')


def test_what_is_wrong_with_matches_is_told_and_nothing_sent():
    drive = Drive()
    drive.second(seconds=SILENT_S)
    assert drive.seconds(5, 10.0, frame='office') == []
    assert "in frame 'office'" in drive.rules.words
    drive.rules.hear_own(own_pose(drive.now_s, frame='odom'))
    assert "in frame 'odom'" in drive.rules.words
    drive.rules.grid = OccupancyGrid()
    assert drive.seconds(5, 10.0) == []
    assert 'not on the map' in drive.rules.words
    assert drive.rules.counts['refused'] == 10


def test_the_same_match_twice_is_one_and_time_that_jumps_back_begins_anew():
    drive = Drive()
    drive.second(seconds=100.0)
    match = a_match(100.0, 10.0)
    for _ in range(5):
        assert drive.rules.hear_match(match, 100.0, 100 * SECOND, 1) is None
    drive.rules.hear_own(own_pose(100.0, 0.0))
    earlier = [a_match(at, 10.0) for at in (1.0, 2.0, 3.0)]
    sent = [drive.rules.hear_match(m, 101.0, 3 * SECOND, 1) for m in earlier]
    assert not any(sent)  # what the localiser said belongs to another time: wait for it
    assert len(drive.seconds(1, 10.0, seconds=10.0, frames=3)) == 1
