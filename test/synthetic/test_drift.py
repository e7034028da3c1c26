"""Odometry errs as stated, with the way; closures become wrong ones that are far from right."""

import numpy as np
import pytest
from small_graphs import laps

from vpr_ros.errors import ConfigError
from vpr_ros.records import Pose
from vpr_ros.synthetic.drift import Wander, drifted, false_pairs

NONE = Wander(0.0, 0.0, 0.0, 0.0)


def straight(count):
    return [Pose((float(k), 0.0, 0.0)) for k in range(count)]


def test_without_errors_it_is_the_truth():
    truth = laps(50)
    found = drifted(truth, NONE)
    assert max(a.distance_m(b) for a, b in zip(found, truth, strict=True)) < 1e-9
    assert drifted([]) == []


def test_the_same_seed_the_same_drift():
    truth = laps(50)
    assert drifted(truth, seed=3) == drifted(truth, seed=3)
    assert drifted(truth, seed=3) != drifted(truth, seed=4)
    assert drifted(truth, seed=3)[0] == truth[0]


def test_heading_errs_with_the_root_of_the_way():
    truth = straight(101)
    wander = Wander(0.0, 0.01, 0.0, 0.0)
    yaw = [drifted(truth, wander, seed)[-1].rotation().as_euler('xyz') for seed in range(200)]
    assert np.std(yaw, axis=0)[2] == pytest.approx(0.1, rel=0.2)
    assert np.abs(np.array(yaw)[:, :2]).max() < 1e-9  # roll and pitch stay true


def test_a_bias_lasts():
    truth = straight(101)
    wander = Wander(0.0, 0.0, 0.0, 1e-3, 1e6)
    poses = drifted(truth, wander, 1)
    yaw = np.array([pose.rotation().as_euler('xyz')[2] for pose in poses])
    np.testing.assert_allclose(yaw, np.linspace(0.0, yaw[-1], 101), atol=abs(yaw[-1]) * 0.05)
    assert yaw[-1] != 0.0


def test_length_errs_and_height_as_told():
    truth = straight(101)
    long = drifted(truth, Wander(0.0, 0.0, 0.05, 0.0, 1e9), 0)[-1].position_m
    assert long[0] != pytest.approx(100.0, abs=0.1)
    assert long[1:] == pytest.approx((0.0, 0.0))
    noisy = Wander(0.1, 0.0, 0.0, 0.0, vertical_share=1.0)
    assert drifted(truth, noisy, 0)[-1].position_m[2] != 0.0


def test_wrong_pairs_are_far_away_and_older():
    positions = np.array([pose.position_m for pose in straight(200)])
    pairs = np.array([(k, k - 100) for k in range(100, 200)])
    found, wrong = false_pairs(pairs, positions, 0.2, seed=1, least_m=30.0)
    assert wrong.sum() == 20
    np.testing.assert_array_equal(found[~wrong], pairs[~wrong])
    np.testing.assert_array_equal(found[:, 0], pairs[:, 0])
    assert (found[wrong, 0] - found[wrong, 1] > 30).all()
    assert not false_pairs(pairs, positions, 0.0)[1].any()


def test_a_share_that_is_none():
    with pytest.raises(ConfigError, match='from 0 to 1, found 2.0'):
        false_pairs(np.array([(1, 0)]), np.zeros((2, 3)), 2.0)
