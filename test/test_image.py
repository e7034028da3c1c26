"""Preprocessing: the same numbers whatever the layout, and a clear refusal of the rest."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vpr_ros.errors import ImageError
from vpr_ros.image import check_tensor, to_batch, to_tensor
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
    ('bad', 'reason'),
    [
        (np.zeros((4, 4), np.uint8), r'found \(4, 4\): repeat the grey channel'),
        (np.zeros((4, 4, 1), np.uint8), 'repeat the grey channel'),
        (np.zeros((4, 4, 4), np.uint8), 'drop the alpha channel'),
        (np.zeros((2, 4, 4, 3), np.uint8), r'found \(2, 4, 4, 3\)'),
        (np.zeros((4, 4, 3), np.uint16), 'of uint16: scale it to 0..255'),
        (np.full((4, 4, 3), np.nan, np.float32), 'of float32: scale it to 0..255'),
        (np.zeros((0, 4, 3), np.uint8), 'with pixels, found'),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), 'at most 80 megapixels'),
        ([[0, 0, 0]], 'found a list'),
    ],
)
def test_anything_else_is_refused_in_one_sentence(bad, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        to_tensor(bad, SPEC)
    assert '\n' not in str(caught.value)


def test_a_batch_is_its_images_one_by_one(photo):
    other = photo[:50, :70]
    batch = to_batch([photo, other], SPEC)
    assert torch.equal(batch, torch.cat([to_tensor(photo, SPEC), to_tensor(other, SPEC)]))
    assert torch.equal(to_batch(np.stack([photo, photo]), SPEC)[1:], batch[:1])


def test_one_image_in_place_of_a_batch_is_refused(photo):
    with pytest.raises(ImageError, match='put it in a list'):
        to_batch(photo, SPEC)
    with pytest.raises(ImageError, match='at least one image'):
        to_batch([], SPEC)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda x: x[:, :, :40], r'expected images \(B, 3, 42, 56\), found \(2, 3, 40, 56\)'),
        (lambda x: x[0], r'found \(3, 42, 56\)'),
        (lambda x: x[:0], r'found \(0, 3, 42, 56\)'),
        (lambda x: x.double(), 'type float32, found torch.float64'),
        (lambda x: x.where(x < x.max(), torch.nan), 'found NaN or infinity'),
        (lambda x: x.where(x < x.max(), torch.inf), 'found NaN or infinity'),
    ],
)
def test_tensors_that_no_image_gives_are_refused(photo, change, reason):
    batch = to_batch([photo, photo[::-1]], SPEC)
    check_tensor(batch, SPEC)
    with pytest.raises(ImageError, match=reason):
        check_tensor(change(batch), SPEC)


@pytest.mark.parametrize(
    'size', [(480, 640), (1080, 1920), (120, 160), (13, 17), (1, 1), (4, 1200), (241, 239)]
)
@pytest.mark.parametrize('wanted', [(240, 240), (224, 308)])
def test_resizing_is_that_of_torch(size, wanted):
    """Ours is faster on a CPU; the models were trained with torch's."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    spec = ImageInput(wanted, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 'bilinear', antialias=True)
    floats = torch.from_numpy(image).permute(2, 0, 1)[None].float().div_(255.0)
    expected = F.interpolate(floats, wanted, mode='bilinear', align_corners=False, antialias=True)
    for given in (image, np.asfortranarray(image), np.flip(np.flip(image, 1), 1)):
        assert torch.allclose(to_tensor(given, spec), expected, rtol=0.0, atol=1e-6)
