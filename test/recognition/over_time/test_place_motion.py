"""Belief moves as far as the robot did, within a session where poses are missing."""

import numpy as np
import pytest

from vpr_ros.recognition.neighbourhood import NS, PlaceArrays
from vpr_ros.recognition.over_time.place_motion import MOST_MOVED, MOST_SIGMA_M, PlaceMotion
from vpr_ros.records import Place, Pose


def line(count, posed=True, session=1, y=0.0):
    return [
        Place(0, session, i * NS, Pose((float(i), y, 0.0)) if posed else None)
        for i in range(count)
    ]


def motion(places, sigma_m=0.5):
    return PlaceMotion(PlaceArrays(places), sigma_m, 0.1)


def belief_at(row, count):
    belief = np.zeros(count)
    belief[row] = 1.0
    return belief


@pytest.mark.parametrize('count', [60, 3 * MOST_MOVED])
def test_mass_moves_either_way_by_the_distance(count):
    after = motion(line(count)).by_distance(belief_at(30, count), 10.0, 1.0)
    assert after.sum() == pytest.approx(1.0)
    assert after[16:25].sum() == pytest.approx(0.5, abs=0.05)
    assert after[36:45].sum() == pytest.approx(0.5, abs=0.05)
    assert np.argmax(after) in (20, 40)


def test_standing_still_leaves_it_where_it_is():
    after = motion(line(60)).by_distance(belief_at(30, 60), 0.0, 1.0)
    assert after.argmax() == 30
    assert after[28:33].sum() > 0.99


def test_mass_that_leaves_the_map_is_gone():
    after = motion(line(60)).by_distance(belief_at(30, 60), 100.0, 1.0)
    assert after.sum() == 0.0


def test_mass_reaches_places_of_another_session_by_pose_and_not_by_time():
    near = line(60) + line(60, session=2, y=1.0)
    assert motion(near).by_distance(belief_at(30, 120), 1.0, 1.0)[60:].sum() > 0.2
    after = motion(near).by_time(belief_at(30, 120), 1.0)
    assert after[60:].sum() == 0.0
    assert after[26:35].sum() == pytest.approx(1.0)
    assert np.flatnonzero(after).tolist() == list(range(26, 35))  # three times as fast, a place


def test_without_poses_odometry_moves_along_the_session():
    places = line(60, posed=False) + line(60, posed=False, session=2)
    after = motion(places).by_distance(belief_at(90, 120), 1.0, 1.0)
    assert after.sum() == pytest.approx(1.0)
    assert set(np.flatnonzero(after)) == set(range(86, 95))


def test_places_added_later_are_reached():
    places = line(600)
    arrays = PlaceArrays(places[:580])
    moving = PlaceMotion(arrays, 0.5, 0.1)
    moving.by_distance(belief_at(579, 580), 1.0, 1.0)
    arrays.extend(places[580:])  # too few for a new tree
    after = moving.by_distance(belief_at(579, 600), 5.0, 1.0)
    assert after[583:586].sum() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(('spacing_m', 'sigma_m'), [(0.04, 0.04), (0.3, 0.3), (5.0, MOST_SIGMA_M)])
def test_where_nothing_is_set_the_map_says_how_far_a_motion_errs(spacing_m, sigma_m):
    places = [Place(0, 1, i * NS, Pose((spacing_m * i, 0.0, 0.0))) for i in range(50)]
    moving = motion(places, sigma_m=0.0)
    after = moving.by_distance(belief_at(20, 50), 5 * spacing_m, 1.0)
    assert (moving.sigma_m, moving.spacing_m) == pytest.approx((sigma_m, spacing_m))
    assert set(np.argsort(after)[-2:]) == {15, 25}
    moving.forget()
    assert moving.sigma_m == MOST_SIGMA_M


def test_without_neighbours_a_motion_errs_as_ever():
    alone = [Place(0, i, i * NS, Pose((float(i), 0.0, 0.0))) for i in range(5)]
    moving = motion(alone, sigma_m=0.0)
    moving.by_distance(belief_at(2, 5), 1.0, 1.0)
    assert moving.sigma_m == MOST_SIGMA_M


def test_an_even_belief_stays_even():
    even = np.full(2000, 1 / 2000)
    np.testing.assert_allclose(motion(line(2000)).by_distance(even, 3.0, 1.0), even)
