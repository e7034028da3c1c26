"""What every place recognition network has in common."""

from __future__ import annotations

import torch
from torch import nn

from vpr_ros.models.networks.dinov2 import VisionTransformer
from vpr_ros.records import Features


class PlaceNetwork(nn.Module):
    """Normalised images (B, 3, H, W) to descriptors (B, D), on a vision transformer.

    `single_image` is False where a descriptor depends on the other images of its batch; such a
    network is for evaluation alone. `has_local` says that `features` adds local features. `ranges`
    are those of `int8.measured_ranges`, once they are known.
    """

    backbone: VisionTransformer
    descriptor_dim: int
    single_image: bool = True
    has_local: bool = False
    ranges: dict[str, torch.Tensor] | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W), normalised, to descriptors (B, D)."""
        raise NotImplementedError

    @property
    def first_adapted(self) -> int:
        """The first block that the method trains or hooks; those before may stay frozen."""
        return max(0, self.backbone.config.depth - 4)

    @property
    def token_dim(self) -> int:
        """Width of the tokens that the head sees."""
        return self.backbone.config.dim

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def features(self, images: torch.Tensor) -> Features:
        """Everything the network says of images (B, 3, H, W), normalised."""
        return Features(self(images))
