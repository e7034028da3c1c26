"""A pose at the image's stamp: interpolated, near enough, or none."""

import numpy as np
import pytest

from vpr_ros.nodes.inputs.odometry import CAPACITY, PoseBuffer
from vpr_ros.records import Pose

NS = 1_000_000_000
QUARTER = (0.0, 0.0, np.sin(np.pi / 4), np.cos(np.pi / 4))  # 90 degrees about z


def buffer(*samples, max_gap_s=0.5):
    poses = PoseBuffer(max_gap_s)
    for second, x in samples:
        poses.put(int(second * NS), Pose((x, 0.0, 0.0)))
    return poses


@pytest.mark.parametrize(
    ('second', 'x'),
    [
        (1.0, 1.0),  # a sample
        (1.1, 1.5),  # between two samples
        (1.6, 2.0),  # the latest, near enough
        (0.6, 1.0),  # the first, near enough
        (0.4, None),  # before everything
        (1.8, None),  # the latest is too old
        (5.0, 5.0),
        (4.0, None),  # in a gap
    ],
)
def test_pose_at(second, x):
    pose = buffer((1.0, 1.0), (1.2, 2.0), (5.0, 5.0)).at(int(second * NS))
    assert (pose and pose.position_m[0]) == (x and pytest.approx(x))


def test_rotation_is_interpolated():
    poses = PoseBuffer(0.5)
    poses.put(0, Pose((0.0, 0.0, 0.0)))
    poses.put(NS // 10, Pose((0.0, 0.0, 0.0), QUARTER))
    assert poses.at(NS // 20).angle_rad(Pose((0.0, 0.0, 0.0))) == pytest.approx(np.pi / 4)


def test_empty_and_bounded():
    poses = PoseBuffer(0.5)
    assert poses.at(0) is None
    assert poses.latest() is None
    for k in range(2000):
        poses.put(k * NS // 100, Pose((float(k), 0.0, 0.0)))
    assert poses.at(9 * NS) is None  # forgotten
    assert poses.at(NS * 10).position_m[0] == pytest.approx(1000)
    assert poses.latest()[1].position_m[0] == 1999.0
    poses.clear()
    assert poses.latest() is None


def test_at_any_rate_memory_is_bounded():
    poses = PoseBuffer(0.5)
    for k in range(CAPACITY + 10):
        poses.put(k, Pose((float(k), 0.0, 0.0)))
    assert poses.at(0).position_m[0] == 10.0  # the oldest that is left


def test_a_clock_that_jumps_back_begins_anew():
    poses = buffer((100.0, 1.0), (1.0, 2.0))
    assert poses.at(100 * NS) is None
    assert poses.at(NS).position_m[0] == 2.0


def test_one_that_comes_late_is_left_out():
    poses = buffer((1.0, 1.0), (1.2, 2.0), (1.1, 77.0))
    assert poses.at(int(1.1 * NS)).position_m[0] == pytest.approx(1.5)


def test_two_of_one_stamp():
    assert buffer((1.0, 1.0), (1.0, 2.0), (1.2, 4.0)).at(NS).position_m[0] == 1.0
