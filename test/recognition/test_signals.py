"""Signals on made-up similarities, where every figure can be computed by hand."""

import math

import numpy as np
import pytest

from vpr_ros.recognition.neighbourhood import PlaceArrays
from vpr_ros.recognition.signals import CHANCE_INLIERS, ambiguity, margin, measure
from vpr_ros.records import Candidate, Place, Pose, Signals, Verification

S = 1_000_000_000


def line(count, posed=True, step_m=10.0):
    pose = [Pose((step_m * k, 0.0, 0.0)) if posed else None for k in range(count)]
    return PlaceArrays([Place(k + 1, 0, 100 * k * S, pose[k]) for k in range(count)])


def test_rivals_are_away_from_the_best_place():
    similarity = np.linspace(0.0, 0.4, 20).astype(np.float32)
    similarity[[5, 6]] = 0.9, 0.85
    places = line(20)
    away = np.delete(similarity, [5, 6])
    found = measure(similarity, 5, places, 12.0)  # rows 4 to 6 are neighbours
    away = np.delete(similarity, [4, 5, 6])
    assert found.gap == pytest.approx(0.9 - 0.4)
    assert found.z_score == pytest.approx((0.9 - away.mean()) / away.std(), rel=1e-4)
    assert measure(similarity, 5, places, 5.0).gap == pytest.approx(0.05)


def test_places_that_were_not_searched_say_nothing():
    similarity = np.linspace(0.0, 0.4, 40).astype(np.float32)
    similarity[3], similarity[30:] = 0.8, -np.inf
    found = measure(similarity, 3, line(40), 5.0)
    assert math.isfinite(found.z_score) and math.isfinite(found.spread)
    assert found.gap == pytest.approx(0.8 - similarity[29])


@pytest.mark.parametrize('count', [1, 2, 5])
@pytest.mark.parametrize('posed', [True, False])
def test_small_maps_know_less_and_never_fail(count, posed):
    found = measure(np.full(count, 0.5, np.float32), 0, line(count, posed), 5.0)
    assert found.similarity == 0.5
    assert math.isnan(found.z_score)
    assert math.isnan(found.gap) == (count == 1)
    assert math.isnan(found.spread) == (count == 1 or not posed)


def test_equal_similarities_have_no_deviation():
    assert math.isnan(measure(np.full(30, 0.5, np.float32), 0, line(30), 5.0).z_score)


def test_the_spread_is_clipped_on_both_sides():
    similarity = np.full(10, 0.5, np.float32)
    near = measure(similarity, 0, line(10, step_m=1.0)).spread
    wide = measure(similarity, 0, line(10, step_m=50.0)).spread
    assert 0.0 < near < wide < 1.0
    one = measure(similarity, 0, line(10, step_m=1e5)).spread
    assert wide < one <= 1.0
    mirrored = measure(similarity, 0, line(10, step_m=-1e5)).spread
    assert mirrored == pytest.approx(one)


def test_ambiguity_falls_with_the_gap():
    told = [ambiguity(Signals(0.8, gap=gap)) for gap in (-0.1, 0.0, 0.05, 0.1, 0.9)]
    assert told[:2] == [1.0, 1.0] and told[-1] == 0.0
    assert told == sorted(told, reverse=True)
    assert math.isnan(ambiguity(Signals(0.8)))


def verified(row, inliers):
    """A candidate with so many inliers; None: it was not verified."""
    nothing = np.zeros((0, 2), np.float32)
    found = None
    if inliers is not None:
        found = Verification('sift', '', nothing, nothing, np.ones(inliers, bool))
    return Candidate(Place(row + 1, 0, 0), 0.5, verification=found)


@pytest.mark.parametrize(
    ('inliers', 'rival'),
    [
        ([(5, 40)], 0),
        ([(5, 40), (9, None)], 0),  # elsewhere, and not looked at
        ([(5, 40), (6, 30), (9, 10)], 10),  # the neighbour is no rival
        ([(5, 9), (12, 25), (9, 10)], 25),
    ],
)
def test_the_margin_is_over_places_elsewhere(inliers, rival):
    rows = {row + 1: row for row in range(20)}
    found = margin([verified(*one) for one in inliers], rows, line(20), 12.0)
    best = inliers[0][1]
    assert found == pytest.approx(math.log((best + CHANCE_INLIERS) / (rival + CHANCE_INLIERS)))


def test_without_geometry_of_the_best_place_there_is_no_margin():
    rows = {row + 1: row for row in range(20)}
    assert math.isnan(margin([verified(5, None), verified(9, 30)], rows, line(20), 12.0))
