"""Pictures of both demo drives, to measure ranges on."""

import numpy as np

from vpr_ros.synthetic.demo import demo_pictures


def test_pictures_come_from_both_drives_and_differ():
    morning, later, afternoon = demo_pictures(3)
    assert morning.shape == afternoon.shape and morning.dtype == np.uint8
    pairs = ((morning, later), (later, afternoon), (morning, afternoon))
    assert all(np.abs(a.astype(int) - b).mean() > 5 for a, b in pairs)
    np.testing.assert_array_equal(next(demo_pictures(1)), morning)
