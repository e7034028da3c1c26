"""A network that takes images as they come: its preprocessing as a part of it.

For engines that know nothing of us, in operators that every one of them has. ONNX has an
anti-aliased resize of its own, but few implement it (TensorRT does not); here it is two products
with small matrices, which are computed from the size of the images, or constants.
"""

from __future__ import annotations

import torch
from torch import nn

from vpr_ros.errors import ExportError
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.records import Features, ImageInput

# What comes out, in this order; the first alone where there are no local features.
OUTPUTS = ('descriptor', 'tokens', 'valid', 'position', 'reliability')


class RawImages(nn.Module):
    """A network with its preprocessing: images (B, H, W, 3), uint8, RGB, to its outputs."""

    gain: torch.Tensor
    offset: torch.Tensor

    def __init__(
        self, network: PlaceNetwork, spec: ImageInput, image_size: tuple[int, int] | None = None
    ) -> None:
        """Combine them.

        Args:
            network: in eval mode.
            spec: its input.
            image_size: height and width of all images, if they are known.

        Raises:
            ExportError: an interpolation other than bilinear.
        """
        super().__init__()
        if spec.interpolation != 'bilinear':
            raise ExportError(f'expected bilinear interpolation, found {spec.interpolation}')
        self.network, self.spec = network, spec
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
        self.register_buffer('gain', 1.0 / (255.0 * std))
        self.register_buffer('offset', -mean / std)
        self.constants = self.matrices(*image_size) if image_size else None

    def matrices(self, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Resize of columns (wanted height, height) and of rows (width, wanted width)."""
        wanted, antialias = self.spec.size, self.spec.antialias
        down = resize_matrix(height, wanted[0], antialias)
        return down, resize_matrix(width, wanted[1], antialias).t()

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """(B, H, W, 3), uint8, to (B, 3, height, width), as `vpr_ros.image` does it."""
        batch, height, width, _ = images.shape
        down, across = self.constants or self.matrices(height, width)
        lower = down @ images.float().reshape(batch, height, width * 3)
        planes = lower.reshape(batch, self.spec.size[0], width, 3).permute(0, 3, 1, 2)
        return planes @ across * self.gain + self.offset

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The tensors named in OUTPUTS."""
        return in_order(self.network.features(self.prepare(images)))


def resize_matrix(found: int, wanted: int, antialias: bool) -> torch.Tensor:
    """Bilinear interpolation of one axis, as torch's `F.interpolate` does it.

    Each wanted pixel is a mean of the found ones, weighted by a triangle about its centre that
    reaches one found pixel to either side, or one wanted pixel where that is farther and
    `antialias` is set.

    Returns:
        Matrix (wanted, found), float32; each row sums to 1.
    """
    scale = torch.full((), found / wanted)
    reach = scale.clamp(min=1.0) if antialias else torch.ones(())
    centre = (torch.arange(wanted)[:, None] + 0.5) * scale
    distance = (torch.arange(found)[None] + 0.5 - centre).abs()
    weights = (1.0 - distance / reach).clamp(min=0.0)
    return weights / weights.sum(dim=1, keepdim=True)


def in_order(features: Features) -> tuple[torch.Tensor, ...]:
    """The tensors named in OUTPUTS."""
    if (local := features.local) is None:
        return (features.descriptor,)
    return (features.descriptor, local.tokens, local.valid, local.position, local.reliability)
