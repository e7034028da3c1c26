"""Corners and their upright descriptors: where they lie, what they depend on and survive."""

import cv2
import numpy as np
import pytest

from vpr_ros.config.recognition import VerificationConfig
from vpr_ros.recognition.geometry.corners import BORDER, MOST_CORNERS, corners
from vpr_ros.recognition.geometry.keypoints import sift
from vpr_ros.recognition.geometry.point_matches import match_points
from vpr_ros.recognition.geometry.views import View, explain


@pytest.fixture(scope='module')
def image():
    """Blobs of many sizes, grey, as wide as thumbnails."""
    random = np.random.default_rng(0)
    large = np.full((480, 640), 128, np.uint8)
    for _ in range(400):
        centre = (int(random.integers(640)), int(random.integers(480)))
        cv2.circle(large, centre, int(random.integers(3, 20)), int(random.integers(255)), -1)
    return cv2.resize(large, (320, 240), interpolation=cv2.INTER_AREA)


def warped(image, matrix):
    matrix = np.asarray(matrix, np.float64)
    return cv2.warpAffine(image, matrix, (320, 240), flags=cv2.INTER_CUBIC, borderValue=128)


def inliers(method, image, other):
    ours, theirs = match_points(method(image), method(other))
    return int(explain(View(ours, (240, 320)), View(theirs, (240, 320)), 2.0).inlier.sum())


def rolled(image, degrees):
    return warped(image, cv2.getRotationMatrix2D((159.5, 119.5), degrees, 1.0))


def test_the_strongest_corners_are_taken_and_none_at_the_edge(image):
    found = corners(image)
    assert len(found.points) == len(found.descriptors) == MOST_CORNERS
    assert (found.points > BORDER - 1).all()
    assert (found.points < np.array((320, 240)) - BORDER).all()
    assert found.size == (240, 320)
    response = cv2.cornerMinEigenVal(image, 3)
    column, row = found.points.round().astype(int).T
    assert np.median(response[row, column]) > 20 * np.median(response)


def test_descriptors_are_unit_vectors_without_negative_values(image):
    descriptors = corners(image).descriptors
    assert descriptors.dtype == np.float32
    assert descriptors.shape[1] == 128
    assert np.allclose(np.linalg.norm(descriptors, axis=1), 1.0, atol=1e-5)
    assert (descriptors >= 0).all()


def test_a_shift_is_found_to_a_fraction_of_a_pixel(image):
    ours, theirs = match_points(
        corners(image), corners(warped(image, [(1, 0, 3.4), (0, 1, -2.3)]))
    )
    assert len(ours) > 150
    assert np.abs(np.median(theirs - ours, axis=0) - (3.4, -2.3)).max() < 0.1


def test_a_descriptor_depends_on_what_surrounds_its_corner_alone(image):
    whole, part = corners(image), corners(np.ascontiguousarray(image[20:, 40:]))
    here = {tuple(x): row for row, x in enumerate(whole.points.round(3) - (40, 20))}
    same = [(here[tuple(x)], row) for row, x in enumerate(part.points.round(3))
            if tuple(x) in here and x.min() > 12]  # fmt: skip
    assert len(same) > 100
    ours, theirs = np.array(same).T
    assert np.array_equal(whole.descriptors[ours], part.descriptors[theirs])


def test_less_light_changes_little(image):
    dim = (image * 0.4).astype(np.uint8)
    ours, theirs = match_points(corners(image), corners(dim))
    assert len(ours) > 250
    assert (np.linalg.norm(ours - theirs, axis=1) < 1.0).mean() > 0.98


@pytest.mark.parametrize('degrees', [0, 5, 10, -10])
def test_a_little_roll_is_survived(image, degrees):
    assert inliers(corners, image, rolled(image, degrees)) > 60


def test_more_roll_is_for_sift(image):
    assert inliers(corners, image, rolled(image, 35)) < VerificationConfig().min_inliers
    assert inliers(sift, image, rolled(image, 35)) > 60


@pytest.mark.parametrize('size', [(16, 16), (16, 320), (240, 320)])
def test_a_wall_has_no_corners(size):
    found = corners(np.full(size, 90, np.uint8))
    assert found.points.shape == (0, 2)
    assert found.descriptors.shape == (0, 128)
    assert [len(x) for x in match_points(found, found)] == [0, 0]
