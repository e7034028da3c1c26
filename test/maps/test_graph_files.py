"""Graphs and trajectories as files: what is read is what was written, also by others."""

import gtsam
import numpy as np
import pytest
from small_graphs import LAP, looped

from vpr_ros.errors import GraphError
from vpr_ros.maps.factors import to_pose
from vpr_ros.maps.graph_files import read_g2o, write_g2o, write_tum
from vpr_ros.maps.pose_graph import Node, PoseGraph, optimize
from vpr_ros.records import Pose


@pytest.fixture
def graph():
    return looped(LAP + 10)[1]


def test_g2o_there_and_back(graph, tmp_path):
    write_g2o(tmp_path / 'a.g2o', graph)
    again = read_g2o(tmp_path / 'a.g2o')
    for one, other in zip(again.nodes, graph.nodes, strict=True):
        assert one.stamp_ns == other.stamp_ns
        assert one.pose.position_m == other.pose.position_m
        assert one.pose.angle_rad(other.pose) < 1e-7
    assert [(e.start, e.end, e.robust) for e in again.edges] == [
        (e.start, e.end, e.robust) for e in graph.edges
    ]
    for one, other in zip(again.edges, graph.edges, strict=True):
        np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-6, atol=1e-12)
    assert [path.name for path in tmp_path.iterdir()] == ['a.g2o']


def test_gtsam_reads_the_same_graph(graph, tmp_path):
    write_g2o(tmp_path / 'a.g2o', graph)
    terms, values = gtsam.readG2o(str(tmp_path / 'a.g2o'), True)
    assert terms.size() == len(graph.edges)
    assert to_pose(values.atPose3(7)).distance_m(graph.nodes[7].pose) < 1e-9
    ours = optimize(graph)
    assert terms.error(values) == pytest.approx(ours.error_before, rel=1e-6)
    assert values.size() == len(graph.nodes)


def test_tum_keeps_nanoseconds(tmp_path):
    write_tum(tmp_path / 'a.tum', [Node(1_700_000_000_000_000_007, Pose((1.5, 0.0, -2.0)))])
    line = (tmp_path / 'a.tum').read_text()
    assert line == '1700000000.000000007 1.5 0.0 -2.0 0.0 0.0 0.0 1.0\n'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', 'a node at least'),
        ('VERTEX_SE3:QUAT 0 1 2 3\n', 'line 1, is no line of a pose graph'),
        ('VERTEX_SE3:QUAT 0 0 0 0 0 0 0 0\n', 'unit quaternion'),
        ('VERTEX_SE3:QUAT 0 nan 0 0 0 0 0 1\n', 'node 0 has no finite pose'),
        ('VERTEX_SE3:QUAT 0 0 0 0 0 0 0 1\nEDGE_SE3:QUAT 0 9 0 0 0 0 0 0 1\n', 'an edge that is'),
        (
            'VERTEX_SE3:QUAT 0 0 0 0 0 0 0 1\nVERTEX_SE3:QUAT 1 0 0 0 0 0 0 1\n'
            'EDGE_SE3:QUAT 0 1 0 0 0 0 0 0 1' + ' 0' * 21 + '\n',
            'an edge that is none',
        ),
    ],
)
def test_files_that_are_no_graphs(text, words, tmp_path):
    (tmp_path / 'a.g2o').write_text(text)
    with pytest.raises(GraphError, match=words):
        read_g2o(tmp_path / 'a.g2o')


def test_what_cannot_be_written_or_read(graph, tmp_path):
    with pytest.raises(GraphError, match='cannot write'):
        write_g2o(tmp_path / 'none' / 'a.g2o', graph)
    with pytest.raises(GraphError, match='a node at least'):
        write_g2o(tmp_path / 'a.g2o', PoseGraph([], []))
    with pytest.raises(GraphError, match='cannot read the pose graph'):
        read_g2o(tmp_path / 'a.g2o')
    assert not list(tmp_path.iterdir())
