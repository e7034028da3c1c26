"""Preprocessing: the same numbers whatever the layout, and a clear refusal of the rest."""

import numpy as np
import pytest
import torch

from vpr_ros.errors import ImageError
from vpr_ros.image import to_tensor
from vpr_ros.records import ImageInput

SPEC = ImageInput(size=(42, 56))


@pytest.fixture
def photo():
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))


def test_shape_and_scale(photo):
    assert to_tensor(photo, SPEC).shape == (1, 3, 42, 56)
    white = to_tensor(np.full((10, 10, 3), 255, np.uint8), SPEC)
    expected = (1.0 - torch.tensor(SPEC.mean)) / torch.tensor(SPEC.std)
    torch.testing.assert_close(white[0, :, 5, 5], expected)


def test_normalising_before_or_after_resizing_is_the_same(photo):
    plain = ImageInput(size=(42, 56), mean=(0, 0, 0), std=(1, 1, 1))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (SPEC.mean, SPEC.std))
    torch.testing.assert_close(
        to_tensor(photo, SPEC), (to_tensor(photo, plain) - mean) / std, atol=1e-5, rtol=1e-5
    )


def test_same_size_is_not_resampled():
    image = np.arange(42 * 56 * 3, dtype=np.uint8).reshape(42, 56, 3)
    plain = ImageInput(size=(42, 56), mean=(0, 0, 0), std=(1, 1, 1))
    found = to_tensor(image, plain)[0].permute(1, 2, 0) * 255
    np.testing.assert_allclose(found.numpy(), image, atol=1e-4)


def test_views_and_read_only_arrays_are_fine_and_left_alone(photo):
    mirrored = photo[:, ::-1]
    torch.testing.assert_close(
        to_tensor(mirrored, SPEC), to_tensor(np.ascontiguousarray(mirrored), SPEC)
    )
    frozen = photo.copy()
    frozen.setflags(write=False)
    torch.testing.assert_close(to_tensor(frozen, SPEC), to_tensor(photo, SPEC))
    assert (frozen == photo).all()


def test_antialias_is_an_option(photo):
    noisy = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    sharp = ImageInput(size=(42, 56), antialias=False)
    assert (to_tensor(noisy, SPEC) - to_tensor(noisy, sharp)).abs().mean() > 0.3


@pytest.mark.parametrize(
    'bad',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_anything_else_is_refused(bad):
    with pytest.raises(ImageError, match=r'expected an RGB image \(H, W, 3\) of type uint8'):
        to_tensor(bad, SPEC)
