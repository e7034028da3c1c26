"""RGB uint8 image to normalised tensor: the only preprocessing there is."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from vpr_ros.errors import ImageError
from vpr_ros.records import ImageInput


def to_tensor(
    rgb: np.ndarray, spec: ImageInput, device: torch.device | str = 'cpu'
) -> torch.Tensor:
    """Resize to the model's input and normalise per channel.

    The image travels to the device as uint8 and is converted there.

    Args:
        rgb: image (H, W, 3), uint8, RGB, of any size.
        spec: what the model expects; `model.input`.
        device: where the tensor shall live.

    Returns:
        Tensor (1, 3, height, width), float32.

    Raises:
        ImageError: the array is not an (H, W, 3) uint8 image with at least one pixel.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise ImageError(
            f'expected an RGB image (H, W, 3) of type uint8, found {rgb.shape} of {rgb.dtype}'
        )
    pixels = torch.from_numpy(np.require(rgb, requirements=['C', 'W'])).to(device)
    return normalise(pixels.permute(2, 0, 1)[None].float().div_(255.0), spec)


def normalise(images: torch.Tensor, spec: ImageInput) -> torch.Tensor:
    """Resize and normalise images that are tensors already.

    Args:
        images: (B, 3, H, W), float, RGB in [0, 1].
        spec: what the model expects.

    Returns:
        Tensor (B, 3, height, width), float32.
    """
    if images.shape[-2:] != spec.size:
        images = F.interpolate(
            images, spec.size, mode=spec.interpolation, align_corners=False,
            antialias=spec.antialias,
        )  # fmt: skip
    mean = images.new_tensor(spec.mean).view(1, 3, 1, 1)
    std = images.new_tensor(spec.std).view(1, 3, 1, 1)
    return (images - mean) / std
