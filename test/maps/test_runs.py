"""A street that looks like another: its closures agree with each other, and are false together."""

import numpy as np
from small_graphs import COVARIANCE, LAP, closure, drive, looped, off_m

from vpr_ros.maps.pose_graph import Edge, PoseGraph, optimize
from vpr_ros.maps.runs import runs_of, squared_limit
from vpr_ros.records import Pose

HERE = Pose((0.0, 0.0, 0.0))


def edges_between(pairs):
    return [Edge(start, end, HERE, COVARIANCE) for start, end in pairs]


def test_runs_end_where_either_end_jumps():
    _, nodes, odometry = drive(3 * LAP)
    along = [(80 + k, 40 + k) for k in range(8)]
    elsewhere = [(88 + k, 10 + k) for k in range(4)]
    later = [(115 + k, 75 + k) for k in range(3)]
    edges = odometry + edges_between(along + elsewhere + later)
    first = len(odometry)
    assert [run.tolist() for run in runs_of(nodes, edges)] == [
        list(range(first, first + 8)),
        list(range(first + 8, first + 12)),
        list(range(first + 12, first + 15)),
    ]


def test_what_lies_between_does_not_end_a_run():
    _, nodes, odometry = drive(3 * LAP)
    edges = odometry + edges_between([(80, 40), (82, 5), (84, 44), (86, 70), (88, 48)])
    first = len(odometry)
    assert [(run - first).tolist() for run in runs_of(nodes, edges)] == [[0, 2, 4], [1], [3]]
    assert runs_of(nodes, odometry) == []


def look_alike(count=3 * LAP):
    """Ten closures in a row that say a place is another one, among true ones before and after."""
    truth, graph = looped(count, every=2)
    odometry = [edge for edge in graph.edges if not edge.robust]
    true = [edge for edge in graph.edges if edge.robust and not 60 <= edge.start < 80]
    false = [closure(truth, k, k - LAP, k - LAP - 15) for k in range(60, 80)]
    edges = odometry + sorted(true + false, key=lambda edge: edge.start)
    wrong = np.array([edge in false for edge in edges])
    return truth, PoseGraph(graph.nodes, edges), wrong


def test_a_false_run_is_dropped_as_one():
    truth, graph, wrong = look_alike()
    assert wrong.sum() == 20
    found = optimize(graph)
    assert not found.kept[wrong].any()
    assert found.kept[~wrong].all()
    assert off_m(found.poses, truth) < 1.0


def test_a_true_run_stays_however_long():
    _, graph = looped(4 * LAP, every=1)
    assert optimize(graph).kept.all()


def test_chance_allows_more_of_more():
    assert squared_limit(4.0, 6) < squared_limit(4.0, 60) < squared_limit(5.0, 60)
