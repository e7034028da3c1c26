"""SAGE (arXiv 2509.25723): soft probing and bilinear aggregation on a DINOv2 backbone.

The single-image model: the cross-image encoder of the paper's headline table is not part of it,
because its descriptor depends on the batch. Where paper and released code differ, this follows the
code, which the released weights were trained with.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from vpr_ros.models.networks.dinov2 import Hook, Stream, Tokens, VisionTransformer, VitConfig
from vpr_ros.models.networks.network import PlaceNetwork

POWER_EPS = 1e-6


@dataclass(frozen=True)
class SageConfig:
    """Widths of the SAGE head; the defaults are the paper's."""

    features: int = 128  # rows of the bilinear product
    clusters: int = 64  # columns of the bilinear product
    token: int = 256  # length of the class-token part
    hidden: int = 512  # hidden width of the three heads
    tuned_blocks: int = 4  # last blocks that are followed by a power normalisation
    soft_probing: bool = True  # False: all patches count alike, the paper's baseline in Table 5

    @property
    def descriptor_dim(self) -> int:
        return self.token + self.features * self.clusters


class DynamicPowerNorm(nn.Module):
    """Dynamic power normalisation: one exponent per image, from the image's mean vector.

    DPN(X) = sign(X) * (|X| + eps)^p + X with p = sigmoid(MLP(mean X)). The exponent is one scalar
    for all tokens and channels. Not the identity at initialisation: p starts near 0.5. Computed in
    float32: the gradient reaches 500 at x = 0, and 1e-6 is subnormal in fp16.
    """

    float32 = True

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.projection = nn.Sequential(
            nn.Linear(dim, hidden), nn.Dropout(0.1), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, M, C) to (B, M, C); the mean is over M."""
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float()
            exponent = self.projection(wide.mean(dim=1)).sigmoid()[:, :, None]
            powered = wide.sign() * (wide.abs() + POWER_EPS).pow(exponent) + wide
        return powered.to(x.dtype)


class SoftProbing(nn.Module):
    """Weight each patch by its own norm: X~ = (1 + beta) X with beta in (0, alpha), in float32."""

    float32 = True

    def __init__(self, alpha: float = 0.5, hidden: int = 128) -> None:
        super().__init__()
        self.alpha = alpha
        self.predictor = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(B, N, C) to (B, N, C)."""
        with torch.autocast(patches.device.type, enabled=False):
            norm = patches.float().norm(dim=-1, keepdim=True) + POWER_EPS
            gain = 1.0 + self.alpha * self.predictor(norm).sigmoid()
        return patches * gain.to(patches.dtype)


class BilinearAggregation(nn.Module):
    """Class token and patches to one unit descriptor (SAGE soft probing on EMVP's head).

    Patches are tokens here, so the published 1x1 convolutions are linear layers.
    """

    def __init__(self, dim: int, config: SageConfig) -> None:
        super().__init__()
        self.soft_weighting = SoftProbing() if config.soft_probing else nn.Identity()
        self.token_features = nn.Sequential(
            nn.Linear(dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.token)
        )
        self.cluster_features = patch_head(dim, config.hidden, config.features)
        self.score = patch_head(dim, config.hidden, config.clusters)
        self.gpn = DynamicPowerNorm(config.clusters, config.clusters // 2)

    def forward(self, cls: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """cls (B, C) and patches (B, N, C) to descriptors (B, D), unit length."""
        patches = self.soft_weighting(patches)
        features = _remove_mean(self.cluster_features(patches).float())  # (B, N, d)
        # Subtracting a mean from the scores would change nothing under the softmax.
        assignment = self.score(patches).float().softmax(dim=1)  # (B, N, k), over positions
        pooled = features.transpose(1, 2) @ assignment / patches.shape[1]  # (B, d, k)
        pooled = F.normalize(self.gpn(pooled.float()), dim=1).flatten(1)  # index d * K + k
        token = F.normalize(self.token_features(cls).float(), dim=1)
        return F.normalize(torch.cat((token, pooled), dim=1), dim=1)


class Sage(PlaceNetwork):
    """The whole network: normalised images (B, 3, H, W) to unit descriptors (B, D)."""

    def __init__(self, backbone: VitConfig, head: SageConfig) -> None:
        super().__init__()
        self.backbone = VisionTransformer(backbone)
        self.gpn_norms = nn.ModuleList(
            DynamicPowerNorm(backbone.dim, 16) for _ in range(head.tuned_blocks)
        )
        self.aggregator = BilinearAggregation(backbone.dim, head)
        self.descriptor_dim = head.descriptor_dim

    def forward(self, images: torch.Tensor | Stream) -> torch.Tensor:
        """Images (B, 3, H, W), normalised, to descriptors (B, D), unit length."""
        tokens = self.tokens(images)
        return self.aggregator(tokens.cls, tokens.patches)

    @property
    def first_adapted(self) -> int:
        return self.backbone.config.depth - len(self.gpn_norms)

    def tokens(self, images: torch.Tensor | Stream) -> Tokens:
        """Backbone output with the power normalisation after each of the last blocks."""
        first = self.first_adapted
        hooks: dict[int, Hook] = {first + i: norm for i, norm in enumerate(self.gpn_norms)}
        return self.backbone(images, hooks)


def patch_head(dim: int, hidden: int, out: int) -> nn.Sequential:
    """Patches (B, N, dim) to (B, N, out): the shape of head that SAGE and FoL share."""
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.Dropout(0.3), nn.ReLU(), nn.Linear(hidden, out)
    )


def _remove_mean(x: torch.Tensor) -> torch.Tensor:
    """Subtract one scalar per image: the mean over positions *and* channels, as released."""
    return x - x.mean(dim=(1, 2), keepdim=True)
