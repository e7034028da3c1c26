"""A chain of tf is composed as tf2 does: static edges constant, moving ones interpolated."""

from __future__ import annotations

import numpy as np
import pytest
from made_bags import SECOND_NS, START_NS, STORE1, transforms, write_bag, write_bag1
from scipy.spatial.transform import Rotation

from vpr_ros.bags.poses import read_trajectory
from vpr_ros.bags.reader import open_bag
from vpr_ros.bags.transforms import Edge, find_chain
from vpr_ros.errors import BagError
from vpr_ros.records import Pose

UNIT = (0.0, 0.0, 0.0, 1.0)
MOUNT = Pose((0.3, 0.0, 1.0), tuple(Rotation.from_euler('y', 30, degrees=True).as_quat()))


def correction(time_s: float) -> Pose:
    """Pose of odom in map: a slow drift."""
    turn = Rotation.from_euler('z', 0.1 * time_s).as_quat()
    return Pose((1 + 0.2 * time_s, 0.0, 0.0), tuple(turn))


def odometry(time_s: float) -> Pose:
    """Pose of base in odom: a circle."""
    turn = Rotation.from_euler('z', 0.5 * time_s).as_quat()
    return Pose((np.sin(time_s), 1 - np.cos(time_s), 0.0), tuple(turn))


def edge(parent: str, child: str, time_s: float, pose: Pose) -> tuple:
    stamp_ns = START_NS + round(time_s * SECOND_NS)
    return parent, child, stamp_ns, pose.position_m, pose.quaternion


def drive(parents: tuple[str, str] = ('map', 'odom')) -> list:
    """Five seconds: odometry at 50 Hz, a correction at 10 Hz, the mount of a camera once."""
    mount = transforms(edge('base', 'camera', 0, MOUNT))
    written = [('/tf_static', START_NS, mount)]
    for i in range(251):
        time_s = i / 50
        stamp_ns = START_NS + round(time_s * SECOND_NS)
        edges = [edge(parents[1], 'base', time_s, odometry(time_s))]
        edges += [edge(*parents, time_s, correction(time_s))] * (i % 5 == 0)
        edges += [edge('base', 'wheel', time_s, odometry(3 * time_s))]
        written.append(('/tf', stamp_ns, transforms(*edges)))
    return written


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    with open_bag(write_bag(tmp_path_factory.mktemp('tf') / 'bag', drive())) as bag:
        yield bag


@pytest.mark.parametrize(
    ('frames', 'expected'),
    [
        (('odom', 'base'), odometry),
        (('map', 'base'), lambda t: correction(t) @ odometry(t)),
        (('map', 'camera'), lambda t: correction(t) @ odometry(t) @ MOUNT),
        (('camera', 'odom'), lambda t: (odometry(t) @ MOUNT).inverse()),
    ],
)
def test_chain_is_composed_forwards_backwards_and_through_static_edges(bag, frames, expected):
    trajectory = read_trajectory(bag, '/tf', *frames)
    assert (trajectory.frame_id, trajectory.child_frame_id) == frames
    assert len(trajectory) == 251
    assert not trajectory.notes
    for time_s in (0, 0.1, 0.13, 2.5, 4.777, 5):
        pose = trajectory.at(START_NS + round(time_s * SECOND_NS), 0.5)
        wanted = expected(time_s)
        assert pose.distance_m(wanted) < 2e-4, time_s
        assert pose.angle_rad(wanted) < 1e-4, time_s


def test_missing_chain_is_refused_with_the_frames_there_are(bag):
    with pytest.raises(BagError, match='its frames are base, camera, map, odom, wheel'):
        read_trajectory(bag, '/tf', 'world', 'base')
    with pytest.raises(BagError, match="no transforms from 'map' to 'base_link'"):
        read_trajectory(bag, '/tf', 'map', 'base_link')


def test_frames_must_be_named(bag):
    with pytest.raises(BagError, match='name the parent frame'):
        read_trajectory(bag, '/tf', child_frame='base')


def test_chain_in_which_nothing_moves_is_refused(bag):
    with pytest.raises(BagError, match='are constant or not usable'):
        read_trajectory(bag, '/tf', 'base', 'camera')


def test_a_static_edge_is_what_was_said_last(tmp_path):
    """Static transforms often carry no stamp, or that of the start."""
    still = Pose((0.0, 0.0, 0.0))
    written = [
        ('/tf_static', START_NS, transforms(edge('base', 'camera', 0, still))),
        ('/tf_static', START_NS + 1, transforms(edge('base', 'camera', 0, MOUNT))),
    ]
    for i in range(3):
        moved = Pose((float(i), 0.0, 0.0))
        written.append(('/tf', START_NS + 2 + i, transforms(edge('odom', 'base', i, moved))))
    with open_bag(write_bag(tmp_path / 'bag', written)) as bag:
        trajectory = read_trajectory(bag, '/tf', 'odom', 'camera')
    np.testing.assert_allclose(trajectory.positions_m[:, 0], [0.3, 1.3, 2.3])


def test_gap_of_one_edge_is_a_gap_of_the_chain(tmp_path):
    """Corrections go on while the wheels are silent; between them nobody knows where it is."""
    written = [
        ('/tf', START_NS + i, transforms(*edges))
        for i, edges in enumerate(
            [edge('map', 'odom', t, correction(t))]
            + [edge('odom', 'base', t, odometry(t))] * (not 1 < t < 3)
            for t in np.arange(0, 5, 0.25)
        )
    ]
    with open_bag(write_bag(tmp_path / 'bag', written)) as bag:
        trajectory = read_trajectory(bag, '/tf', 'map', 'base')
        assert trajectory.at(START_NS + 2 * SECOND_NS, 0.5) is None
        assert trajectory.at(START_NS + 4 * SECOND_NS, 0.5) is not None
        assert np.diff(trajectory.stamps_ns).max() == 2 * SECOND_NS
        longer = read_trajectory(bag, '/tf', 'map', 'base', max_gap_s=3.0)
        assert longer.at(START_NS + 2 * SECOND_NS, 0.5) is not None


def test_edges_that_share_no_time_are_refused(tmp_path):
    written = [
        ('/tf', START_NS, transforms(edge('map', 'odom', 0, correction(0)))),
        ('/tf', START_NS + 1, transforms(edge('odom', 'base', 9, odometry(9)))),
    ]
    with (
        open_bag(write_bag(tmp_path / 'bag', written)) as bag,
        pytest.raises(BagError, match='share no time'),
    ):
        read_trajectory(bag, '/tf', 'map', 'base')


@pytest.mark.parametrize('type_', ['tf/msg/tfMessage', 'tf2_msgs/msg/TFMessage'])
def test_transforms_of_ros1_have_slashes_and_an_older_type(tmp_path, type_):
    written = [
        (
            '/tf',
            START_NS + i,
            transforms(edge('/odom', '/base', i, odometry(i)), type_=type_, store=STORE1),
        )
        for i in range(5)
    ]
    with open_bag(write_bag1(tmp_path / 'tf.bag', written)) as bag:
        assert bag.pose_topics() == ['/tf']
        trajectory = read_trajectory(bag, '/tf', 'odom', 'base')
        assert trajectory.at(START_NS + 2 * SECOND_NS, 0.5).distance_m(odometry(2)) < 1e-9
        assert [x.type for x in bag.raw()] == ['tf2_msgs/msg/TFMessage'] * 5


def test_shortest_chain_is_found_in_a_graph_with_loops():
    edges = {Edge('a', 'b'), Edge('b', 'c'), Edge('c', 'd'), Edge('e', 'b'), Edge('e', 'd')}
    assert find_chain(edges, 'a', 'd') in (
        [Edge('a', 'b'), Edge('b', 'c'), Edge('c', 'd')],
        [Edge('a', 'b'), Edge('e', 'b'), Edge('e', 'd')],
    )
    assert find_chain(edges, 'd', 'e') == [Edge('e', 'd')]
    assert find_chain(edges, 'a', 'x') is None
    assert find_chain(edges, 'x', 'a') is None
