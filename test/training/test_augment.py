"""Random changes of pictures: each operation against numbers by hand, numpy or OpenCV."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vpr_ros.config import AugmentConfig
from vpr_ros.training.augment import augment
from vpr_ros.training.photometric import (
    GEOMETRY,
    OPERATIONS,
    Chosen,
    Draws,
    autocontrast,
    brightness,
    contrast,
    draw_operations,
    equalise,
    erase,
    gamma,
    hue,
    moved,
    posterise,
    relit,
    saturation,
    sharpness,
    shear,
    shift,
    solarise,
    turn,
)

STILL = AugmentConfig(
    smallest_crop=1.0, stretch=1.0, tilt_deg=0.0, light=0.0, grey=0.0, blur=0.0, noise=0.0
)
ALL = AugmentConfig(mirror=0.5, random_ops=3, random_strength=1.0)


def random_images(count=4, height=12, width=10, seed=0):
    """Images of whole levels, as a camera gives them."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, height, width), generator=rng) / 255.0


def chosen(images, *amounts, place=0.5, texture=None):
    images = images.expand(len(amounts), -1, -1, -1)
    if texture is None:
        texture = torch.full((len(amounts), 3, 8, 8), 0.5)
    return Chosen(images, torch.tensor(amounts), torch.full((len(amounts), 4), place), texture)


def pixel(*levels):
    return torch.tensor(levels).view(1, 3, 1, 1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_nothing_to_do_changes_nothing():
    images = random_images()
    found = augment(images, (12, 10), STILL, seeded())
    torch.testing.assert_close(found, images, atol=2e-4, rtol=0)  # black is lifted by 1e-4
    none = replace(STILL, random_ops=3, random_strength=0.0)
    found = augment(images, (12, 10), none, seeded())
    torch.testing.assert_close(found, images, atol=2e-4, rtol=0)


def test_brightness_and_contrast_and_saturation_by_hand():
    images = pixel(0.2, 0.4, 0.6)
    bright = brightness(chosen(images, 1.0, -0.5))
    torch.testing.assert_close(bright[0], 1.9 * images[0])
    torch.testing.assert_close(bright[1], 0.55 * images[0])
    luma = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    for operation in (contrast, saturation):  # of one pixel they are the same
        torch.testing.assert_close(
            operation(chosen(images, 1.0))[0], luma + 1.9 * (images[0] - luma)
        )
    pair = torch.cat((pixel(0.2, 0.2, 0.2), pixel(0.6, 0.6, 0.6)), dim=3)
    found = contrast(chosen(pair, -1.0))  # about 0.4
    torch.testing.assert_close(found[0, :, 0], torch.tensor([[0.38, 0.42]]).expand(3, 2))
    torch.testing.assert_close(saturation(chosen(pair, 1.0)), pair)  # grey has no colour


def test_sharpness_agrees_with_opencv_inside():
    images = random_images(1)
    kernel = np.ones((3, 3), np.float32)
    kernel[1, 1] = 5.0
    smooth = cv2.filter2D(images[0].permute(1, 2, 0).numpy(), -1, kernel / 13.0)
    smooth = torch.from_numpy(smooth).permute(2, 0, 1)
    found = sharpness(chosen(images, 1.0, -1.0))
    for row, factor in ((0, 1.9), (1, 0.1)):
        expected = smooth + factor * (images[0] - smooth)
        torch.testing.assert_close(found[row, :, 1:-1, 1:-1], expected[:, 1:-1, 1:-1])


def test_posterise_keeps_the_upper_bits():
    images = random_images(1)
    levels = (255 * images).round().numpy().astype(np.uint8)
    found = (255 * posterise(chosen(images, 1.0, -0.5, 0.0))).round().numpy().astype(np.uint8)
    assert (found[0] == levels[0] & 0xF0).all()
    assert (found[1] == levels[0] & 0xFC).all()
    assert (found[2] == levels[0]).all()


def test_solarise_inverts_what_is_bright():
    found = solarise(chosen(pixel(0.2, 0.7, 1.0), 0.0, 0.4, -1.0))
    torch.testing.assert_close(found[:, :, 0, 0], torch.tensor(
        [[0.2, 0.7, 1.0], [0.2, 0.3, 0.0], [0.8, 0.3, 0.0]]
    ))  # fmt: skip


def test_autocontrast_stretches_each_channel_and_leaves_a_constant_one():
    image = torch.tensor([[0.2, 0.6], [0.5, 0.5], [0.0, 1.0]]).view(1, 3, 1, 2)
    found = autocontrast(chosen(image, 1.0, 0.5))[:, :, 0]
    torch.testing.assert_close(found[0], torch.tensor([[0.0, 1.0], [0.5, 0.5], [0.0, 1.0]]))
    torch.testing.assert_close(found[1], torch.tensor([[0.1, 0.8], [0.5, 0.5], [0.0, 1.0]]))


def test_equalise_agrees_with_opencv():
    images = random_images(2, 30, 20).square()
    images[1, 0] = 0.25  # one value: it stays
    images = (255 * images).round() / 255
    found = equalise(Chosen(images, torch.tensor([1.0, -1.0]), torch.zeros(2, 4), torch.zeros(2)))
    for image, equal in zip(images, found, strict=True):
        for before, after in zip(image, equal, strict=True):
            expected = cv2.equalizeHist((255 * before).round().numpy().astype(np.uint8))
            np.testing.assert_allclose(255 * after.numpy(), expected, atol=0.51)


def test_gamma_and_hue_by_hand():
    images = pixel(0.0, 0.25, 1.0)
    found = gamma(chosen(images, 1.0, -1.0))
    torch.testing.assert_close(found[0], images[0] ** 2.5)
    torch.testing.assert_close(found[1], images[0] ** 0.4)
    # Thirty degrees: four of them take red to green; the mean and grey stay.
    red = pixel(1.0, 0.0, 0.0)
    turned = red
    for _ in range(4):
        turned = hue(chosen(turned, 1.0))
    torch.testing.assert_close(turned, pixel(0.0, 1.0, 0.0), atol=1e-6, rtol=0)
    assert hue(chosen(red, 0.3)).mean().item() == pytest.approx(1 / 3)
    torch.testing.assert_close(hue(chosen(pixel(0.4, 0.4, 0.4), -1.0)), pixel(0.4, 0.4, 0.4))


def test_erase_covers_one_rectangle():
    images = torch.zeros(1, 3, 20, 38)
    # At the middle: sides of 0.5 * (0.5 + 0.5 * 0.5) = 0.375, from 0.3125 to 0.6875.
    found = erase(chosen(images, 1.0, texture=torch.full((1, 3, 8, 8), 0.7)))[0, 0]
    expected = torch.zeros(20, 38)
    expected[6:14, 12:26] = 0.7  # cell middles at (i + 0.5) / 20 and / 38
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(erase(chosen(images, 0.0)), images)


def sampled(images, matrix):
    grid = F.affine_grid(matrix[:, :2], list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def test_geometry_by_hand():
    image = random_images(1, 10, 10)
    one, half = torch.tensor([1.0]), torch.tensor([[1.0, 0.5, 0.5, 0.5]])
    moved_by = shift(one, torch.tensor([[0.5, 0, 0, 0]]))  # along x alone, 0.3 of 10 columns
    torch.testing.assert_close(
        sampled(image, moved_by)[..., :7], image[..., 3:], atol=1e-5, rtol=0
    )
    down = shift(-one, half)  # and back along both axes
    found = sampled(image, down)
    torch.testing.assert_close(found[..., 3:, 3:], image[..., :7, :7], atol=1e-5, rtol=0)
    point = torch.tensor([0.5, 0.5, 1.0])
    flat, steep = shear(one, torch.tensor([[0.2] * 4])), shear(one, torch.tensor([[0.8] * 4]))
    torch.testing.assert_close(flat[0] @ point, torch.tensor([0.65, 0.5, 1.0]))
    torch.testing.assert_close(steep[0] @ point, torch.tensor([0.5, 0.65, 1.0]))
    angle = turn(one, half)[0] @ torch.tensor([1.0, 0.0, 1.0])
    torch.testing.assert_close(angle, torch.tensor([math.cos(math.pi / 6), 0.5, 1.0]))


def drawn(*operations, amount=1.0):
    """One image, the given operations one after the other."""
    rounds = len(operations)
    number = {f: i for i, f in enumerate((*GEOMETRY, *OPERATIONS))}
    return Draws(
        torch.tensor([[number[f]] for f in operations]),
        torch.full((rounds, 1), amount),
        torch.full((rounds, 1, 4), 0.5),
        torch.full((rounds, 1, 3, 8, 8), 0.5),
    )


def test_operations_follow_each_other():
    image = pixel(0.2, 0.4, 0.6)
    found = relit(image, drawn(brightness, turn, solarise))
    expected = solarise(chosen(brightness(chosen(image, 1.0)).clamp(0, 1), 1.0))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(image, pixel(0.2, 0.4, 0.6))  # not written into
    one, place = torch.tensor([1.0]), torch.full((1, 4), 0.5)
    torch.testing.assert_close(
        moved(drawn(turn, brightness, shift)), turn(one, place) @ shift(one, place)
    )
    torch.testing.assert_close(moved(drawn(brightness)), torch.eye(3)[None])


def test_every_operation_is_drawn_and_amounts_keep_to_the_strength():
    draws = draw_operations(400, 3, 0.3, seeded())
    assert draws.operation.unique().tolist() == list(range(len(GEOMETRY) + len(OPERATIONS)))
    assert draws.amount.abs().max() <= 0.3
    assert draws.amount.min() < -0.28 and draws.amount.max() > 0.28


@pytest.mark.parametrize('level', [0.0, 0.5, 1.0])
def test_results_stay_in_range_also_of_uniform_images(level):
    images = torch.full((64, 3, 16, 16), level)
    for seed in range(3):
        found = augment(images, (14, 18), ALL, seeded(seed))
        assert found.shape == (64, 3, 14, 18)
        assert torch.isfinite(found).all()
        assert found.min() >= 0 and found.max() <= 1


def test_the_seed_alone_decides():
    images = random_images(8)
    first = augment(images, (12, 10), ALL, seeded(3))
    assert torch.equal(first, augment(images, (12, 10), ALL, seeded(3)))
    assert not torch.equal(first, augment(images, (12, 10), ALL, seeded(4)))
    torch.testing.assert_close(images, random_images(8))  # not written into


def test_an_image_does_not_show_the_others():
    images, others = random_images(32), random_images(32, seed=1)
    mixed = torch.cat((images[:16], others[16:]))
    config = replace(ALL, random_ops=4)
    before, after = (augment(x, (12, 10), config, seeded(5)) for x in (images, mixed))
    assert torch.equal(before[:16], after[:16])
    assert not torch.equal(before[16:], after[16:])
    shown = replace(config, collage=1.0)  # the exception
    before, after = (augment(x, (12, 10), shown, seeded(5)) for x in (images, mixed))
    assert not torch.equal(before[:16], after[:16])


def test_images_of_a_batch_change_differently():
    same = random_images(1).expand(16, -1, -1, -1)
    found = augment(same, (12, 10), ALL, seeded()).flatten(1)
    assert len(found.unique(dim=0)) == 16


def test_a_coarse_image_has_lost_its_detail_and_kept_its_light():
    images = random_images(16, 48, 40)
    found = augment(images, (48, 40), replace(STILL, coarse=0.5), seeded(2))
    spread = found.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
    coarse = spread < 0.6
    assert 4 <= coarse.sum() <= 12 and (spread[~coarse] > 0.99).all()
    means = [x[coarse].mean(dim=(2, 3)) for x in (found, images)]
    torch.testing.assert_close(*means, rtol=0.0, atol=0.03)
    assert len(spread[coarse].unique()) == coarse.sum()  # each by a factor of its own
