"""RGB uint8 images to normalised tensors: the only preprocessing there is, and its door."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix

from vpr_ros.errors import ImageError
from vpr_ros.records import MAX_MEGAPIXELS, ImageInput, Vector


def check_image(rgb: np.ndarray) -> None:
    """Refuse what is not an RGB image of 8 bits.

    Raises:
        ImageError: another type or shape than (H, W, 3) uint8, no pixels or too many.
    """
    if not isinstance(rgb, np.ndarray):
        raise ImageError(
            f'expected an RGB image as a numpy array, found a {type(rgb).__name__}: convert it'
        )
    if rgb.dtype != np.uint8:
        raise ImageError(
            f'expected an RGB image (H, W, 3) of type uint8, found {rgb.shape} of {rgb.dtype}: '
            'scale it to 0..255 with a fixed factor and convert it'
        )
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ImageError(
            f'expected an RGB image (H, W, 3) of type uint8, found {rgb.shape}{_hint(rgb.shape)}'
        )
    if rgb.size == 0:
        raise ImageError(
            f'expected an RGB image (H, W, 3) of type uint8 with pixels, found {rgb.shape}'
        )
    if rgb.shape[0] * rgb.shape[1] > MAX_MEGAPIXELS * 1_000_000:
        raise ImageError(
            f'expected an image of at most {MAX_MEGAPIXELS} megapixels, '
            f'found {rgb.shape[0]} x {rgb.shape[1]} pixels: make it smaller first'
        )


def _hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 2 or shape[2:] == (1,):
        return ': repeat the grey channel three times'
    if shape[2:] == (4,):
        return ': drop the alpha channel'
    return ''


def check_tensor(images: torch.Tensor, spec: ImageInput) -> None:
    """Refuse a batch that `to_batch` would not have made.

    Raises:
        ImageError: another shape than (B, 3, height, width), not float32, or, where looking does
            not stop a GPU, a value that is not finite.
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, *spec.size) or len(images) == 0:
        raise ImageError(
            f'expected images (B, 3, {spec.size[0]}, {spec.size[1]}), '
            f'found {tuple(images.shape)}: prepare them with PlaceModel.prepare'
        )
    if images.dtype != torch.float32:
        raise ImageError(f'expected images of type float32, found {images.dtype}: convert them')
    if images.device.type == 'cpu' and not torch.isfinite(images.sum()):  # one pass, not four
        raise ImageError('expected finite pixel values, found NaN or infinity: drop this image')


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
    check_image(rgb)
    if torch.device(device).type == 'cpu' and spec.interpolation == 'bilinear' and spec.antialias:
        return _normalised(torch.from_numpy(_resized(rgb, spec.size)).div_(255.0), spec)
    pixels = torch.from_numpy(np.require(rgb, requirements=['C', 'W']))
    if torch.device(device).type == 'cuda':
        pixels = pixels.pin_memory()  # lets the copy run beside the GPU's work
    pixels = pixels.to(device, non_blocking=True)
    return normalise(pixels.permute(2, 0, 1)[None].float().div_(255.0), spec)


def to_batch(
    images: Sequence[np.ndarray], spec: ImageInput, device: torch.device | str = 'cpu'
) -> torch.Tensor:
    """Prepare B images, each by itself, of any sizes.

    Args:
        images: RGB uint8 arrays (H, W, 3).
        spec: what the model expects; `model.input`.
        device: where the tensor shall live.

    Returns:
        Tensor (B, 3, height, width), float32.

    Raises:
        ImageError: there is no image, or one is not what is expected.
    """
    if len(images) == 0:
        raise ImageError('expected at least one image, found none')
    if isinstance(images, np.ndarray) and images.ndim != 4:
        raise ImageError(
            f'expected a sequence of RGB images, found one array {images.shape}: put it in a list'
        )
    return torch.cat([to_tensor(image, spec, device) for image in images])


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
    return _normalised(images, spec)


def _normalised(images: torch.Tensor, spec: ImageInput) -> torch.Tensor:
    mean, std = (_constant(values, images.device) for values in (spec.mean, spec.std))
    return (images - mean) / std


def _resized(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What `F.interpolate` makes of it, bilinear with anti-aliasing, to rounding.

    In half the time on a CPU: rows are mixed where they lie, as bytes, and by one thread, which no
    other has to be woken for.

    Returns:
        (1, 3, height, width), float32, 0 to 255.
    """
    height, width = rgb.shape[:2]
    rows = _mixing(height, size[0]) @ np.ascontiguousarray(rgb).reshape(height, -1)
    columns = cv2.transpose(rows.reshape(size[0], width, 3))
    mixed = _mixing(width, size[1]) @ columns.reshape(width, -1)
    return np.ascontiguousarray(mixed.reshape(size[1], size[0], 3).transpose(2, 1, 0))[None]


@lru_cache(maxsize=16)
def _mixing(old: int, new: int) -> csr_matrix:
    """Weights (new, old), float32, of a triangle as wide as two new pixels, or two old ones."""
    scale = np.float32(old) / np.float32(new)  # as torch counts, of whose weights these are
    reach = max(np.float32(1.0), scale)
    centre = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * scale
    first = np.maximum(0, (centre - reach + np.float32(0.5)).astype(int))
    taps = first[:, None] + np.arange(int(2 * reach) + 2)
    away = (taps.astype(np.float32) - centre[:, None] + np.float32(0.5)) / reach
    weight = np.maximum(np.float32(0.0), np.float32(1.0) - np.abs(away))
    weight[taps >= old] = 0.0
    weight /= weight.sum(axis=1, keepdims=True)
    row, tap = np.nonzero(weight)
    return csr_matrix((weight[row, tap], (row, taps[row, tap])), shape=(new, old))


@cache
def _constant(values: Vector, device: torch.device) -> torch.Tensor:
    """Kept on the device: a copy from pageable memory would make a GPU wait at every image."""
    with torch.inference_mode(False):  # training uses it, too
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)
