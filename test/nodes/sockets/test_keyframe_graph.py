"""The graph of a drive, without a node."""

from dataclasses import replace

import numpy as np
import pytest
from drifting import Ring

from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.closures import read_closure
from vpr_ros.nodes.sockets.keyframe_graph import KeyframeGraph
from vpr_ros.nodes.sockets.odometry_track import OdometryTrack
from vpr_ros.records import Pose, PoseKind

pytest.importorskip('gtsam')


def driven(ring, most=1000, every=2, rows=None):
    """The graph of a ring; a keyframe for every so many poses."""
    track = OdometryTrack()
    graph = KeyframeGraph(LoopClosingConfig(max_keyframes=most), track)
    for row, pose in enumerate(ring.odom[:rows]):
        track.put(ring.stamp_ns(row), pose)
        if row % every == 0:
            graph.add(ring.stamp_ns(row), pose)
    return graph


def told(ring, id_, **kwargs):
    return read_closure(ring.closure(id_, **kwargs))


def error_m(ring, graph):
    """RMSE of the corrected path."""
    stamps, poses = graph.path()
    rows = (stamps - ring.stamp_ns(0)) / NS * 10
    truth = np.array([x.position_m for x in ring.truth])
    at = np.stack([np.interp(rows, np.arange(len(truth)), x) for x in truth.T]).T
    return float(np.sqrt(((poses[:, :3] - at) ** 2).sum(axis=1).mean()))


def test_before_any_closure_the_path_is_that_of_odometry():
    ring = Ring()
    graph = driven(ring)
    stamps, poses = graph.path()
    assert stamps[-1] == ring.stamp_ns(len(ring.odom) - 1)
    assert np.allclose(poses[-1, :3], ring.odom[-1].position_m)
    assert graph.correction().distance_m(Pose((0.0, 0.0, 0.0))) < 1e-9
    assert error_m(ring, graph) > 0.5


def test_a_closure_bends_the_whole_path():
    ring = Ring()
    graph = driven(ring)
    before = error_m(ring, graph)
    [answer] = graph.close(told(ring, 1))
    assert answer.accepted, answer.reason
    assert error_m(ring, graph) < 0.35 * before
    assert ring.end_error(graph.correction()) < 0.2


@pytest.mark.parametrize('shift_ns', [0, NS // 30, -NS // 30])
def test_images_between_keyframes_are_folded_in(shift_ns):
    """The same closure, told for moments beside the keyframes: the graph must not notice."""
    ring, every = Ring(), 4
    graph = driven(ring, every=every)
    for row in (-2, -4, -7):
        [answer, *others] = graph.close(told(ring, row, row=row, sigma=0.05))
        assert answer.accepted, answer.reason
        assert not others
    assert ring.end_error(graph.correction()) < 0.2


def test_a_false_closure_is_refused_and_changes_nothing():
    ring = Ring()
    graph = driven(ring)
    [answer] = graph.close(told(ring, 1, to=0.5))
    assert not answer.accepted
    assert 'contradicts' in answer.reason
    assert not graph.closed
    assert graph.correction().distance_m(Pose((0.0, 0.0, 0.0))) < 1e-9


def test_a_false_closure_that_was_believed_is_taken_out_when_true_ones_come():
    """Odometry allows it at first: the drift is large, and it lies a few metres off."""
    ring = Ring(lap_m=300.0, drift_rad=0.0005)
    graph = driven(ring)
    [first] = graph.close(told(ring, 1, to=0.02))
    assert first.accepted, first.reason
    verdicts = {1: True}
    for k in range(2, 9):
        for answer in graph.close(told(ring, k, row=-k)):
            verdicts[answer.closure_id] = answer.accepted
    assert verdicts[1] is False
    assert [x.closure.id for x in graph.closed] == [k for k in verdicts if verdicts[k]]
    assert ring.end_error(graph.correction()) < 0.3


def test_closures_that_agree_overrule_a_refusal():
    ring = Ring(drift_rad=0.02)  # worse than the settings say
    graph = driven(ring)
    verdicts = {}
    for k in range(1, 8):
        for answer in graph.close(told(ring, k, row=-k)):
            verdicts[answer.closure_id] = answer.accepted
    assert all(verdicts.values())
    assert ring.end_error(graph.correction()) < 0.5


def test_a_closure_is_answered_once_more_when_it_comes_again():
    ring = Ring()
    graph = driven(ring)
    [first] = graph.close(told(ring, 1))
    assert graph.close(told(ring, 1)) == [first]
    [other] = graph.close(told(ring, 2))
    assert not other.accepted
    assert 'closure 1' in other.reason
    assert len(graph.closed) == 1


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
    graph = driven(ring)
    [answer] = graph.close(replace(told(ring, 1), **change))
    assert not answer.accepted
    assert words in answer.reason


def test_both_moments_of_one_keyframe():
    ring = Ring()
    graph = driven(ring, every=10)
    closure = told(ring, 1)
    near = replace(closure, to_ns=closure.from_ns - NS // 10)
    assert 'one keyframe' in graph.close(near)[0].reason


def test_before_the_first_keyframe():
    graph = KeyframeGraph(LoopClosingConfig(), OdometryTrack())
    [answer] = graph.close(told(Ring(), 1))
    assert 'there is none yet' in answer.reason
    assert len(graph.path()[0]) == 0


@pytest.mark.parametrize('kind', [PoseKind.FROM_MAP, PoseKind.ROTATION_ONLY, PoseKind.UP_TO_SCALE])
def test_weak_closures_pull_less_than_they_would(kind):
    ring = Ring()
    graph = driven(ring)
    before = ring.end_error(graph.correction())
    [answer] = graph.close(replace(told(ring, 1), kind=kind))
    assert answer.accepted, answer.reason
    assert ring.end_error(graph.correction()) < before


def test_there_are_never_more_keyframes_than_allowed_and_the_path_stays_right():
    ring = Ring(lap_m=100.0, drift_rad=0.001)
    track = OdometryTrack()
    graph = KeyframeGraph(LoopClosingConfig(max_keyframes=64), track)
    for row, pose in enumerate(ring.odom):
        track.put(ring.stamp_ns(row), pose)
        graph.add(ring.stamp_ns(row), pose)
        assert len(graph) <= 64
        if row > 200:
            [answer, *_] = graph.close(told(ring, row, row=row))
            assert answer.accepted, answer.reason
    assert graph.keyframes == len(ring.odom)
    assert ring.end_error(graph.correction()) < 0.2
    assert error_m(ring, graph) < 0.7


def test_merged_keyframes_say_the_same_as_all_of_them():
    ring = Ring()
    whole, merged = driven(ring, every=1), driven(ring, most=64, every=1)
    assert len(merged) <= 64 < len(whole)
    whole.close(told(ring, 1))
    merged.close(told(ring, 1))
    assert whole.correction().distance_m(merged.correction()) < 0.05
    assert np.abs(whole.path()[1][:, :3] - merged.path()[1][:, :3]).max() < 0.1


def test_the_covariance_of_the_correction_shrinks_with_a_closure():
    ring = Ring()
    graph = driven(ring)
    before = graph.covariance()
    graph.close(told(ring, 1))
    after = graph.covariance()
    assert np.linalg.eigvalsh(after).min() > 0
    assert np.allclose(after, after.T)
    assert np.trace(after[:3, :3]) < np.trace(before[:3, :3])


def test_lines_of_closures():
    ring = Ring()
    graph = driven(ring)
    graph.close(told(ring, 1))
    graph.close(told(ring, 2, row=-3, to=0.5))
    accepted, refused = graph.lines()
    assert len(accepted) == len(refused) == 1
    assert (
        np.linalg.norm(np.subtract(*accepted[0])) < 1.0 < np.linalg.norm(np.subtract(*refused[0]))
    )
