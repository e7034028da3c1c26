"""SAGE with its cross-image encoder, as the paper's headline table: for evaluation alone.

The encoder attends across the images of an inference batch. A descriptor then says which images it
was computed with, so that no map can be built of such descriptors and no robot can use them; and
where queries and database list the same places in the same order, aligned batches raise the recall
without any better recognition (trap T1 of the method).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from vpr_ros.models.networks.dinov2 import Stream, VitConfig
from vpr_ros.models.networks.sage import Sage, SageConfig
from vpr_ros.records import Features


@dataclass(frozen=True)
class CrossConfig:
    """Shape of the cross-image encoder; the defaults are the paper's."""

    segment: int = 768  # length of the pieces of a descriptor; each attends by itself
    heads: int = 16
    hidden: int = 1024
    layers: int = 2


class SageCross(Sage):
    """Normalised images (B, 3, H, W) to descriptors (B, D) that depend on the whole batch."""

    single_image = False

    def __init__(self, backbone: VitConfig, head: SageConfig, cross: CrossConfig) -> None:
        super().__init__(backbone, head)
        if head.descriptor_dim % cross.segment:
            raise ValueError(
                f'a descriptor of {head.descriptor_dim} does not divide into segments of '
                f'{cross.segment}'
            )
        self.segment = cross.segment
        layer = nn.TransformerEncoderLayer(
            cross.segment, cross.heads, cross.hidden, dropout=0.1, activation='gelu'
        )
        self.encoder = nn.TransformerEncoder(layer, cross.layers, enable_nested_tensor=False)

    def forward(self, images: torch.Tensor | Stream) -> torch.Tensor:
        """Images (B, 3, H, W), normalised, to descriptors (B, D), of any length as released."""
        single = super().forward(images)
        # The encoder takes its first axis for the sequence: B images, and D / segment "batches".
        return self.encoder(single.unflatten(1, (-1, self.segment))).flatten(1)

    def features(self, images: torch.Tensor) -> Features:
        """Descriptors (B, D), scaled to unit length as every `Features.descriptor` is.

        The authors compare the raw ones by L2; how long those are depends on the image a little.
        """
        return Features(F.normalize(self(images).float(), dim=1))
