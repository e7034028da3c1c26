"""Keyframes by distance, angle, and time; the selector never freezes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from shared_data import shared_data

from vpr_ros.bags.keyframes import KeyframeSelector, keyframes
from vpr_ros.bags.poses import read_trajectory
from vpr_ros.bags.reader import open_bag
from vpr_ros.bags.trajectory import Trajectory
from vpr_ros.config import KeyframeConfig
from vpr_ros.records import Frame, Pose

SECOND_NS = 10**9
CONFIG = KeyframeConfig(distance_m=1.0, angle_rad=0.5, period_s=2.0)


def taken(config: KeyframeConfig, poses: list[Pose | None], rate_hz: float = 1.0) -> list[int]:
    selector = KeyframeSelector(config)
    stamps = (round(i / rate_hz * SECOND_NS) for i in range(len(poses)))
    return [i for i, (s, p) in enumerate(zip(stamps, poses, strict=True)) if selector.take(s, p)]


def along(*positions_m: float) -> list[Pose]:
    return [Pose((x, 0.0, 0.0)) for x in positions_m]


def turned(*angles_rad: float) -> list[Pose]:
    return [Pose((0, 0, 0), tuple(Rotation.from_euler('z', x).as_quat())) for x in angles_rad]


def test_first_image_is_a_keyframe_with_and_without_a_pose():
    assert taken(CONFIG, along(5)) == [0]
    assert taken(CONFIG, [None]) == [0]


def test_distance_is_measured_from_the_last_keyframe_in_a_straight_line():
    assert taken(CONFIG, along(0, 0.6, 1.0, 1.9, 2.0, 1.5, 1.0)) == [0, 2, 4, 6]


def test_turning_on_the_spot_makes_keyframes_either_way_around():
    assert taken(CONFIG, turned(0, 0.3, 0.6, 0.9, 1.2, 0.9, 0.6)) == [0, 2, 4, 6]
    assert taken(CONFIG, turned(3.0, -3.0, -2.7)) == [0, 2]


def test_zero_disables_a_limit():
    no_angle = KeyframeConfig(distance_m=1.0, angle_rad=0.0)
    assert taken(no_angle, turned(0, 1, 2, 3)) == [0]
    no_distance = KeyframeConfig(distance_m=0.0, angle_rad=0.5)
    assert taken(no_distance, along(0, 100, 200)) == [0]


def test_time_decides_where_both_limits_are_disabled():
    config = KeyframeConfig(distance_m=0.0, angle_rad=0.0, period_s=2.0)
    assert taken(config, along(0, 100, 200, 300, 400)) == [0, 2, 4]


def test_standing_still_with_a_known_pose_makes_no_keyframes():
    assert taken(CONFIG, along(*[0] * 100)) == [0]


def test_time_decides_where_the_pose_is_unknown_and_a_known_one_takes_over():
    poses = [*along(0, 0), None, None, None, *along(0, 0, 0, 5)]
    assert taken(CONFIG, poses) == [0, 2, 4, 6, 8]


def test_stamps_that_jump_back_start_anew():
    selector = KeyframeSelector(CONFIG)
    here = Pose((0, 0, 0))
    assert [selector.take(x * SECOND_NS, here) for x in (100, 101, 5, 6)] == [1, 0, 1, 0]
    assert [selector.take(x * SECOND_NS, None) for x in (7, 2, 3, 4)] == [1, 1, 0, 1]


def test_keyframes_carry_pose_and_path():
    frames = [Frame(np.zeros((1, 1, 3), np.uint8), i * SECOND_NS) for i in range(8)]
    # One metre a second; unknown from 3 to 6.
    stamps = np.array([0, 1, 2, 3, 6, 7]) * SECOND_NS
    positions = [(x / SECOND_NS, 0, 0) for x in stamps]
    trajectory = Trajectory.from_samples(stamps, positions, [(0, 0, 0, 1)] * 6)
    found = list(keyframes(frames, trajectory, CONFIG, max_gap_s=1.5))
    assert [x.frame.stamp_ns // SECOND_NS for x in found] == [0, 1, 2, 3, 5, 7]
    assert [x.travelled_m for x in found] == [0, 1, 2, 3, None, 7]
    assert [x.pose and x.pose.position_m[0] for x in found] == [0, 1, 2, 3, None, 7]


def test_without_a_trajectory_time_decides():
    frames = [Frame(np.zeros((1, 1, 3), np.uint8), i * SECOND_NS) for i in range(5)]
    found = list(keyframes(frames, None, CONFIG, max_gap_s=1.0))
    assert [x.frame.stamp_ns // SECOND_NS for x in found] == [0, 2, 4]
    assert {(x.pose, x.travelled_m) for x in found} == {(None, None)}


@pytest.mark.parametrize('distance_m', [0.5, 1.0, 2.0])
def test_keyframes_of_a_real_flight_lie_as_far_apart_as_asked(distance_m):
    config = KeyframeConfig(distance_m=distance_m, angle_rad=0.0)
    with open_bag(shared_data('bags', 'euroc_v101_compressed_mcap')) as bag:
        trajectory = read_trajectory(bag, '/ground_truth/pose')
        found = list(keyframes(bag.frames(), trajectory, config, max_gap_s=0.5))
    steps = [a.pose.distance_m(b.pose) for a, b in zip(found, found[1:], strict=False)]
    assert min(steps) >= distance_m
    assert 5 < len(found) < 100
    assert found[-1].travelled_m >= distance_m * (len(found) - 1)
    assert math.isclose(found[0].travelled_m, 0)
