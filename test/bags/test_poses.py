"""Poses of every kind of message, in real recordings against their ground truth."""

from __future__ import annotations

import numpy as np
import pytest
from made_bags import START_NS, header, message, pose, pose_stamped, write_bag
from scipy.spatial.transform import Rotation
from shared_data import shared_data

from vpr_ros.bags.poses import POSES, read_trajectory
from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import BagError

TURNED = tuple(Rotation.from_euler('z', 1).as_quat())


@pytest.mark.parametrize(
    ('name', 'count'), [('euroc_v101_compressed_mcap', 100), ('euroc_v101_raw_db3', 20)]
)
def test_real_poses_are_those_of_the_ground_truth(name, count):
    truth = np.loadtxt(shared_data('euroc_v101_keyframes', 'groundtruth.txt'))[:count]
    with open_bag(shared_data('bags', name)) as bag:
        assert bag.pose_topics() == ['/ground_truth/pose']
        trajectory = read_trajectory(bag, '/ground_truth/pose')
        stamps = [x.stamp_ns for x in bag.frames()]
    assert trajectory.frame_id == 'world'
    assert not trajectory.notes
    assert len(trajectory) == count
    for stamp_ns, row in zip(stamps, truth, strict=True):
        found = trajectory.at(stamp_ns, 0.0)
        assert found.position_m == pytest.approx(row[1:4], abs=1e-6)
        assert (found.rotation().inv() * Rotation.from_quat(row[4:])).magnitude() < 1e-5


def written(type_: str):
    """A message at (1, 2, 3), turned by 1 rad."""
    at = pose((1, 2, 3), TURNED)
    uncertain = message('geometry_msgs/msg/PoseWithCovariance', at, np.zeros(36))
    where = header(START_NS, 'odom')
    if type_.endswith('PoseStamped'):
        return message(type_, where, at)
    if type_.endswith('PoseWithCovarianceStamped'):
        return message(type_, where, uncertain)
    if type_.endswith('TransformStamped'):
        moved = message('geometry_msgs/msg/Vector3', 1.0, 2.0, 3.0)
        transform = message('geometry_msgs/msg/Transform', moved, at.orientation)
        return message(type_, where, 'base', transform)
    zero = message('geometry_msgs/msg/Vector3', 0.0, 0.0, 0.0)
    twist = message('geometry_msgs/msg/Twist', zero, zero)
    speed = message('geometry_msgs/msg/TwistWithCovariance', twist, np.zeros(36))
    return message(type_, where, 'base', uncertain, speed)


@pytest.mark.parametrize('type_', POSES)
def test_every_kind_of_pose_is_read(tmp_path, type_):
    with open_bag(write_bag(tmp_path / 'bag', [('/pose', START_NS, written(type_))])) as bag:
        assert bag.pose_topics() == ['/pose']
        trajectory = read_trajectory(bag, '/pose', 'odom', 'base')
    found = trajectory.at(START_NS, 0.0)
    assert found.position_m == (1, 2, 3)
    assert found.quaternion == pytest.approx(TURNED)
    assert trajectory.frame_id == 'odom'


def test_poses_of_several_frames_are_never_mixed(tmp_path):
    frames = ['map', 'map', 'odom', 'map', 'odom']
    poses = [
        ('/pose', START_NS + i, pose_stamped(START_NS + i, (i, 0, 0), frame))
        for i, frame in enumerate(frames)
    ]
    with open_bag(write_bag(tmp_path / 'bag', poses)) as bag:
        most = read_trajectory(bag, '/pose')
        assert (most.frame_id, len(most)) == ('map', 3)
        assert most.notes == ('2 of 5 poses of /pose are between other frames and left out.',)
        chosen = read_trajectory(bag, '/pose', parent_frame='odom')
        assert (chosen.frame_id, len(chosen)) == ('odom', 2)
        with pytest.raises(BagError, match="its frames are 'map', 'odom'"):
            read_trajectory(bag, '/pose', parent_frame='world')


def test_topic_without_usable_poses_is_refused(tmp_path):
    nowhere = [('/pose', START_NS, pose_stamped(START_NS, (np.nan, 0, 0)))]
    with open_bag(write_bag(tmp_path / 'bag', nowhere)) as bag:
        with pytest.raises(BagError, match='no usable pose: 1 of 1 poses with NaN'):
            read_trajectory(bag, '/pose')
        with pytest.raises(BagError, match="has no topic '/odom'"):
            read_trajectory(bag, '/odom')
    with (
        open_bag(shared_data('bags', 'euroc_v101_ros1.bag')) as bag,
        pytest.raises(BagError, match='not poses; pose topics are none'),
    ):
        read_trajectory(bag, '/camera/image_raw/compressed')
