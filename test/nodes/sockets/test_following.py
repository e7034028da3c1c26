"""What arrives, sorted into work; the worker is this thread."""

import math

import pytest
from drifting import UUID, Ring, closure, odometry

from vpr_msgs.msg import LoopClosure, VprStatus
from vpr_ros.config.graph import GraphConfig
from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.maps.pose_graph import optimize
from vpr_ros.nodes.sockets.following import WAITING, Following
from vpr_ros.nodes.sockets.judging import judge_here
from vpr_ros.records import Pose

pytest.importorskip('gtsam')


class Heard(Following):
    """Does what is asked at once, unless it is `full`; time is ours."""

    def __init__(self, judge=judge_here, **settings):
        self.answers, self.warnings, self.full, self.now_s = [], [], False, 0.0
        super().__init__(
            LoopClosingConfig(**settings), self._do, self.answers.append, self.warnings.append,
            lambda: self.now_s, judge,
        )  # fmt: skip

    def _do(self, act):
        if self.full:
            return None
        act()
        return act

    def play(self, ring, rows=None):
        for message in ring.odometry()[:rows]:
            self.odometry(message)
        return self


def test_a_drive_becomes_keyframes_and_a_closure_corrects_it():
    ring = Ring()
    heard = Heard().play(ring)
    assert 40 < heard.drive.graph.keyframes < 66
    heard.closure(ring.closure(1))
    [answer] = heard.answers
    assert answer.accepted, answer.reason
    assert ring.end_error(heard.drive.correction) < 0.2
    assert heard.drive.moved_m == pytest.approx(ring.drift_m, rel=0.2)
    assert (heard.odom_frame, heard.base_frame) == ('odom', 'base_link')


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_odometry_that_is_no_pose_is_left_out(value):
    ring = Ring()
    heard = Heard().play(ring, 10)
    bad = odometry(ring.stamp_ns(10), Pose((value, 0.0, 0.0)))
    heard.odometry(bad)
    heard.odometry(odometry(ring.stamp_ns(11), Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))))
    heard.odometry(odometry(0, Pose((0.0, 0.0, 0.0))))
    assert heard.dropped == 3
    assert heard.warnings
    assert heard.newest_ns == ring.stamp_ns(9)


def test_a_clock_that_goes_back_begins_a_new_drive():
    ring = Ring()
    heard = Heard(wait_s=100.0).play(ring)
    first = heard.drive
    waits = ring.closure(1)
    waits.from_stamp.sec += 5
    heard.closure(waits)
    heard.play(Ring(began_s=ring.began_s - 5), 30)
    assert heard.drive is not first
    assert first.over
    assert heard.drives == 2
    assert 'went back' in heard.warnings[-1]
    [answer] = heard.answers
    assert not answer.accepted
    assert 'its drive is over' in answer.reason
    heard.closure(ring.closure(2))
    heard.now_s = 200.0
    heard.look()
    assert not heard.answers[-1].accepted


def test_odometry_that_is_a_little_late_is_left_out():
    ring = Ring()
    heard = Heard().play(ring, 20)
    heard.odometry(odometry(ring.stamp_ns(15), ring.odom[15]))
    heard.odometry(odometry(ring.stamp_ns(19), ring.odom[19]))  # twice the same
    assert heard.drives == 1
    assert heard.newest_ns == ring.stamp_ns(19)


def test_odometry_that_jumps_in_space_begins_a_new_drive():
    ring = Ring()
    heard = Heard().play(ring, 20)
    heard.odometry(odometry(ring.stamp_ns(20), Pose((500.0, 0.0, 0.0))))
    assert heard.drives == 2
    assert 'jumped by' in heard.warnings[-1]


def test_a_closure_waits_for_the_odometry_of_its_image():
    ring = Ring()
    heard = Heard().play(ring, len(ring.odom) - 1)
    heard.closure(ring.closure(1))
    assert not heard.answers
    heard.odometry(ring.odometry()[-1])
    heard.look()
    assert heard.answers[0].accepted


def test_a_closure_whose_odometry_never_comes_is_refused():
    ring = Ring()
    heard = Heard(wait_s=1.0).play(ring, len(ring.odom) - 5)
    heard.closure(ring.closure(1))
    heard.now_s = 0.9
    heard.look()
    assert not heard.answers
    heard.now_s = 1.1
    heard.look()
    [answer] = heard.answers
    assert not answer.accepted
    assert 'newer than all of it' in answer.reason


def test_closures_before_any_odometry_are_refused_and_not_hoarded():
    ring, heard = Ring(), Heard(wait_s=1.0)
    for k in range(3 * WAITING):
        heard.closure(ring.closure(k))
    assert len(heard.answers) == 2 * WAITING
    heard.now_s = 2.0
    heard.look()
    assert len(heard.answers) == 3 * WAITING
    assert not any(x.accepted for x in heard.answers)


def test_a_full_queue_costs_no_keyframe_and_refuses_closures():
    ring = Ring()
    heard = Heard().play(ring, 40)
    heard.full = True
    for message in ring.odometry()[40:60]:
        heard.odometry(message)
    heard.closure(closure(1, ring.stamp_ns(50), ring.stamp_ns(0), Pose((1.0, 0.0, 0.0))))
    assert 'queue' in heard.answers[0].reason
    heard.full = False
    heard.odometry(ring.odometry()[60])
    assert heard.drive.graph.newest_ns == ring.stamp_ns(60)


def test_another_map():
    ring = Ring()
    heard = Heard().play(ring)
    heard.status(VprStatus(map_uuid='quite-another'))
    heard.closure(ring.closure(1))
    assert 'quite-another' in heard.answers[0].reason
    heard.status(VprStatus(map_uuid=UUID))
    heard.closure(ring.closure(2))
    assert heard.answers[1].accepted


def test_without_status_the_map_is_that_of_the_first_closure():
    ring = Ring()
    heard = Heard().play(ring)
    heard.closure(ring.closure(1))
    other = ring.closure(2, row=-2)
    other.map_uuid = 'other'
    heard.closure(other)
    assert [x.accepted for x in heard.answers] == [True, False]


def changed(**values):
    message = Ring().closure(1)
    for name, value in values.items():
        setattr(message, name, value)
    return message


def spoilt(cell, value):
    message = Ring().closure(1)
    message.relative_pose.covariance[cell] = value
    return message


def elsewhere(**values):
    message = Ring().closure(1)
    for name, value in values.items():
        setattr(message.relative_pose.pose.position, name, value)
    return message


def of_base(name):
    message = Ring().closure(1)
    message.header.frame_id = name
    return message


@pytest.mark.parametrize(
    ('message', 'words'),
    [
        (changed(kind=LoopClosure.KIND_INTER_SESSION), 'earlier session'),
        (changed(pose_kind=LoopClosure.POSE_NONE), 'no transform'),
        (changed(pose_kind=200), 'pose_kind 200'),
        (elsewhere(x=math.nan), 'not finite'),
        (spoilt(0, 0.0), 'not positive'),
        (spoilt(7, -1.0), 'not positive'),
        (spoilt(0, math.nan), 'not finite'),
        (spoilt(1, 0.5), 'not symmetric'),
        (of_base('camera_optical'), 'camera_optical'),
    ],
)
def test_bad_closures_are_refused_with_the_reason(message, words):
    heard = Heard().play(Ring())
    heard.closure(message)
    [answer] = heard.answers
    assert not answer.accepted
    assert words in answer.reason
    assert heard.drive.correction.distance_m(Pose((0.0, 0.0, 0.0))) < 1e-9


def test_zero_covariance_everywhere():
    message = Ring().closure(1)
    message.relative_pose.covariance[:] = 0.0
    heard = Heard().play(Ring())
    heard.closure(message)
    assert 'not positive' in heard.answers[0].reason


def test_a_closure_without_stamps():
    message = Ring().closure(1)
    message.to_stamp.sec = message.to_stamp.nanosec = 0
    heard = Heard().play(Ring())
    heard.closure(message)
    assert 'stamp' in heard.answers[0].reason


def test_what_the_optimiser_raises_is_an_answer(monkeypatch):
    ring = Ring()
    heard = Heard().play(ring)

    def broken(edges):
        raise RuntimeError('Indeterminant linear system')

    monkeypatch.setattr(heard.drive.graph._solver, 'admit', broken)
    heard.closure(ring.closure(1))
    assert 'Indeterminant' in heard.answers[0].reason
    heard.odometry(odometry(ring.stamp_ns(len(ring.odom) + 1), ring.odom[-1]))
    heard.closure(ring.closure(2, row=-2))
    assert heard.answers[1].accepted


def test_silence_is_measured():
    heard = Heard()
    assert heard.silent_s() == math.inf
    heard.play(Ring(), 1)
    heard.now_s = 7.5
    assert heard.silent_s() == 7.5


def test_what_waits_is_pending_and_is_answered_when_its_drive_ends():
    ring = Ring(lap_m=300.0, drift_rad=0.0)
    heard = Heard(graph=GraphConfig(look_alike_odds=1e6)).play(ring)
    heard.closure(ring.closure(1))
    [first] = heard.answers
    assert first.pending
    assert not first.accepted
    assert (heard.pending, heard.accepted, heard.rejected) == (1, 0, 0)
    heard.begin('odometry jumped')
    last = heard.answers[-1]
    assert (last.closure_id, last.accepted, last.pending) == (1, False, False)
    assert 'its drive is over' in last.reason
    assert (heard.pending, heard.rejected) == (0, 1)


def test_what_waits_is_answered_when_the_node_ends():
    ring = Ring(lap_m=300.0, drift_rad=0.0)
    heard = Heard(graph=GraphConfig(look_alike_odds=1e6)).play(ring)
    heard.closure(ring.closure(1))
    soon = ring.closure(2)
    soon.from_stamp.sec += 5
    heard.closure(soon)
    heard.end('the node is being shut down')
    last = {x.closure_id: x for x in heard.answers}
    assert sorted(last) == [1, 2]
    assert not any(x.accepted or x.pending for x in last.values())


def test_a_graph_is_judged_at_once_where_nobody_else_does_it():
    ring = Ring()
    heard = Heard().play(ring)
    for id_ in range(1, 6):
        heard.closure(ring.closure(id_, to=0.5, row=-id_))
    assert heard.judged == 2  # at three closures, and at five
    assert not any(x.accepted for x in heard.answers)


def test_a_graph_is_judged_elsewhere_while_the_drive_goes_on():
    """Three closures that contradict the graph; the answer of the judge comes later, or never."""
    ring, asked = Ring(), []

    def judge(graph, config, then):
        asked.append((graph, then))
        return len(asked) == 1  # busy, from then on

    heard = Heard(judge=judge).play(ring)
    for id_ in range(1, 5):
        heard.closure(ring.closure(id_, to=0.5, row=-id_))
    [(graph, then), *_] = asked
    assert sum(edge.robust for edge in graph.edges) == 3
    assert not any(x.accepted for x in heard.answers)
    before = len(heard.answers)
    then(optimize(graph))
    assert heard.judged == 1
    assert len(heard.answers) == before  # nothing has changed: they are false
    heard.begin('odometry jumped')
    told = len(heard.answers)
    then(optimize(graph))  # too late
    assert (heard.judged, len(heard.answers)) == (1, told)
