"""FoL++ (arXiv 2604.22390), reconstructed: reliability in place of attention, fused masks.

The authors published neither code nor weights, and of the method little more than its outline:
the reliability branch, the fusion of the masks and every constant here are our own choice
(sections 4.5 and 4.6 of the method). Its figures are not those of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from vpr_ros.models.networks.dinov2 import LAYER_NORM_EPS, Stream, VitConfig
from vpr_ros.models.networks.fol import DENSE_STEPS, Fol, FolConfig, FolMaps
from vpr_ros.models.networks.fol_masks import largest, saliency, soft_mask, winsorise
from vpr_ros.records import LocalFeatures


@dataclass(frozen=True)
class FolppConfig(FolConfig):
    """What FoL++ adds to FoL: our reconstruction, but for the share of 40 %, which is public."""

    share: float = 0.40  # of the patches are in the binary mask
    fusion: str = 'sum'  # or 'product'
    levels: int = 4  # last blocks that the reliability branch reads
    reduced: int = 64  # width of each level in it


class ReliabilityBranch(nn.Module):
    """Residual streams of the last blocks to a reliability of each patch, in (0, 1).

    Our reconstruction of FoL++'s branch: one projection a level, three depthwise convolutions of
    growing reach, two layers that mix.
    """

    def __init__(self, dim: int, levels: int, reduced: int) -> None:
        super().__init__()
        # Without weights of its own: the projection after it would absorb them.
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS, elementwise_affine=False)
        self.reduce = nn.ModuleList(nn.Linear(dim, reduced) for _ in range(levels))
        width = levels * reduced
        self.context = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=reach, dilation=reach, groups=width)
            for reach in (1, 2, 4)
        )
        self.mix = nn.Sequential(nn.Linear(width, reduced), nn.GELU(), nn.Linear(reduced, 1))
        nn.init.ones_(self.mix[2].bias)  # type: ignore[arg-type]  # begins by trusting patches

    def forward(self, streams: list[torch.Tensor], grid: tuple[int, int]) -> torch.Tensor:
        """Streams of (B, 1+N, C), one for each level, to reliability (B, N), float32."""
        levels = [
            layer(self.norm(stream[:, 1:]))
            for layer, stream in zip(self.reduce, streams, strict=True)
        ]
        square = torch.cat(levels, dim=2).transpose(1, 2).unflatten(2, grid)
        square = F.gelu(square + sum(layer(square) for layer in self.context))
        return self.mix(square.flatten(2).transpose(1, 2))[:, :, 0].float().sigmoid()


class Folpp(Fol):
    """Normalised images (B, 3, H, W) to unit descriptors and a few weighted local features.

    Our reconstruction of FoL++. Its keys are FoL's and `reb.*`.
    """

    reb: ReliabilityBranch | None

    def __init__(self, backbone: VitConfig, config: FolppConfig) -> None:
        super().__init__(backbone, config)
        if config.fusion not in FUSIONS:
            raise ValueError(f'fusion {config.fusion!r}: expected one of {", ".join(FUSIONS)}')
        self.levels, self.share = config.levels, config.share
        self.fuse = FUSIONS[config.fusion]
        self.reb = ReliabilityBranch(backbone.dim, config.levels, config.reduced)

    def rely_on_attention(self) -> None:
        """Drop the reliability branch: for weights that have none, such as FoL's.

        The reliability then is the attention of the class token, winsorised and scaled to at most
        1. The keys of the network are those of FoL.
        """
        self.reb = None

    def maps(self, images: torch.Tensor | Stream) -> FolMaps:
        """The global branch; `guide` of the result is the reliability, in [0, 1]."""
        last = self.backbone.config.depth - 1
        if self.reb is not None:
            tokens, streams = self.run_backbone(images, first=last + 1 - self.levels)
            return self.pool(tokens, self.reb(streams, tokens.grid))
        tokens, streams = self.run_backbone(images, first=last - 1)
        attention = winsorise(self.attention(streams[0]))
        return self.pool(tokens, attention / attention.amax(dim=1, keepdim=True))

    def fused_mask(self, maps: FolMaps) -> torch.Tensor:
        """How much each patch counts, in training and after, (B, N)."""
        return self.fuse(saliency(maps.assignment), maps.guide)

    def places(self, maps: FolMaps) -> torch.Tensor:
        """Patches of the binary mask in raster order, (B, k), integer; k is 40 % of N."""
        fused = self.fused_mask(maps)
        return largest(fused, round(self.share * fused.shape[1]))

    def patch_tokens(self, patches: torch.Tensor) -> torch.Tensor:
        """Local tokens at the centres of patches: (B, k, C) to (B, k, d), unit length, float32."""
        tokens = _centre_tap(self.upconv2, _centre_tap(self.upconv, patches).relu())
        return F.normalize(tokens.float(), dim=2)

    def local_features(self, maps: FolMaps) -> LocalFeatures:
        """One token at the centre of each patch of the binary mask; all of them are valid.

        A patch lies at every fourth cell of the decoder's grid, where each of the two transposed
        convolutions has its centre tap alone: two small products give these tokens, exactly.
        """
        places = self.places(maps)
        picked = maps.patches.gather(1, places[:, :, None].expand(-1, -1, maps.patches.shape[2]))
        tokens = self.patch_tokens(picked)
        width = maps.grid[1]
        cell = torch.stack((places // width, places % width), dim=2) * DENSE_STEPS
        return LocalFeatures(
            tokens,
            torch.ones_like(places, dtype=torch.bool),
            self.cell_position(cell),
            maps.guide.gather(1, places),
        )


def _sum(salient: torch.Tensor, reliable: torch.Tensor) -> torch.Tensor:
    """FoL's rule of training, with reliability in place of attention."""
    return soft_mask(salient) + soft_mask(reliable)


def _product(salient: torch.Tensor, reliable: torch.Tensor) -> torch.Tensor:
    return winsorise(salient) * reliable


FUSIONS = {'sum': _sum, 'product': _product}


def _centre_tap(layer: nn.ConvTranspose2d, x: torch.Tensor) -> torch.Tensor:
    """What a transposed convolution of kernel 3, stride 2 and padding 1 does to its even cells.

    (B, k, in) to (B, k, out).
    """
    weight = layer.weight[:, :, 1, 1]  # (in, out)
    return F.linear(x.to(weight.dtype), weight.t(), layer.bias)
