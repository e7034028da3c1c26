"""Odometry that is sure tells a place from its copies; odometry that has gone far does not."""

import numpy as np
import pytest
from small_graphs import turned

from vpr_ros.maps.dead_reckoning import Uncertain
from vpr_ros.maps.look_alikes import HARMLESS_M, look_alike_odds
from vpr_ros.records import Pose

TOWN = np.random.default_rng(0).uniform(-100.0, 100.0, (500, 3)) * [1.0, 1.0, 0.0]
EXACT = np.eye(6) * 1e-4


def spread(x_m, y_m, yaw_rad=0.1):
    return np.diag([x_m, y_m, 0.1, 0.01, 0.01, yaw_rad]) ** 2


def odds(covariance, off=(0.0, 0.0, 0.0), here=Pose((0.0, 0.0, 0.0)), been=TOWN):  # noqa: B008
    expected = Uncertain(Pose((1.0, 2.0, 0.0)), covariance)
    x, y, z = np.add((1.0, 2.0, 0.0), off).tolist()
    return look_alike_odds(here, expected, Uncertain(Pose((x, y, z)), EXACT), been)


def test_the_surer_odometry_is_the_better_it_can_tell():
    sharp, blunt = odds(spread(5.0, 5.0)), odds(spread(50.0, 20.0))
    assert sharp == pytest.approx(100**2 / 3 / 25, rel=0.1)  # the areas of both densities
    assert 1.0 < blunt < 5.0 < sharp
    assert odds(spread(1e4, 1e4)) == pytest.approx(1.0, abs=0.01)


def test_far_from_where_it_is_expected_a_copy_is_likelier():
    assert odds(spread(10.0, 10.0), (30.0, 0.0, 0.0)) < 1.0 < odds(spread(10.0, 10.0))


def test_what_is_sure_enough_for_no_copy_to_do_harm():
    assert odds(spread(HARMLESS_M, HARMLESS_M) * 0.99) == np.inf
    assert odds(spread(HARMLESS_M * 1.1, 0.1)) < np.inf


def test_a_corridor_is_told_along_itself():
    corridor = np.stack((np.linspace(-50.0, 50.0, 101), *np.zeros((2, 101))), axis=1)
    assert odds(spread(1.0, 8.0), been=corridor) > 20.0
    assert odds(spread(30.0, 1.0), been=corridor) < 2.0


def test_heights_do_not_tell_copies_apart_however_the_base_is_turned():
    """The base's x axis points up: what is wide there is height."""
    up = Pose((0.0, 0.0, 0.0), (0.0, -(0.5**0.5), 0.0, 0.5**0.5))
    wide_in_x = np.diag([50.0, 3.0, 3.0, 0.01, 0.01, 0.01]) ** 2
    assert odds(wide_in_x, here=up) > 10.0 * odds(wide_in_x)
    turn = Pose((0.0, 0.0, 0.0), turned(1.2))
    assert odds(spread(5.0, 5.0), here=turn) == pytest.approx(odds(spread(5.0, 5.0)), rel=0.1)
