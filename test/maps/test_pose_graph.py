"""Closures move a trajectory to where it was; false ones do not; bad input is told."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from small_graphs import COVARIANCE, LAP, closure, drive, looped, off_m, turned

from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import GraphError
from vpr_ros.maps.chains import put_back
from vpr_ros.maps.pose_graph import (
    Edge,
    Node,
    PoseGraph,
    edge_of,
    odometry_edge,
    optimize,
)
from vpr_ros.records import Pose, PoseKind

HERE = Pose((0.0, 0.0, 0.0))


def poses_of(graph):
    return [node.pose for node in graph.nodes]


def with_false(truth, graph, every=5):
    """Every so many closures lead to a node a third of a lap away."""
    edges = list(graph.edges)
    closures = [k for k, edge in enumerate(edges) if edge.robust]
    wrong = closures[1::every]
    for k in wrong:
        edges[k] = closure(truth, edges[k].start, edges[k].end, (edges[k].end + LAP // 3) % LAP)
    return PoseGraph(graph.nodes, edges), wrong


def test_closures_bring_a_drive_home():
    truth, graph = looped()
    found = optimize(graph)
    assert off_m(poses_of(graph), truth) > 4 * off_m(found.poses, truth)
    assert found.kept.all()
    assert found.error_after < 0.1 * found.error_before
    assert found.poses[0].distance_m(graph.nodes[0].pose) < 1e-6


def test_false_closures_are_found_and_do_no_harm():
    truth, graph = looped()
    spoilt, wrong = with_false(truth, graph)
    found = optimize(spoilt)
    assert np.flatnonzero(~found.kept).tolist() == wrong
    assert off_m(found.poses, truth) < 1.5 * off_m(optimize(graph).poses, truth)
    believed = optimize(spoilt, GraphConfig(robust='none'))
    assert believed.kept.all()
    assert off_m(believed.poses, truth) > 3 * off_m(found.poses, truth)


def test_without_closures_odometry_stays():
    _, nodes, edges = drive(LAP)
    found = optimize(PoseGraph(nodes, edges))
    assert off_m(found.poses, [node.pose for node in nodes]) < 1e-6
    alone = optimize(PoseGraph(nodes[:1], []))
    assert alone.poses == [nodes[0].pose]


def two_sessions(truth, nodes, edges, bridges):
    """The second half of a drive as a session that begins somewhere else and turned."""
    half = len(nodes) // 2
    away = Pose((300.0, -50.0, 2.0), turned(2.5)) @ nodes[half].pose.inverse()
    moved = [Node(n.stamp_ns, away @ n.pose) for n in nodes[half:]]
    kept = [edge for edge in edges if edge.start != half - 1]
    return PoseGraph(nodes[:half] + moved, kept + [closure(truth, *pair) for pair in bridges])


def test_a_session_in_a_frame_of_its_own_is_laid_over_the_first():
    truth, nodes, edges = drive(2 * LAP)
    graph = two_sessions(truth, nodes, edges, [(k, k - LAP) for k in range(LAP, 2 * LAP, 4)])
    found = optimize(graph)
    assert found.kept.all()
    assert off_m(found.poses[LAP:], found.poses[:LAP]) < 0.5


def test_a_session_without_closures_stays_where_it_is():
    truth, nodes, edges = drive(2 * LAP)
    graph = two_sessions(truth, nodes, edges, [])
    found = optimize(graph)
    assert off_m(found.poses[LAP:], poses_of(graph)[LAP:]) < 1e-6


def test_one_lie_does_not_move_a_session_that_others_hold():
    truth, nodes, edges = drive(2 * LAP)
    graph = two_sessions(truth, nodes, edges, [(k, k - LAP) for k in range(LAP, 2 * LAP, 4)])
    lies = [
        Edge(k, k - 30, Pose((0.0, 10.0 * k, 0.0)), COVARIANCE) for k in range(LAP + 1, 2 * LAP, 8)
    ]
    found = optimize(PoseGraph(graph.nodes, [*graph.edges, *lies]))
    assert not found.kept[-len(lies) :].any()
    assert found.kept[: -len(lies)].all()
    assert off_m(found.poses[LAP:], found.poses[:LAP]) < 0.5


def test_a_chain_whose_closures_are_not_believed_starts_where_it_did():
    truth, nodes, edges = drive(2 * LAP)
    graph = two_sessions(truth, nodes, edges, [(60, 20), (64, 24)])
    anywhere = [Pose((5.0, 5.0, 5.0), turned(1.0)) @ node.pose for node in graph.nodes]
    rejected = np.array([not edge.robust for edge in graph.edges])
    back = put_back(anywhere, graph, rejected)
    assert off_m(back, poses_of(graph)) < 1e-9
    assert put_back(anywhere, graph, np.ones(len(graph.edges), bool)) == anywhere


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'pose': Pose((float('nan'), 0.0, 0.0))}, 'no finite pose'),
        ({'pose': Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))}, 'no finite pose'),
        ({'covariance': np.full((6, 6), np.nan)}, 'finite covariance'),
        ({'covariance': np.eye(3)}, 'finite covariance'),
        ({'covariance': np.zeros((6, 6))}, 'not symmetric and positive'),
        ({'covariance': -np.eye(6)}, 'not symmetric and positive'),
        ({'covariance': np.eye(6) + np.eye(6, k=1)}, 'not symmetric and positive'),
        ({'end': 99}, 'joins no two of the 3 nodes'),
        ({'end': -1}, 'joins no two of the 3 nodes'),
        ({'end': 2}, 'joins no two of the 3 nodes'),
    ],
)
def test_an_edge_that_would_spoil_the_graph(change, words):
    _, nodes, edges = drive(3)
    bad = replace(Edge(2, 0, HERE, COVARIANCE), **change)
    with pytest.raises(GraphError, match=words):
        optimize(PoseGraph(nodes, [*edges, bad]))


def test_no_nodes_and_no_pose():
    with pytest.raises(GraphError, match='a node at least'):
        optimize(PoseGraph([], []))
    with pytest.raises(GraphError, match='node 0 has no finite pose'):
        optimize(PoseGraph([Node(0, Pose((float('inf'), 0.0, 0.0)))], []))


def test_without_gtsam_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gtsam', None)
    with pytest.raises(GraphError, match='pip install gtsam'):
        optimize(PoseGraph([Node(0, HERE), Node(1, HERE)], [Edge(0, 1, HERE, COVARIANCE)]))


def test_what_each_kind_of_closure_is_worth():
    pose = Pose((0.0, 3.0, 4.0), turned(0.3))
    assert edge_of(PoseKind.NONE, pose, COVARIANCE) is None
    for kind in (PoseKind.FROM_MAP, PoseKind.METRIC):
        edge = edge_of(kind, pose, COVARIANCE, 7, 2)
        assert (edge.start, edge.end, edge.pose, edge.robust) == (7, 2, pose, True)
        np.testing.assert_array_equal(edge.covariance, COVARIANCE)
    turn = edge_of(PoseKind.ROTATION_ONLY, pose, COVARIANCE)
    assert turn.pose == Pose((0.0, 0.0, 0.0), pose.quaternion)
    np.testing.assert_allclose(turn.covariance[:3, :3], 4.0 * np.eye(3))
    np.testing.assert_array_equal(turn.covariance[3:, 3:], COVARIANCE[3:, 3:])
    scaled = edge_of(PoseKind.UP_TO_SCALE, pose, COVARIANCE)
    along = np.array([0.0, 0.6, 0.8])
    assert along @ scaled.covariance[:3, :3] @ along == pytest.approx(4.0)
    across = np.array([1.0, 0.0, 0.0])
    assert across @ scaled.covariance[:3, :3] @ across == pytest.approx(0.25)
    assert np.linalg.eigvalsh(scaled.covariance)[0] > 0


def test_odometry_stands_for_its_way_however_it_is_cut():
    config = GraphConfig()
    far, turn = Pose((4.0, 0.0, 0.0)), turned(0.1)
    whole = odometry_edge(0, 1, HERE, far, config)
    halves = [odometry_edge(0, 1, HERE, Pose((2.0, 0.0, 0.0), turn), config) for _ in range(2)]
    assert whole.covariance[0, 0] == pytest.approx(2 * halves[0].covariance[0, 0])
    assert whole.pose == far
    assert not whole.robust
    still = odometry_edge(0, 1, HERE, HERE, config)
    assert np.linalg.eigvalsh(still.covariance)[0] > 0


def test_heading_is_about_the_vertical_however_the_base_is_turned():
    on_its_side = Pose((0.0, 0.0, 0.0), (0.5, 0.5, 0.5, 0.5))
    after = replace(on_its_side, position_m=(5.0, 0.0, 0.0))
    edge = odometry_edge(0, 1, on_its_side, after, GraphConfig())
    up = on_its_side.rotation().inv().apply([0.0, 0.0, 1.0])
    values, vectors = np.linalg.eigh(edge.covariance[3:, 3:])
    assert abs(vectors[:, -1] @ up) == pytest.approx(1.0)
