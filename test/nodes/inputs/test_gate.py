"""Which images are looked at: by time, by motion, after jumps."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vpr_ros.config import NodeConfig
from vpr_ros.nodes.inputs.gate import QueryGate
from vpr_ros.records import Pose

NS = 1_000_000_000


def gate(**settings):
    return QueryGate(NodeConfig(**settings))


def pose(x=0.0, yaw=0.0):
    return Pose((x, 0.0, 0.0), tuple(Rotation.from_euler('z', yaw).as_quat().tolist()))


def taken(gate, stamps_s, poses=None):
    """Stamps in seconds of the images that pass."""
    poses = poses or [None] * len(stamps_s)
    return [s for s, p in zip(stamps_s, poses, strict=True) if gate.takes(round(s * NS), p)]


def camera(hz, seconds, jitter=0.0, start=1000.0):
    """Stamps of a camera; the jitter is a share of its period."""
    chance = random.Random(0)
    return [
        start + (number + chance.uniform(-jitter, jitter)) / hz for number in range(seconds * hz)
    ]


def test_everything_passes_by_default():
    still = [pose()] * 60
    every = gate()
    assert taken(every, camera(30, 2), still) == camera(30, 2)
    assert every.skipped == 0


@pytest.mark.parametrize('jitter', [0.0, 0.2, 0.4])
@pytest.mark.parametrize(('hz', 'rate'), [(30, 10), (30, 20), (30, 29), (30, 7), (15, 4), (60, 1)])
def test_the_rate_is_the_one_asked_for_and_does_not_drift(hz, rate, jitter):
    limited = gate(query_rate=float(rate))
    stamps = taken(limited, camera(hz, 60, jitter))
    assert len(stamps) == pytest.approx(60 * rate, abs=2)
    assert limited.skipped == 60 * hz - len(stamps)
    assert np.diff(stamps).max() <= 1.0 / rate + (1.0 + 2.0 * jitter) / hz + 1e-6


@pytest.mark.parametrize('rate', [30.0, 31.0, 100.0])
def test_a_camera_that_is_no_faster_is_not_thinned_out(rate):
    stamps = camera(30, 20, 0.2)
    assert len(taken(gate(query_rate=rate), stamps)) >= len(stamps) - 1


def test_a_pause_is_not_made_up_for():
    limited = gate(query_rate=1.0)
    taken(limited, camera(10, 5))
    after = taken(limited, camera(10, 3, start=1100.0))
    assert after == pytest.approx([1100.0, 1101.0, 1102.0])


def test_motion_lets_pass_by_way_or_by_turn():
    moving = gate(query_min_distance_m=1.0, query_min_angle_rad=0.5)
    poses = [pose(0), pose(0.9), pose(1.0), pose(1.5), pose(1.5, 0.6), pose(1.5, 1.0), None]
    assert taken(moving, [1, 2, 3, 4, 5, 6, 7], poses) == [1, 3, 5, 7]
    assert moving.skipped == 3


def test_a_turn_does_not_count_unless_asked_for():
    moving = gate(query_min_distance_m=1.0)
    assert taken(moving, [1, 2], [pose(), pose(0, math.pi)]) == [1]


def test_the_first_known_pose_passes_and_is_measured_against():
    moving = gate(query_min_distance_m=1.0)
    assert taken(moving, [1, 2, 3, 4], [None, pose(), None, pose(0.5)]) == [1, 2, 3]


def test_a_robot_that_starts_after_standing_is_looked_at_at_once():
    both = gate(query_rate=1.0, query_min_distance_m=1.0)
    stamps = [1, 1.5, 3.3, 3.4, 3.9, 4.4]
    poses = [pose(0), pose(5), pose(0.5), pose(2), pose(5), pose(8)]
    assert taken(both, stamps, poses) == [1, 3.4, 4.4]


def test_a_clock_that_jumps_back_starts_anew():
    both = gate(query_rate=1.0, query_min_distance_m=1.0)
    assert taken(both, [100, 101.5], [pose(), pose(2)]) == [100, 101.5]
    assert taken(both, [101.4, 101.6], [pose(2), pose(2)]) == [101.4]
    assert both.skipped == 1


def test_images_without_a_stamp_are_not_early():
    limited = gate(query_rate=1.0)
    assert taken(limited, [5.0, 0.0, 0.0, 5.1, 6.0]) == [5.0, 0.0, 0.0, 6.0]
    moving = gate(query_min_distance_m=1.0)
    assert taken(moving, [0.0, 0.0], [pose(), pose()]) == [0.0]


def test_retuning_and_reset():
    slow = gate(query_rate=0.01)
    assert taken(slow, [1.0, 2.0]) == [1.0]
    slow.retune(NodeConfig(query_rate=2.0))
    assert taken(slow, [3.0, 3.1, 3.5]) == [3.0, 3.5]
    slow.retune(NodeConfig(query_rate=2.0, input_timeout_s=3.0))
    assert taken(slow, [3.6]) == []
    slow.reset()
    assert taken(slow, [3.6]) == [3.6]
    assert slow.skipped == 3
    slow.retune(NodeConfig())
    assert taken(slow, [3.7, 3.8]) == [3.7, 3.8]
