"""Matches of points against what a search of all pairs gives."""

import numpy as np
import pytest

from vpr_ros.recognition.geometry.keypoints import Keypoints, peak, root
from vpr_ros.recognition.geometry.point_matches import RATIO, match_points


def keypoints(random, count, like=None, noise=0.05):
    """Points with descriptors, those of another image with noise first."""
    histograms = random.random((count, 128)) ** 4
    if like is not None:
        shared = min(count, len(like.descriptors))
        changed = like.descriptors[:shared] ** 2 + noise * histograms[:shared]
        histograms[:shared] = changed
    points = random.uniform(0, 320, (count, 2)).astype(np.float32)
    return Keypoints(points, root(histograms.astype(np.float32)), (240, 320))


def searched(query, place):
    """Pairs of rows: mutual nearest neighbours, distinct on both sides."""
    distance = np.linalg.norm(query.descriptors[:, None] - place.descriptors[None], axis=2)
    pairs = []
    for row, line in enumerate(distance):
        column = int(line.argmin())
        back = distance[:, column]
        others, backs = np.delete(line, column), np.delete(back, row)
        if back.argmin() != row or not len(others) or not len(backs):
            continue
        if line[column] < RATIO * others.min() and back[row] < RATIO * backs.min():
            pairs.append((row, column))
    return pairs


@pytest.mark.parametrize('counts', [(60, 80), (80, 60), (2, 2), (40, 2)])
@pytest.mark.parametrize('noise', [0.001, 0.02])
def test_mutual_and_distinct_on_both_sides(counts, noise):
    random = np.random.default_rng(sum(counts))
    place = keypoints(random, counts[1])
    query = keypoints(random, counts[0], place, noise)
    ours, theirs = match_points(query, place)
    expected = searched(query, place)
    assert min(counts) == 2 or len(expected) > 20
    assert np.array_equal(ours, query.points[[row for row, _ in expected]])
    assert np.array_equal(theirs, place.points[[column for _, column in expected]])


def test_strangers_share_little():
    random = np.random.default_rng(0)
    ours, _ = match_points(keypoints(random, 200), keypoints(random, 200))
    assert len(ours) < 5


def test_two_that_are_alike_match_nothing():
    random = np.random.default_rng(0)
    place = keypoints(random, 20)
    twice = Keypoints(
        np.concatenate([place.points, place.points + 9]), np.tile(place.descriptors, (2, 1)),
        place.size,
    )  # fmt: skip
    assert len(match_points(place, twice)[0]) == len(match_points(twice, place)[0]) == 0


def test_one_pair_of_points_is_one_match_whatever_its_orientations():
    random = np.random.default_rng(0)
    one, other = keypoints(random, 20), keypoints(random, 20)
    doubled = Keypoints(
        np.tile(one.points, (2, 1)), np.concatenate([one.descriptors, other.descriptors]), one.size
    )
    ours, theirs = match_points(doubled, doubled)
    assert len(ours) == 20
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize('count', [0, 1])
def test_too_few_to_tell_apart_match_nothing(count):
    random = np.random.default_rng(0)
    few, many = keypoints(random, count), keypoints(random, 20)
    assert [len(x) for x in match_points(few, many)] == [0, 0]
    assert [len(x) for x in match_points(many, few)] == [0, 0]


def test_the_top_of_a_parabola_and_what_has_none():
    x = np.array((-1.0, 0.0, 1.0))
    for top in (-0.4, 0.0, 0.3):
        assert np.isclose(peak(*(5.0 - 2.0 * (x - top) ** 2)), top)
    assert peak(*(5.0 - 2.0 * (x - 0.9) ** 2)) == 0.5
    for none in ((1.0, 1.0, 1.0), (1.0, 0.0, 2.0), (np.nan, 1.0, 0.0)):
        assert peak(*map(np.float64, none)) == 0.0
