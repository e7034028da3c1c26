from __future__ import annotations

import numpy as np

from vpr_ros.synthetic.ripmaps import Ripmaps, sample_bilinear


def test_reading_between_pixels_interpolates():
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = sample_bilinear(picture, np.array([0.0, 1.5, 3.0]), np.array([0.0, 0.5, 2.0]))
    np.testing.assert_allclose(found, [0.0, 3.5, 11.0])


def test_reading_nowhere_gives_nothing():
    nowhere = np.zeros(0, np.float32)
    assert sample_bilinear(np.zeros((3, 4, 2), np.float32), nowhere, nowhere).shape == (0, 2)


def test_a_texture_far_away_is_its_mean_and_near_by_itself():

    def read(number: int, extent: float) -> int:
        index, at, far = np.full(1, number), np.full(1, (8 + 0.5) / 32), np.full(1, extent)
        return int(maps.sample(np.stack(maps.coordinates(index, at, at, far, far)))[0])

    checks = (np.indices((32, 32)).sum(axis=0) % 2 * 200).astype(np.uint8)
    maps = Ripmaps(np.stack([checks, checks // 2]), wrap=True)
    assert read(0, 1 / 64) == 0
    assert abs(read(0, 1.0) - 100) < 2
    assert abs(read(1, 1.0) - 50) < 2


def test_slant_blurs_one_direction_only():
    stripes = np.zeros((32, 32), np.uint8)
    stripes[:, ::2] = 200  # they change along u
    maps = Ripmaps(stripes[None], wrap=True)
    index, at = np.zeros(1, int), np.full(1, (8 + 0.5) / 32)
    near, far = np.full(1, 1 / 64), np.full(1, 0.5)
    sharp = maps.sample(np.stack(maps.coordinates(index, at, at, near, far)))
    blurred = maps.sample(np.stack(maps.coordinates(index, at, at, far, near)))
    assert sharp[0] == 200
    assert abs(int(blurred[0]) - 100) < 2
