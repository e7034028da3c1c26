"""Operations drawn at random for each image, after RandAugment (Cubuk et al. 2020).

The set is theirs with gamma, hue and erasing besides. What each does at full amount is written in
its function; less is in proportion. Ours differs in two ways: an amount is drawn for each image,
up to the strength, in place of the strength itself, and autocontrast and equalisation, which are
whole in theirs, are blended in by it. Geometry comes first, in one sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

LUMA = (0.299, 0.587, 0.114)
LEVELS = 256
FACTOR = 0.9  # brightness, contrast, saturation and sharpness are scaled by 0.1 to 1.9 at most
GAMMA = 2.5  # largest power
HUE_RAD = math.pi / 6
TURN_RAD = math.pi / 6
SHEAR = 0.3
SHIFT = 0.3  # of the side
ERASED = 0.5  # largest side of an erased rectangle, as a share of the image's
TEXTURE = 8  # cells along a side of what fills it


class Draws(NamedTuple):
    """What chance decided for B images in R rounds; nothing of it depends on a picture."""

    operation: torch.Tensor  # (R, B), number of the operation
    amount: torch.Tensor  # (R, B), between minus and plus the strength
    place: torch.Tensor  # (R, B, 4), in [0, 1)
    texture: torch.Tensor  # (R, B, 3, 8, 8), in [0, 1)


def draw_operations(images: int, rounds: int, strength: float, rng: torch.Generator) -> Draws:
    """Choose an operation and its amount for each image and round, on the generator's device."""
    shape, device = (rounds, images), rng.device
    every = len(GEOMETRY) + len(OPERATIONS)
    return Draws(
        torch.randint(every, shape, generator=rng, device=device),
        strength * (2.0 * torch.rand(shape, generator=rng, device=device) - 1.0),
        torch.rand((*shape, 4), generator=rng, device=device),
        torch.rand((*shape, 3, TEXTURE, TEXTURE), generator=rng, device=device),
    )


def moved(draws: Draws) -> torch.Tensor:
    """All geometric operations of each image as one matrix, (B, 3, 3).

    It takes places of the result, in -1 to 1, to those of the image, as `affine_grid` wants.
    """
    batch = draws.operation.shape[1]
    identity = torch.eye(3, device=draws.amount.device)
    whole = identity.expand(batch, 3, 3)
    for round_, amount, place in zip(draws.operation, draws.amount, draws.place, strict=True):
        for number, operation in enumerate(GEOMETRY):
            chosen = (round_ == number)[:, None, None]
            whole = torch.where(chosen, whole @ operation(amount, place), whole)
    return whole


def relit(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Apply all operations but the geometric ones, in the order drawn.

    Args:
        images: (B, 3, H, W), float; they are clamped to [0, 1].
        draws: on the images' device.

    Returns:
        (B, 3, H, W), float in [0, 1].
    """
    images = images.clamp(0.0, 1.0)  # a copy: the rounds below write into it
    for operation, amount, place, texture in zip(*draws, strict=True):
        for number, change in enumerate(OPERATIONS, start=len(GEOMETRY)):
            rows = (operation == number).nonzero()[:, 0]
            if len(rows):
                some = Chosen(images[rows], amount[rows], place[rows], texture[rows])
                images[rows] = change(some).clamp_(0.0, 1.0)
    return images


class Chosen(NamedTuple):
    """The b images that one operation is applied to, and what was drawn for them."""

    images: torch.Tensor  # (b, 3, H, W), in [0, 1]
    amount: torch.Tensor  # (b,), in [-1, 1]
    place: torch.Tensor  # (b, 4), in [0, 1)
    texture: torch.Tensor  # (b, 3, 8, 8), in [0, 1)

    @property
    def signed(self) -> torch.Tensor:
        """Amounts (b, 1, 1, 1)."""
        return self.amount[:, None, None, None]

    @property
    def share(self) -> torch.Tensor:
        """Amounts without their sign, (b, 1, 1, 1)."""
        return self.signed.abs()


def brightness(some: Chosen) -> torch.Tensor:
    """Times 0.1 to 1.9."""
    return some.images * (1.0 + FACTOR * some.signed)


def contrast(some: Chosen) -> torch.Tensor:
    """Times 0.1 to 1.9, about the mean luma of the image."""
    mean = _luma(some.images).mean(dim=(2, 3), keepdim=True)
    return torch.lerp(mean, some.images, 1.0 + FACTOR * some.signed)


def saturation(some: Chosen) -> torch.Tensor:
    """Colour times 0.1 to 1.9, about the luma of the pixel."""
    return torch.lerp(_luma(some.images), some.images, 1.0 + FACTOR * some.signed)


def sharpness(some: Chosen) -> torch.Tensor:
    """Away from a smoothed image by 0.9 of the difference, or towards it."""
    mean = F.avg_pool2d(some.images, 3, 1, 1, count_include_pad=False)
    smooth = torch.lerp(some.images, mean, 9.0 / 13.0)  # 5 in the middle of eight ones
    return torch.lerp(smooth, some.images, 1.0 + FACTOR * some.signed)


def posterise(some: Chosen) -> torch.Tensor:
    """Down to 4 of 8 bits."""
    step = 2.0 ** (4.0 * some.share).round()
    return _levels(some.images).div_(step).floor_().mul_(step / (LEVELS - 1))


def solarise(some: Chosen) -> torch.Tensor:
    """Invert what is brighter than 1 - amount."""
    return torch.where(some.images > 1.0 - some.share, 1.0 - some.images, some.images)


def autocontrast(some: Chosen) -> torch.Tensor:
    """Towards each channel stretched to [0, 1]; a channel of one value stays."""
    low = some.images.amin(dim=(2, 3), keepdim=True)
    span = some.images.amax(dim=(2, 3), keepdim=True) - low
    stretched = (some.images - low) / span.where(span > 0, 1.0)
    return torch.lerp(some.images, stretched, some.share.where(span > 0, 0.0))


def equalise(some: Chosen) -> torch.Tensor:
    """Towards each channel with an even histogram; a channel of one value stays."""
    levels = _levels(some.images).long().flatten(2)  # (b, 3, H*W)
    batch, channels, pixels = levels.shape
    offset = torch.arange(batch * channels, device=levels.device).view(batch, channels, 1) * LEVELS
    counts = torch.bincount((levels + offset).flatten(), minlength=batch * channels * LEVELS)
    below = counts.view(batch, channels, LEVELS).cumsum(dim=2)
    first = below.where(below > 0, pixels).amin(dim=2, keepdim=True)  # count of the darkest level
    table = (below - first).clamp(min=0) / (pixels - first).clamp(min=1)
    table = table.where(first < pixels, torch.arange(LEVELS, device=levels.device) / (LEVELS - 1))
    even = table.gather(2, levels).view_as(some.images)
    return torch.lerp(some.images, even, some.share)


def gamma(some: Chosen) -> torch.Tensor:
    """To the power of 1/2.5 to 2.5."""
    return some.images.pow(GAMMA**some.signed)


def hue(some: Chosen) -> torch.Tensor:
    """Colours turned by up to 30 degrees about the grey axis; the mean of a pixel stays."""
    angle = HUE_RAD * some.amount
    own = (1.0 + 2.0 * angle.cos()) / 3.0
    left = (1.0 - angle.cos()) / 3.0 - angle.sin() / math.sqrt(3.0)
    right = (1.0 - angle.cos()) / 3.0 + angle.sin() / math.sqrt(3.0)
    rows = [(own, left, right), (right, own, left), (left, right, own)]
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # (b, 3, 3)
    return (matrix @ some.images.flatten(2)).view_as(some.images)


def erase(some: Chosen) -> torch.Tensor:
    """A rectangle of up to half the side is covered with grey, or with blocks of noise."""
    height, width = some.images.shape[-2:]
    y, x, tall, wide = (part[:, None, None, None] for part in some.place.unbind(dim=1))
    tall, wide = (ERASED * some.share * (0.5 + 0.5 * side) for side in (tall, wide))
    rows = _middles(height, some.images).view(1, 1, -1, 1) - y * (1.0 - tall)
    columns = _middles(width, some.images).view(1, 1, 1, -1) - x * (1.0 - wide)
    inside = (rows > 0) & (rows < tall) & (columns > 0) & (columns < wide)
    grey = some.texture[:, :1, :1, :1]
    fill = torch.lerp(grey, some.texture, some.texture[:, :1, :1, 1:2])
    return torch.where(inside, F.interpolate(fill, (height, width)), some.images)


def shift(amount: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Along both axes, by up to 0.3 of the side."""
    across = amount * (2.0 * place[:, 0] - 1.0)
    return _matrix(amount, x=2.0 * SHIFT * amount, y=2.0 * SHIFT * across)


def shear(amount: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Along one axis, by up to 0.3 of the other."""
    flat = place[:, 0] < 0.5
    return _matrix(amount, xy=SHEAR * amount * flat, yx=SHEAR * amount * ~flat)


def turn(amount: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """By up to 30 degrees."""
    angle = TURN_RAD * amount
    return _matrix(amount, xx=angle.cos(), xy=-angle.sin(), yx=angle.sin(), yy=angle.cos())


Shift = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
GEOMETRY: tuple[Shift, ...] = (shift, shear, turn)
OPERATIONS: tuple[Callable[[Chosen], torch.Tensor], ...] = (
    brightness, contrast, saturation, sharpness, posterise, solarise, autocontrast, equalise,
    gamma, hue, erase,
)  # fmt: skip


def _matrix(like: torch.Tensor, **parts: torch.Tensor) -> torch.Tensor:
    """Matrices (B, 3, 3), the identity but for the parts (B,) that are given."""
    rows = (('xx', 'xy', 'x'), ('yx', 'yy', 'y'))
    one, none = torch.ones_like(like), torch.zeros_like(like)
    first = [
        parts.get(name, one if name in ('xx', 'yy') else none) for row in rows for name in row
    ]
    return torch.stack((*first, none, none, one), dim=1).view(-1, 3, 3)


def _luma(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) to (B, 1, H, W)."""
    red, green, blue = images.split(1, dim=1)
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


def _levels(images: torch.Tensor) -> torch.Tensor:
    """Whole numbers from 0 to 255, as floats."""
    return (images * (LEVELS - 1)).round_()


def _middles(count: int, like: torch.Tensor) -> torch.Tensor:
    """Middles of the cells along a side of 1."""
    return (torch.arange(count, device=like.device) + 0.5) / count
