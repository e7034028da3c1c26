"""Random changes of view and of light, on the device, one image at a time independent."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vpr_ros.config import AugmentConfig
from vpr_ros.training.photometric import LUMA, Draws, draw_operations, moved, relit

COARSE_SCALES = (0.2, 0.5)


def augment(
    images: torch.Tensor, size: tuple[int, int], config: AugmentConfig, rng: torch.Generator
) -> torch.Tensor:
    """Crop, turn, relight and degrade, each image by chance and for itself.

    What is drawn for an image depends on its place in the batch; of the other images only
    `collage` shows something.

    Args:
        images: (B, 3, H, W), float in [0, 1].
        size: height and width of the result.
        config: how far.
        rng: on the images' device.

    Returns:
        (B, 3, height, width), float in [0, 1].
    """
    draws = _random_operations(images, config, rng)
    images = _change_view(images, size, config, rng, draws)
    if draws is not None:
        images = relit(images, draws)
    images = _change_light(images, config, rng)
    images = _blur(images, config.blur, rng)
    if config.coarse:
        images = _coarse(images, config.coarse, rng)
    images = images + config.noise * _uniform(images, rng) * _normal_like(images, rng)
    if config.collage:
        images = _collage(images, config.collage, rng)
    return images.clamp_(0.0, 1.0)


def _uniform(
    images: torch.Tensor, rng: torch.Generator, low: float = 0.0, high: float = 1.0, width: int = 1
) -> torch.Tensor:
    """Numbers (B, width, 1, 1) between low and high."""
    shape = (len(images), width, 1, 1)
    return torch.rand(shape, generator=rng, device=images.device) * (high - low) + low


def _normal_like(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return torch.randn(images.shape, generator=rng, device=images.device)


def _random_operations(
    images: torch.Tensor, config: AugmentConfig, rng: torch.Generator
) -> Draws | None:
    if not config.random_ops:
        return None
    return draw_operations(len(images), config.random_ops, config.random_strength, rng)


def _change_view(
    images: torch.Tensor,
    size: tuple[int, int],
    config: AugmentConfig,
    rng: torch.Generator,
    draws: Draws | None,
) -> torch.Tensor:
    """Sample a random crop, stretched, turned, perhaps mirrored, and what `draws` adds."""

    def draw(low: float, high: float) -> torch.Tensor:
        return _uniform(images, rng, low, high).flatten()

    side = draw(config.smallest_crop, 1.0)
    stretch = config.stretch ** draw(-0.5, 0.5)
    width, height = (side * stretch).clamp(max=1.0), (side / stretch).clamp(max=1.0)
    angle = draw(-1.0, 1.0) * torch.pi / 180.0 * config.tilt_deg
    flip = torch.where(draw(0.0, 1.0) < config.mirror, -1.0, 1.0)
    x, y = draw(-1.0, 1.0) * (1.0 - width), draw(-1.0, 1.0) * (1.0 - height)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        (flip * width * cos, -height * sin, x, flip * width * sin, height * cos, y), dim=1
    ).view(-1, 2, 3)
    if draws is not None:
        theta = theta @ moved(draws)
    grid = F.affine_grid(theta, [len(images), 3, *size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode='reflection', align_corners=False)


def _change_light(
    images: torch.Tensor, config: AugmentConfig, rng: torch.Generator
) -> torch.Tensor:
    """Gamma, exposure, contrast, colour cast and saturation."""
    strength = config.light
    gamma = torch.exp(_uniform(images, rng, -strength, strength))
    gain = torch.exp(_uniform(images, rng, -strength, strength))
    cast = torch.exp(_uniform(images, rng, -0.5 * strength, 0.5 * strength, width=3))
    images = images.clamp(1e-4, 1.0) ** gamma * gain * cast
    contrast = torch.exp(_uniform(images, rng, -strength, strength))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * contrast + mean
    luma = (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    grey = _uniform(images, rng) < config.grey
    saturation = torch.where(grey, 0.0, torch.exp(_uniform(images, rng, -strength, strength)))
    return luma + (images - luma) * saturation


def _blur(images: torch.Tensor, share: float, rng: torch.Generator) -> torch.Tensor:
    """Halve and restore some of the images: a cheap blur that differs between images."""
    soft = F.interpolate(F.avg_pool2d(images, 2), images.shape[-2:], mode='bilinear')
    return torch.where(_uniform(images, rng) < share, soft, images)


def _coarse(images: torch.Tensor, share: float, rng: torch.Generator) -> torch.Tensor:
    """Reduce and enlarge some of the images, each by a factor of its own: small sensors."""
    chosen = (_uniform(images, rng) < share).flatten().tolist()
    scales = _uniform(images, rng, *COARSE_SCALES).flatten().tolist()
    rows = list(images.split(1))
    for row, image in enumerate(rows):
        if chosen[row]:
            size = [max(1, round(scales[row] * side)) for side in image.shape[-2:]]
            small = F.interpolate(image, size, mode='bilinear', antialias=True)
            rows[row] = F.interpolate(small, image.shape[-2:], mode='bilinear')
    return torch.cat(rows)


def _collage(images: torch.Tensor, share: float, rng: torch.Generator) -> torch.Tensor:
    """Paste a rectangle of the next image of the batch: more kinds of scenes for distillation."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1) / height
    columns = torch.arange(width, device=images.device).view(1, 1, 1, -1) / width
    top, left = _uniform(images, rng, 0.0, 0.7), _uniform(images, rng, 0.0, 0.7)
    tall, wide = _uniform(images, rng, 0.2, 0.7), _uniform(images, rng, 0.2, 0.7)
    inside = (rows > top) & (rows < top + tall) & (columns > left) & (columns < left + wide)
    chosen = inside & (_uniform(images, rng) < share)
    return torch.where(chosen, images.roll(1, dims=0), images)
