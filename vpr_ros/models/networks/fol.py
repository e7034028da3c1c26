"""FoL (arXiv 2504.09881): optimal transport to clusters, and local features where it counts.

As released, at inference: where paper and code differ, this follows the code, which the released
weights were trained with. Images are normalised, although the authors trained on images that were
not: they evaluate so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import nn

from vpr_ros.models.networks.dinov2 import (
    Block,
    Hook,
    Stream,
    Tokens,
    VisionTransformer,
    VitConfig,
)
from vpr_ros.models.networks.fol_masks import (
    compact,
    enlarge,
    largest,
    local_rows,
    saliency,
    soft_mask,
)
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.networks.sage import patch_head
from vpr_ros.models.networks.sinkhorn import assign_with_dustbin
from vpr_ros.records import Features, LocalFeatures

LEAST_ATTENTION = 0.01  # below it a patch guides nothing; absolute, whatever the input size
DENSE_STEPS = 4  # dense cells from one patch to the next: two decoder layers of stride two


@dataclass(frozen=True)
class FolConfig:
    """Widths of the FoL heads; the defaults are the paper's."""

    features: int = 128  # length of a cluster's vector
    clusters: int = 64
    token: int = 256  # length of the class-token part
    hidden: int = 512  # hidden width of the three heads
    iterations: int = 3  # of Sinkhorn
    decoder: tuple[int, int] = (256, 128)  # widths of its layers; the last is a local feature's
    positions: int = 225  # patches in the binary mask

    @property
    def descriptor_dim(self) -> int:
        return self.token + self.features * self.clusters


class FolMaps(NamedTuple):
    """What the global branch says of B images with N patches."""

    descriptor: torch.Tensor  # (B, D), unit length
    patches: torch.Tensor  # (B, N, C), after the final LayerNorm
    grid: tuple[int, int]  # h, w
    assignment: torch.Tensor  # (B, N, m), shares of each patch in the clusters
    guide: torch.Tensor  # (B, N), what keeps a patch out of the dustbin: of its attention in FoL
    trust: torch.Tensor  # (B, N), the mask beside saliency: in FoL attention without a threshold


class TransportAggregation(nn.Module):
    """Class token and patches to one unit descriptor (SALAD's pooling with a guided dustbin).

    Patches are tokens here, so the published 1x1 convolutions are linear layers.
    """

    def __init__(self, dim: int, config: FolConfig) -> None:
        super().__init__()
        self.iterations = config.iterations
        self.token_features = nn.Sequential(
            nn.Linear(dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.token)
        )
        self.cluster_features = patch_head(dim, config.hidden, config.features)
        self.score = patch_head(dim, config.hidden, config.clusters)

    def forward(
        self, cls: torch.Tensor, patches: torch.Tensor, guide: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool the patches of B images.

        Args:
            cls: (B, C).
            patches: (B, N, C), N greater than the number of clusters.
            guide: (B, N); the more, the less a patch goes to the dustbin.

        Returns:
            Descriptors (B, D), unit length, and the assignment (B, N, m).
        """
        assignment = assign_with_dustbin(self.score(patches), 1.0 - guide, self.iterations)
        features = self.cluster_features(patches).float()  # (B, N, d)
        pooled = F.normalize(features.transpose(1, 2) @ assignment, dim=1)  # (B, d, m)
        token = F.normalize(self.token_features(cls).float(), dim=1)
        whole = torch.cat((token, pooled.flatten(1)), dim=1)  # index d * m + k
        return F.normalize(whole, dim=1), assignment


class Fol(PlaceNetwork):
    """Normalised images (B, 3, H, W) to unit descriptors (B, D) and local features."""

    has_local = True

    def __init__(self, backbone: VitConfig, config: FolConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = VisionTransformer(backbone)
        self.aggregator = TransportAggregation(backbone.dim, config)
        middle, last = config.decoder
        self.upconv = _doubling(backbone.dim, middle)
        self.upconv2 = _doubling(middle, last)
        self.descriptor_dim = config.descriptor_dim

    def forward(self, images: torch.Tensor | Stream) -> torch.Tensor:
        """Images (B, 3, H, W), normalised, to descriptors (B, D), unit length."""
        return self.maps(images).descriptor

    def features(self, images: torch.Tensor) -> Features:
        """Descriptors and local features of images (B, 3, H, W), normalised.

        Local features are the dense tokens of the 225 most salient patches in raster order, padded
        as `local_rows` says. Their position is where the decoder's geometry puts them, counted
        from the top left corner of the image; their reliability is 1, for FoL weighs them alike.
        """
        maps = self.maps(images)
        return Features(maps.descriptor, self.local_features(maps))

    def maps(self, images: torch.Tensor | Stream) -> FolMaps:
        """The global branch alone; images (B, 3, H, W), normalised, or their streams."""
        last = self.backbone.config.depth - 1
        tokens, streams = self.run_backbone(images, first=last - 1)
        attention = self.attention(streams[0])
        maps = self.pool(tokens, attention.where(attention >= LEAST_ATTENTION, 0.0))
        return maps._replace(trust=attention)

    def attention(self, stream: torch.Tensor) -> torch.Tensor:
        """Class attention (B, N) of the last block, from its input (B, 1+N, C)."""
        return class_attention(cast(Block, self.backbone.blocks[-1]), stream)

    def run_backbone(
        self, images: torch.Tensor | Stream, first: int
    ) -> tuple[Tokens, list[torch.Tensor]]:
        """Backbone output, and the residual streams (B, 1+N, C) after each block from `first`."""
        streams: list[torch.Tensor] = []

        def keep(stream: torch.Tensor) -> torch.Tensor:
            streams.append(stream)
            return stream

        hooks: dict[int, Hook] = dict.fromkeys(range(first, self.backbone.config.depth), keep)
        return self.backbone(images, hooks), streams

    def pool(self, tokens: Tokens, guide: torch.Tensor) -> FolMaps:
        """Descriptors and assignment under a guide (B, N), which is trusted as it is."""
        descriptor, assignment = self.aggregator(tokens.cls, tokens.patches, guide)
        return FolMaps(descriptor, tokens.patches, tokens.grid, assignment, guide, guide)

    def fused_mask(self, maps: FolMaps) -> torch.Tensor:
        """How much each patch counts in training, (B, N): saliency and attention, summed."""
        return soft_mask(saliency(maps.assignment)) + soft_mask(maps.trust)

    def places(self, maps: FolMaps) -> torch.Tensor:
        """Patches of the binary mask in raster order, (B, k), integer.

        The released code takes the most salient ones at inference, and does not ask attention.
        """
        return largest(soft_mask(saliency(maps.assignment)), self.config.positions)

    def dense_tokens(self, maps: FolMaps) -> torch.Tensor:
        """Decode every patch: (B, 4h-3, 4w-3, d), not normalised. Patch (y, x) is at 4y, 4x."""
        square = maps.patches.transpose(1, 2).unflatten(2, maps.grid)
        decoded = self.upconv2(self.upconv(square).relu())
        return decoded.permute(0, 2, 3, 1).float()

    def local_features(self, maps: FolMaps) -> LocalFeatures:
        """Dense tokens under the binary mask, padded to a fixed number of rows."""
        return self.local_tokens(self.dense_tokens(maps), maps.grid, self.places(maps))

    def local_tokens(
        self, dense: torch.Tensor, grid: tuple[int, int], places: torch.Tensor
    ) -> LocalFeatures:
        """Dense tokens (B, 4h-3, 4w-3, d) of the patches (B, k), padded."""
        size = (dense.shape[1], dense.shape[2])
        chosen = enlarge(places, grid, size)
        index, valid = compact(chosen, local_rows(self.config.positions, size))
        tokens = dense.flatten(1, 2).gather(1, index[:, :, None].expand(-1, -1, dense.shape[3]))
        cell = torch.stack((index // size[1], index % size[1]), dim=2)
        position = self.cell_position(cell) * valid[:, :, None]
        tokens = F.normalize(tokens, dim=2) * valid[:, :, None]
        return LocalFeatures(tokens, valid, position, valid.float())

    def cell_position(self, cell: torch.Tensor) -> torch.Tensor:
        """Where dense cells (..., 2) lie in the image, in pixels from its top left corner."""
        patch = self.backbone.config.patch
        return cell.float() * (patch / DENSE_STEPS) + patch / 2


def class_attention(block: Block, stream: torch.Tensor) -> torch.Tensor:
    """Attention of the class token to the patches in a block, summed over the heads.

    Only its own row of the attention matrix is computed, from the block's own layers.

    Args:
        block: the block.
        stream: the block's input, (B, 1+N, C).

    Returns:
        (B, N), float32; a row sums to less than the number of heads.
    """
    batch, count, dim = stream.shape
    heads = block.attn.heads
    qkv = block.attn.qkv(block.norm1(stream)).view(batch, count, 3, heads, dim // heads)
    query, key = qkv[:, 0, 0].float(), qkv[:, :, 1].float()
    logits = torch.einsum('bhd,bnhd->bhn', query, key) * (dim // heads) ** -0.5
    return logits.softmax(dim=2)[:, :, 1:].sum(dim=1)


def _doubling(before: int, after: int) -> nn.ConvTranspose2d:
    """A layer from a side of n cells to one of 2n - 1."""
    return nn.ConvTranspose2d(before, after, kernel_size=3, stride=2, padding=1)
