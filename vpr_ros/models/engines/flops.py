"""How many floating point operations a backbone takes, counted from its shape."""

from __future__ import annotations

from itertools import pairwise

from vpr_ros.models.networks.dinov2 import VitConfig


def flops(config: VitConfig, size: tuple[int, int]) -> int:
    """Floating point operations of a backbone for one image.

    Those of its products, as is usual, two for each multiply-add: 12 d^2 N + 2 N^2 d of them in a
    block of width d for N tokens, the class token among them, and 3 p^2 d for each patch of p x p
    pixels, or those of the stem's convolutions.

    Args:
        config: shape of the backbone.
        size: (height, width) of the image in pixels, multiples of the patch.
    """
    (height, width), dim = size, config.dim
    patches = (height // config.patch) * (width // config.patch)
    tokens = 1 + patches
    block = 12 * dim**2 * tokens + 2 * tokens**2 * dim
    return 2 * (config.depth * block + _stem(config, size) + _projection(config) * patches)


def _projection(config: VitConfig) -> int:
    """Multiply-adds from a patch, or from the last cell of a stem, to a token."""
    inputs = config.stem[-1] if config.stem else 3 * config.patch**2
    return inputs * config.dim


def _stem(config: VitConfig, size: tuple[int, int]) -> int:
    """Multiply-adds of the 3x3 convolutions before the projection."""
    return sum(
        9 * before * after * (size[0] >> halvings) * (size[1] >> halvings)
        for halvings, (before, after) in enumerate(pairwise((3, *config.stem)), start=1)
    )
