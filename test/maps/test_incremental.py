"""A graph that grows: what it expects of closures, and what those that it is given do to it."""

from dataclasses import replace

import numpy as np
import pytest
from small_graphs import COVARIANCE, LAP, closure, drive, looped, off_m

from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import GraphError
from vpr_ros.maps.incremental import Incremental, squared_sigmas
from vpr_ros.maps.pose_graph import Edge, PoseGraph, gate_chi2, optimize
from vpr_ros.records import Pose

HERE = Pose((0.0, 0.0, 0.0))

pytest.importorskip('gtsam')


def grown(nodes, edges):
    graph = Incremental()
    for k, node in enumerate(nodes):
        assert graph.add(node, edges[k - 1] if k else None) == k
    return graph


def chi2(graph, edge):
    return graph.expected(edge).squared_sigmas(edge.stated)


def poses(graph):
    return [graph.pose(k) for k in range(len(graph))]


def test_live_the_same_as_at_once():
    truth, graph = looped()
    odometry = [edge for edge in graph.edges if not edge.robust]
    live, closures = Incremental(), {e.start: e for e in graph.edges if e.robust}
    for k, node in enumerate(graph.nodes):
        live.add(node, odometry[k - 1] if k else None)
        if k in closures:
            assert chi2(live, closures[k]) < gate_chi2(4.0)
            live.admit([closures[k]])
    assert len(live) == len(graph.nodes)
    assert live.pose() == live.pose(len(live) - 1)
    assert off_m(poses(live), optimize(graph).poses) < 0.2
    assert off_m(poses(live), truth) < 1.0
    at_once = Incremental.of(graph, GraphConfig())
    np.testing.assert_allclose(at_once.table()[:, :3], live.table()[:, :3], atol=0.2)


def test_the_expectation_widens_with_the_way_since_the_last_closure():
    truth, nodes, edges = drive(3 * LAP)
    shifted = replace(closure(truth, 41, 1), pose=Pose((3.0, 0.0, 0.0)))
    fresh = grown(nodes[:42], edges[:41])
    assert chi2(fresh, shifted) < gate_chi2(4.0)  # a lap of drift allows three metres
    fresh.admit([closure(truth, 40, 0)])
    five = replace(shifted, pose=Pose((5.0, 0.0, 0.0)))
    assert chi2(fresh, five) > gate_chi2(4.0)  # right after a closure, five are too many
    assert chi2(fresh, closure(truth, 41, 1)) < 6.0


def test_a_closure_over_a_few_metres_is_no_shortcut():
    truth, nodes, edges = drive(LAP)
    graph = grown(nodes, edges)
    far = closure(truth, LAP - 1, 0)
    before = graph.expected(far).covariance
    graph.admit([closure(truth, 23, 20)])
    np.testing.assert_array_equal(graph.expected(far).covariance, before)


def test_through_another_closure_what_the_graph_says_does_not_count():
    truth, nodes, edges = drive(2 * LAP)
    graph = grown(nodes, edges)
    one, other = (closure(truth, k, k - 30, k - 40) for k in (70, 72))  # false in the same way
    expected = graph.expected(one, other)
    assert expected.squared_sigmas(one.stated) < gate_chi2(4.0) < chi2(graph, one)


def test_the_third_lap_is_expected_through_closures_of_the_second():
    """No closure leads from the third lap to the first, but two in a row do; either way round."""
    truth, nodes, edges = drive(3 * LAP)
    graph = grown(nodes, edges)
    alone = graph.expected(closure(truth, 2 * LAP + 2, 2)).covariance
    graph.admit([closure(truth, LAP + 4, 4), closure(truth, 2 * LAP + 1, LAP + 1)])
    asked = closure(truth, 2 * LAP + 2, 2)
    other = graph.expected(asked)
    assert other.squared_sigmas(asked.stated) < gate_chi2(4.0)
    two = 2 * np.trace(COVARIANCE[:2, :2])  # and a few steps of odometry
    assert two < np.trace(other.covariance[:2, :2]) < 1.2 * two < np.trace(alone[:2, :2]) / 4
    back = Edge(2, 2 * LAP + 2, asked.pose.inverse(), COVARIANCE)
    np.testing.assert_allclose(
        graph.expected(back).covariance, other.inverse().covariance, rtol=0.2, atol=0.05
    )


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'covariance': -np.eye(6)}, 'not symmetric and positive'),
        ({'pose': Pose((float('nan'), 0.0, 0.0))}, 'no finite pose'),
        ({'end': 99}, 'joins no two of the 3 nodes'),
    ],
)
def test_an_edge_that_would_spoil_the_graph_changes_nothing(change, words):
    _, nodes, edges = drive(3)
    graph = grown(nodes, edges)
    good = Edge(2, 0, graph.pose(2).inverse() @ graph.pose(0), COVARIANCE)
    for use in (lambda edge: graph.admit([edge]), graph.expected):
        with pytest.raises(GraphError, match=words):
            use(replace(good, **change))
    graph.admit([good])
    assert graph.pose(2).distance_m(nodes[2].pose) < 0.1


def test_live_refuses_what_leads_nowhere():
    _, nodes, edges = drive(4)
    graph = Incremental()
    with pytest.raises(GraphError, match='expected the edge from node -1|joins no two'):
        graph.add(nodes[0], edges[0])
    graph.add(nodes[0])
    with pytest.raises(GraphError, match='node 1 needs the edge of odometry'):
        graph.add(nodes[1])
    with pytest.raises(GraphError, match='joins no two of the 2 nodes'):
        graph.add(nodes[1], edges[2])
    assert graph.add(nodes[1], edges[0]) == 1
    with pytest.raises(GraphError, match='expected the edge from node 1 to node 2'):
        graph.add(nodes[2], Edge(0, 2, HERE, COVARIANCE))


def test_squared_sigmas_of_edges_as_poses_say():
    truth, nodes, edges = drive(3)
    graph = Incremental.of(PoseGraph(nodes, edges), GraphConfig())
    off = replace(edges[0], pose=edges[0].pose @ Pose((1.0, 0.0, 0.0)), covariance=np.eye(6) / 4)
    found = squared_sigmas([edges[0], off], graph.table())
    np.testing.assert_allclose(found, [0.0, 4.0], atol=1e-3)
