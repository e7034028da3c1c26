"""An attempt ends once, for a reason that can be read, and on evidence gathered since it began."""

import math

import pytest

from vpr_msgs.action import GlobalLocalize
from vpr_msgs.msg import PlaceCandidate, PlaceMatch
from vpr_ros.errors import ConfigError
from vpr_ros.nodes.services.localization import Attempts, Ending, Goal

ACCEPTED, LOW, PENDING = 0, 1, 4
ASKED = Goal(10.0)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def forgotten():
    return []


@pytest.fixture
def attempts(clock, forgotten):
    return Attempts(lambda: forgotten.append(clock()), clock)


def match(status=ACCEPTED, similarity=0.9, consistent=3, probability=math.nan, **other):
    made = PlaceMatch(
        status=status, consistent_frames=consistent, probability=probability, **other
    )
    made.candidates = [PlaceCandidate(place_id=17, session_id=2, similarity=similarity)]
    made.map_frame = 'map'
    return made


def begun(attempts, goal=ASKED):
    attempt = attempts.begin(goal)
    attempts.arm(attempt)
    return attempt


def test_endings_are_those_of_the_action():
    for ending in Ending:
        assert getattr(GlobalLocalize.Result, ending.name) == ending


def test_the_first_accepted_match_ends_it(attempts, forgotten):
    attempt = begun(attempts)
    attempts.take(match(LOW, 0.2))
    assert attempt.outcome() is None
    found = match()
    found.pose_valid = True
    found.pose.pose.position.x = 1.5
    found.pose.pose.orientation.z = found.pose.pose.orientation.w = math.sqrt(0.5)
    attempts.take(found)
    attempts.take(match(similarity=0.99))
    outcome = attempt.outcome()
    assert (outcome.ending, outcome.match, attempt.queries) == (Ending.LOCALIZED, found, 2)
    assert outcome.message == (
        'localised at place 17 of session 2, similarity 0.900: x 1.50, y 0.00, z 0.00 m, '
        'yaw 1.57 rad in map'
    )
    assert len(forgotten) == 1


def test_a_place_without_a_pose_says_so(attempts):
    attempt = begun(attempts)
    attempts.take(match())
    assert attempt.outcome().message.endswith('similarity 0.900; the map holds no pose of it')


@pytest.mark.parametrize(
    ('goal', 'lacking', 'enough', 'reason'),
    [
        (Goal(10.0, 0.9), {'probability': 0.8}, {'probability': 0.95}, '0.80 of 0.90 asked for'),
        (Goal(10.0, 0.9), {}, {'probability': 0.9}, 'none is calibrated'),
        (Goal(10.0, 0.0, 5), {'consistent': 4}, {'consistent': 5}, '4 of 5 queries in a row'),
    ],
)
def test_a_goal_may_ask_for_more_than_acceptance(attempts, clock, goal, lacking, enough, reason):
    late, content = begun(attempts, goal), begun(attempts, goal)
    attempts.take(match(**lacking))
    assert content.outcome() is None
    clock.now_s += 10.0
    assert reason in late.outcome().message
    clock.now_s -= 10.0
    attempts.take(match(**enough))
    assert content.outcome().ending is Ending.LOCALIZED


def test_a_time_out_says_what_was_seen_and_why_it_was_not_enough(attempts, clock):
    attempt = begun(attempts)
    for status, similarity in ((LOW, 0.3), (PENDING, 0.8), (LOW, 0.4)):
        attempts.take(match(status, similarity, status_text=f'reason of {similarity}'))
    last = attempt.last
    clock.now_s += 10.0
    outcome = attempt.outcome()
    assert (outcome.ending, outcome.match) == (Ending.TIMED_OUT, last)
    assert outcome.message == (
        'not localised within 10 s: 3 images looked at (2 low similarity, 1 temporal pending); '
        'the best had similarity 0.800: reason of 0.8'
    )
    attempts.take(match())
    assert attempt.outcome() is outcome


def test_a_time_out_without_candidates_or_images_says_so(attempts, clock):
    blind, alone = begun(attempts), attempts.begin(ASKED)
    attempts.take(PlaceMatch(status=PlaceMatch.STATUS_NO_MAP, status_text='the map is empty'))
    clock.now_s += 10.0
    assert blind.outcome().message.endswith('(1 no map); the first: the map is empty')
    assert 'no image was answered' in alone.outcome().message
    assert alone.outcome().match is None


def test_what_was_seen_before_does_not_count(attempts, clock):
    attempt = attempts.begin(ASKED)
    attempts.take(match())  # the recogniser has not forgotten yet
    assert (attempt.outcome(), attempt.queries) == (None, 0)
    clock.now_s += 0.1
    attempts.arm(attempt)
    attempts.take(match(queue_ms=60.0, inference_ms=50.0))  # it arrived 10 ms too early
    assert (attempt.outcome(), attempt.queries) == (None, 0)
    attempts.take(match(queue_ms=50.0, inference_ms=40.0))
    assert attempt.outcome().ending is Ending.LOCALIZED


def test_attempts_end_by_themselves_and_all_together(attempts, clock):
    easy, hard, other = begun(attempts), begun(attempts, Goal(5.0, 0.0, 9)), begun(attempts)
    assert other.end(Ending.CANCELED, 'canceled').ending is Ending.CANCELED
    attempts.take(match())
    assert attempts.running == 3
    attempts.done(other)
    attempts.done(easy)
    assert (attempts.running, attempts.latest) == (1, easy.outcome())
    attempts.abort('deactivated')
    assert hard.outcome().ending is Ending.ABORTED
    assert hard.outcome().message == 'deactivated; 1 image looked at (1 accepted)'
    assert easy.outcome().ending is Ending.LOCALIZED
    assert other.queries == 0


@pytest.mark.parametrize(
    'goal', [Goal(-1.0), Goal(math.nan), Goal(0.0), Goal(1.0, 1.5), Goal(1.0, math.nan)]
)
def test_a_goal_without_sense_is_refused(attempts, goal):
    with pytest.raises(ConfigError, match='expected'):
        attempts.begin(goal)
    assert attempts.running == 0


def test_the_most_similar_is_kept_also_when_nothing_else_was_seen(attempts):
    attempt = begun(attempts)
    empty = PlaceMatch(status=PlaceMatch.STATUS_NO_MAP)
    attempts.take(empty)
    assert attempt.best is empty
    for similarity in (0.2, 0.5, 0.4):
        attempts.take(match(LOW, similarity))
    assert attempt.best.candidates[0].similarity == pytest.approx(0.5)
