"""The graph of a drive, without a node."""

from dataclasses import replace

import numpy as np
import pytest
from drifting import Ring

from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.closures import read_closure
from vpr_ros.nodes.sockets.following import Drive
from vpr_ros.records import Pose, PoseKind

pytest.importorskip('gtsam')


def driven(ring, most=1000, every=2, rows=None):
    """A drive around a ring; a keyframe for every so many poses."""
    drive = Drive(LoopClosingConfig(max_keyframes=most))
    for row, pose in enumerate(ring.odom[:rows]):
        drive.track.put(ring.stamp_ns(row), pose)
        if row % every == 0:
            drive.graph.add(ring.stamp_ns(row), pose)
    return drive


def told(ring, id_, **kwargs):
    return read_closure(ring.closure(id_, **kwargs))


def error_m(ring, drive):
    """RMSE of the corrected path."""
    stamps, poses = drive.graph.path()
    rows = (stamps - ring.stamp_ns(0)) / NS * 10
    truth = np.array([x.position_m for x in ring.truth])
    at = np.stack([np.interp(rows, np.arange(len(truth)), x) for x in truth.T]).T
    return float(np.sqrt(((poses[:, :3] - at) ** 2).sum(axis=1).mean()))


def test_before_any_closure_the_path_is_that_of_odometry():
    ring = Ring()
    drive = driven(ring)
    stamps, poses = drive.graph.path()
    assert stamps[-1] == ring.stamp_ns(len(ring.odom) - 1)
    assert np.allclose(poses[-1, :3], ring.odom[-1].position_m)
    assert drive.graph.correction().distance_m(Pose((0.0, 0.0, 0.0))) < 1e-9
    assert error_m(ring, drive) > 0.5


def test_a_closure_bends_the_whole_path():
    ring = Ring()
    drive = driven(ring)
    before = error_m(ring, drive)
    [answer] = drive.close(told(ring, 1))
    assert answer.accepted, answer.reason
    assert error_m(ring, drive) < 0.35 * before
    assert ring.end_error(drive.graph.correction()) < 0.2


@pytest.mark.parametrize('shift_ns', [0, NS // 30, -NS // 30])
def test_images_between_keyframes_are_folded_in(shift_ns):
    """The same closure, told for moments beside the keyframes: the graph must not notice."""
    ring, every = Ring(), 4
    drive = driven(ring, every=every)
    for row in (-2, -4, -7):
        [answer, *others] = drive.close(told(ring, row, row=row, sigma=0.05))
        assert answer.accepted, answer.reason
        assert not others
    assert ring.end_error(drive.graph.correction()) < 0.2


def test_a_false_closure_is_refused_and_changes_nothing():
    ring = Ring()
    drive = driven(ring)
    [answer] = drive.close(told(ring, 1, to=0.5))
    assert not answer.accepted
    assert 'contradicts' in answer.reason
    assert not drive.graph.closed
    assert drive.graph.correction().distance_m(Pose((0.0, 0.0, 0.0))) < 1e-9


def test_a_closure_is_answered_once_more_when_it_comes_again():
    ring = Ring()
    drive = driven(ring)
    [first] = drive.close(told(ring, 1))
    assert drive.close(told(ring, 1)) == [first]
    [other] = drive.close(told(ring, 2))
    assert not other.accepted
    assert 'closure 1' in other.reason
    assert len(drive.graph.closed) == 1


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'to_ns': NS}, 'older than all of it'),
        ({'from_ns': 10**6 * NS}, 'newer than all of it'),
        ({'kind': PoseKind.NONE}, 'no transform'),
    ],
)
def test_why_a_closure_is_not_taken(change, words):
    ring = Ring()
    drive = driven(ring)
    [answer] = drive.close(replace(told(ring, 1), **change))
    assert not answer.accepted
    assert words in answer.reason


def test_both_moments_of_one_keyframe():
    ring = Ring()
    drive = driven(ring, every=10)
    closure = told(ring, 1)
    near = replace(closure, to_ns=closure.from_ns - NS // 10)
    assert 'one keyframe' in drive.close(near)[0].reason


def test_before_the_first_keyframe():
    drive = Drive(LoopClosingConfig())
    [answer] = drive.close(told(Ring(), 1))
    assert 'there is none yet' in answer.reason
    assert len(drive.graph.path()[0]) == 0


@pytest.mark.parametrize('kind', [PoseKind.FROM_MAP, PoseKind.ROTATION_ONLY, PoseKind.UP_TO_SCALE])
def test_weak_closures_pull_less_than_they_would(kind):
    ring = Ring()
    drive = driven(ring)
    before = ring.end_error(drive.graph.correction())
    [answer] = drive.close(replace(told(ring, 1), kind=kind))
    assert answer.accepted, answer.reason
    assert ring.end_error(drive.graph.correction()) < before


def test_there_are_never_more_keyframes_than_allowed_and_the_path_stays_right():
    ring = Ring(lap_m=100.0, drift_rad=0.001)
    drive = Drive(LoopClosingConfig(max_keyframes=64))
    for row, pose in enumerate(ring.odom):
        drive.track.put(ring.stamp_ns(row), pose)
        drive.graph.add(ring.stamp_ns(row), pose)
        assert len(drive.graph) <= 64
        if row > 200:
            [answer, *_] = drive.close(told(ring, row, row=row))
            assert answer.accepted, answer.reason
    assert drive.graph.keyframes == len(ring.odom)
    assert ring.end_error(drive.graph.correction()) < 0.2
    assert error_m(ring, drive) < 0.7


def test_merged_keyframes_say_the_same_as_all_of_them():
    ring = Ring()
    whole, merged = driven(ring, every=1), driven(ring, most=64, every=1)
    assert len(merged.graph) <= 64 < len(whole.graph)
    whole.close(told(ring, 1))
    merged.close(told(ring, 1))
    assert whole.graph.correction().distance_m(merged.graph.correction()) < 0.05
    assert np.abs(whole.graph.path()[1][:, :3] - merged.graph.path()[1][:, :3]).max() < 0.1


def test_the_covariance_of_the_correction_shrinks_with_a_closure():
    ring = Ring()
    drive = driven(ring)
    before = drive.graph.covariance()
    drive.close(told(ring, 1))
    after = drive.graph.covariance()
    assert np.linalg.eigvalsh(after).min() > 0
    assert np.allclose(after, after.T)
    assert np.trace(after[:3, :3]) < np.trace(before[:3, :3])


def test_lines_of_closures():
    ring = Ring()
    drive = driven(ring)
    drive.close(told(ring, 1))
    drive.close(told(ring, 2, row=-3, to=0.5))
    accepted, refused = drive.closures.lines()
    assert len(accepted) == len(refused) == 1
    assert (
        np.linalg.norm(np.subtract(*accepted[0])) < 1.0 < np.linalg.norm(np.subtract(*refused[0]))
    )
