"""Which closures of a drive are taken: true loops, look-alike streets, a robot carried off."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_ros.config.graph import GraphConfig
from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.maps.pose_graph import optimize
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.closures import Closure
from vpr_ros.nodes.sockets.following import Drive
from vpr_ros.records import Pose, PoseKind
from vpr_ros.synthetic.drift import Wander, drifted

pytest.importorskip('gtsam')

STEP_M = 4.0
SIDE_M = 120.0
LAP = 4 * 30  # poses of a lap of 480 m
ODOMETRY = Wander(0.02, 0.004, 0.01, 2e-4)
METRIC = np.diag([0.2, 0.2, 0.2, 0.02, 0.02, 0.02]) ** 2


def square(side_m, laps):
    """True poses round a block."""
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * side_m
    a_side, poses = int(side_m / STEP_M), []
    for row in range(int(laps * 4 * a_side)):
        side, along = divmod(row % (4 * a_side), a_side)
        at = corners[side] + (corners[(side + 1) % 4] - corners[side]) * along / a_side
        yaw = Rotation.from_euler('z', side * np.pi / 2).as_quat().tolist()
        poses.append(Pose((float(at[0]), float(at[1]), 0.0), tuple(yaw)))
    return poses


def beside(poses, metres):
    return [Pose((p.position_m[0] + metres, *p.position_m[1:]), p.quaternion) for p in poses]


def two_streets():
    """A lap, 80 m of a street 20 m beside its first that looks like it, and its first again."""
    lap = square(SIDE_M, 1.0)
    return [*lap, *beside(lap[:20], 20.0), *lap[:20]]


class Robot:
    """Drives along true poses by drifting odometry, and tells closures; all in this thread."""

    def __init__(self, truth, odometry=None, **settings):
        self.truth, self.odom = truth, odometry or drifted(truth, ODOMETRY, 1)
        self.drive = Drive(LoopClosingConfig(graph=GraphConfig(**settings)))
        self.row, self.told, self.answers = 0, 0, {}

    def go(self, row):
        while self.row < row:
            self.drive.track.put(self.stamp_ns(self.row), self.odom[self.row])
            self.drive.graph.add(self.stamp_ns(self.row), self.odom[self.row])
            self.row += 1
        return self

    def close(self, older, named=None):
        """A closure of the newest pose with an older one, under the name of another."""
        self.told += 1
        pose = self.truth[self.row - 1].inverse() @ self.truth[older]
        stamps = self.stamp_ns(self.row - 1), self.stamp_ns(older if named is None else named)
        answers = self.drive.close(Closure(self.told, *stamps, PoseKind.METRIC, pose, METRIC))
        assert answers[0].closure_id == self.told
        question, self.drive.closures.question = self.drive.closures.question, None
        if question is not None:
            answers += self.drive.adopt(question, optimize(question.graph))
        self.answers |= {x.closure_id: x for x in answers}
        return self.told

    def closes(self, rows, older, named=None):
        """One at every pose on the way; `older` and `named` are those of the first."""
        rows = list(rows)
        ids = []
        for number, row in enumerate(rows):
            self.go(row + 1)
            ids.append(self.close(older + number, None if named is None else named + number))
        return ids

    def taken(self, ids):
        return [self.answers[id_].accepted for id_ in ids]

    def apart_m(self, older):
        """How far the newest pose is, as corrected, from where an older one puts it."""
        at, newest = self.drive.graph.at, self.row - 1
        true = self.truth[older].inverse() @ self.truth[newest]
        return (at(self.stamp_ns(older)) @ true).distance_m(at(self.stamp_ns(newest)))

    @staticmethod
    def stamp_ns(row):
        return (1000 + row) * NS


def test_a_true_loop_closes_at_once():
    robot = Robot(square(40.0, 1.3))
    ids = robot.closes(range(40, 50), 0)
    assert all(robot.taken(ids))
    assert robot.apart_m(9) < 0.5


def test_a_street_that_looks_like_another_waits_and_falls_when_the_true_one_is_seen():
    robot = Robot(two_streets(), look_alike_odds=10.0)
    false = robot.closes(range(LAP, LAP + 20), LAP, 0)
    assert all(robot.answers[id_].pending for id_ in false)
    assert 'look_alike_odds' in robot.answers[false[0]].reason
    assert robot.drive.correction.distance_m(Pose((0.0, 0.0, 0.0))) < 1e-6
    true = robot.closes(range(LAP + 20, LAP + 30), 0)
    assert all(robot.taken(true))
    assert not any(robot.answers[id_].accepted or robot.answers[id_].pending for id_ in false)
    assert 'contradicts' in robot.answers[false[-1]].reason
    assert robot.apart_m(9) < 0.5


def test_what_waits_enters_as_a_whole_once_another_loop_tells_it():
    robot = Robot(square(SIDE_M, 1.6), look_alike_odds=1e3)
    waiting = robot.closes(range(LAP, LAP + 5), 0)
    assert all(robot.answers[id_].pending for id_ in waiting)
    robot.drive.closures._config = GraphConfig(look_alike_odds=1.0)
    robot.closes(range(LAP + 30, LAP + 32), 30)
    assert all(robot.taken(waiting))
    assert 'tell its place' in robot.answers[waiting[0]].reason
    assert robot.apart_m(31) < 0.5


def test_more_way_in_a_row_than_any_copy_is_believed_without_odometry():
    robot = Robot(square(SIDE_M, 1.6), look_alike_odds=1e3, longest_copy_m=100.0)
    ids = robot.closes(range(LAP, LAP + 20), 0)
    assert all(robot.answers[id_].pending for id_ in ids)
    more = robot.closes(range(LAP + 20, LAP + 50), 20)
    assert all(robot.taken(ids + more))
    assert robot.apart_m(49) < 0.5


def test_a_run_that_was_believed_is_taken_out_when_all_together_speak_against_it():
    robot = Robot(two_streets(), look_alike_odds=0.01)
    false = robot.closes(range(LAP, LAP + 8), LAP, 0)
    assert all(robot.taken(false))
    true = robot.closes(range(LAP + 20, LAP + 40), 0)
    assert all(robot.taken(true))
    assert not any(robot.taken(false))
    assert 'taken out again' in robot.answers[false[0]].reason
    assert robot.apart_m(19) < 0.5


def test_a_robot_that_was_carried_off_is_found_after_a_long_way():
    """Odometry does not notice: what it expects is refuted, and then it is believed no more."""
    truth = square(SIDE_M, 2.0)
    truth = [*truth[:LAP], *truth[LAP + 60 :]]  # from the first corner to the one opposite
    odom = drifted(truth, ODOMETRY, 2)
    carried = odom[LAP - 1] @ odom[LAP].inverse()
    robot = Robot(truth, [*odom[:LAP], *(carried @ x for x in odom[LAP:])], longest_copy_m=100.0)
    first = robot.closes(range(LAP, LAP + 10), 60)
    assert not any(robot.taken(first))
    assert 'contradicts' in robot.answers[first[0]].reason
    later = robot.closes(range(LAP + 10, LAP + 45), 70)
    assert all(robot.taken([*first, *later]))
    assert 'overrule' in robot.answers[first[0]].reason
    assert robot.apart_m(104) < 0.5


def test_an_answer_is_given_again_as_it_is_now():
    robot = Robot(square(40.0, 1.3))
    [id_] = robot.closes([40], 0)
    closure = robot.drive.graph.closed[0].closure
    assert robot.drive.close(closure) == [robot.answers[id_]]
    again = Closure(77, closure.from_ns, closure.to_ns, closure.kind, closure.pose, METRIC)
    [other] = robot.drive.close(again)
    assert not other.accepted
    assert f'closure {id_}' in other.reason
