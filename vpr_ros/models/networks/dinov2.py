"""The DINOv2 vision transformer (Oquab et al. 2023) without register tokens.

Parameter names are those of the published torch.hub checkpoints, and of timm's ViT where that
has the same part, so that their weights load without renaming. `mask_token` is left out: it is
used by pre-training alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

LAYER_NORM_EPS = 1e-6
STEM_GROUPS = 8

Hook = Callable[[torch.Tensor], torch.Tensor]
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class VitConfig:
    """Shape of a vision transformer.

    `grid` is the side of its native position table. `stem` lists the widths of a convolutional
    stem in place of DINOv2's one patch projection: a small model that starts from nothing learns
    local features much sooner with it (Xiao et al. 2021, "Early convolutions help transformers
    see better"). `left_out` counts blocks of the published backbone that follow the last one here
    and are not run: a classifier's last blocks know its classes rather than places.
    """

    dim: int
    depth: int
    heads: int
    patch: int = 14
    grid: int = 37
    layer_scale: bool = True
    stem: tuple[int, ...] = ()
    left_out: int = 0


VIT_TINY = VitConfig(dim=192, depth=12, heads=3, patch=16, grid=14, layer_scale=False)
VIT_SMALL = VitConfig(dim=384, depth=12, heads=6)
VIT_BASE = VitConfig(dim=768, depth=12, heads=12)
VIT_LARGE = VitConfig(dim=1024, depth=24, heads=16)


class Tokens(NamedTuple):
    """Output of the backbone for B images on an h x w grid of patches."""

    cls: torch.Tensor  # (B, C)
    patches: torch.Tensor  # (B, h*w, C), row-major
    grid: tuple[int, int]  # h, w


class Stream(NamedTuple):
    """The residual stream of B images, part of the way through the blocks."""

    x: torch.Tensor  # (B, 1 + h*w, C), class token first
    grid: tuple[int, int]  # h, w
    done: int  # blocks it has passed


class PatchEmbed(nn.Module):
    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch, stride=patch)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        return self.proj(images)


class ConvStem(nn.Module):
    """Convolutions of stride two down to one cell a patch."""

    def __init__(self, dim: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *widths), widths, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                # Statistics of the image alone, not of the batch.
                nn.GroupNorm(STEM_GROUPS, after),
                nn.GELU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.proj = nn.Conv2d(widths[-1], dim, kernel_size=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        return self.proj(self.layers(images))


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attend: Attend = F.scaled_dot_product_attention
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = self.attend(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        dim = config.dim
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(dim, config.heads)
        self.ls1 = LayerScale(dim) if config.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim)
        self.ls2 = LayerScale(dim) if config.layer_scale else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    """Images to a class token and a grid of patch tokens, after the final LayerNorm."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.fixed_positions: dict[tuple[int, int], torch.Tensor] = {}
        self.patch_embed = _patch_embed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.apply(_init_linear)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)

    def embed(self, images: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Tokens before the first block.

        Args:
            images: (B, 3, H, W); H and W are multiples of the patch.

        Returns:
            Tokens (B, 1 + h*w, C), class token first, and the grid (h, w).

        Raises:
            ValueError: H or W is not a multiple of the patch.
        """
        height, width = (int(side) for side in images.shape[-2:])  # constants when traced
        patch = self.config.patch
        if height % patch or width % patch:
            raise ValueError(
                f'expected height and width in multiples of {patch} pixels, found {height}x{width}'
            )
        patches = self.patch_embed(images)
        grid = (height // patch, width // patch)
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)
        positions = self.fixed_positions.get(grid)
        if positions is None:
            positions = position_table(self.pos_embed, grid)
        return tokens + positions.to(tokens.dtype), grid

    def begin(self, images: torch.Tensor, blocks: int) -> Stream:
        """Run the first `blocks` blocks; `forward` goes on from there, to the same end.

        Args:
            images: (B, 3, H, W), normalised.
            blocks: how many; they must be followed by nothing that is trained or hooked.
        """
        x, grid = self.embed(images)
        for index in range(blocks):
            x = self.blocks[index](x)
        return Stream(x, grid, blocks)

    def fix_positions(self, grid: tuple[int, int]) -> None:
        """Interpolate the position table of one grid for good: the weights change no more."""
        self.fixed_positions[grid] = position_table(self.pos_embed, grid).detach()

    def forward(
        self, images: torch.Tensor | Stream, hooks: dict[int, Hook] | None = None
    ) -> Tokens:
        """Run the backbone.

        Args:
            images: (B, 3, H, W), normalised; or what `begin` made of them.
            hooks: block index to a function applied to that block's output, the whole residual
                stream (B, 1 + h*w, C).
        """
        x, grid, done = images if isinstance(images, Stream) else self.begin(images, 0)
        for index, block in enumerate(self.blocks):
            if index < done:
                continue
            x = block(x)
            if hooks and index in hooks:
                x = hooks[index](x)
        x = self.norm(x)
        return Tokens(x[:, 0], x[:, 1:], grid)


def position_table(pos_embed: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Interpolate a square position table to a grid as DINOv2's released code does.

    Bicubic (a = -0.75), not anti-aliased, borders clamped, in float32. The published code passes a
    scale factor of (n + 0.1) / native in place of the size, which moves the sampling positions to
    (i + 0.5) * native / (n + 0.1) - 0.5; weights were trained with that and need it.

    Args:
        pos_embed: (1, 1 + native * native, C), class position first.
        grid: wanted h, w.

    Returns:
        Table (1, 1 + h*w, C), float32.
    """
    native = round((pos_embed.shape[1] - 1) ** 0.5)
    if grid == (native, native):
        return pos_embed
    table = pos_embed[:, 1:].float().view(1, native, native, -1).permute(0, 3, 1, 2)
    scale = tuple((n + 0.1) / native for n in grid)
    table = F.interpolate(table, scale_factor=scale, mode='bicubic', antialias=False)
    if tuple(table.shape[-2:]) != grid:
        raise ValueError(f'position table became {tuple(table.shape[-2:])}, expected {grid}')
    table = table.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat((pos_embed[:, :1].float(), table), dim=1)


def _patch_embed(config: VitConfig) -> nn.Module:
    if not config.stem:
        return PatchEmbed(config.dim, config.patch)
    if 2 ** len(config.stem) != config.patch:
        raise ValueError(
            f'a stem of {len(config.stem)} halvings makes patches of {2 ** len(config.stem)}, '
            f'expected {config.patch}'
        )
    return ConvStem(config.dim, config.stem)


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
