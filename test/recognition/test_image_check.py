"""Images that say nothing are found; dim, bright and dull ones are not taken for them."""

import numpy as np
import pytest

from vpr_ros.recognition.image_check import ImageCheck, blindness
from vpr_ros.records import Pose


def picture(seed=0, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, (120, 160, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ('image', 'word'),
    [
        (np.zeros((120, 160, 3), np.uint8), 'black'),
        (picture(0, 0, 9), 'black'),  # noise of a sensor behind a cap
        (np.full((120, 160, 3), 255, np.uint8), 'over-exposed'),
        (picture(0, 246, 256), 'over-exposed'),
        (np.full((120, 160, 3), 128, np.uint8), 'blank'),
        (picture(0, 126, 130), 'blank'),
    ],
)
def test_blind_images_are_named(image, word):
    assert word in blindness(image)
    assert word in ImageCheck().look(image).fault


def test_night_fog_and_glare_are_no_blindness():
    night = picture(0, 0, 8)
    night[40:60, 50:90] = 60  # one lit window
    glare = np.full((120, 160, 3), 255, np.uint8)
    glare[60:80] = picture(1)[60:80]
    fog = picture(2, 118, 138)
    for image in (night, glare, fog):
        assert blindness(image) == ''


def test_the_same_image_again_is_told():
    check, image = ImageCheck(), picture()
    assert [check.look(image).repeated for _ in range(3)] == [False, True, True]
    changed = image.copy()
    changed[1, 1, 1] ^= 1
    assert not check.look(changed).repeated


def test_a_buffer_that_is_filled_again_is_another_image():
    check, image = ImageCheck(), picture()
    check.look(image)
    image[:] = picture(1)
    assert not check.look(image).repeated
    fixed = picture(1)
    fixed.flags.writeable = False
    assert check.look(fixed).repeated and check.look(fixed).repeated
    assert not check.look(picture(2)).repeated


def test_a_frozen_camera_is_found_once_the_robot_has_moved():
    check, image = ImageCheck(), picture()
    faults = [check.look(image, Pose((x, 0.0, 0.0))).fault for x in (0.0, 0.2, 0.4, 0.6)]
    assert faults[:3] == [''] * 3
    assert 'stands still' in faults[3] and '0.6 m' in faults[3]
    assert check.look(picture(1), Pose((0.8, 0.0, 0.0))).fault == ''


def test_standing_still_is_no_fault():
    check, image = ImageCheck(), picture()
    assert {check.look(image, Pose((1.0, 0.0, 0.0))).fault for _ in range(50)} == {''}
