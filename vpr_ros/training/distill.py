"""Learning from a larger backbone: its patch features, and which images it finds alike.

The teacher is the lower part of a plain ViT-Ti/16 with timm's parameter names: places are told
apart best by its middle features, the last ones are specialised on the classes it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vpr_ros.errors import CheckpointError
from vpr_ros.models.networks.dinov2 import VIT_TINY, VisionTransformer
from vpr_ros.models.weights.checkpoint import load_strictly

TARGET_BLOCK = 5
WHITENED_BLOCKS = (3, 5, 9)
# A whitening of power 1 would raise directions that hold noise alone.
WHITENING_POWER, WHITENING_FLOOR = 0.8, 0.02
GEM_POWER = 3.0
RIDGE = 1e-3  # of the mean variance, when the head is fitted
EPS = 1e-9  # where features do not vary at all
TEACHER_MEAN = TEACHER_STD = 0.5


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of B images."""

    descriptor: torch.Tensor  # (B, D): how alike they are is its cosine
    tokens: torch.Tensor | None = None  # (B, N, C), normalised features of the target block


class Teacher(nn.Module):
    """Frozen ViT-Ti/16 and the head through which a student's tokens are compared with it.

    Its descriptor is the generalised mean (GeM) of the target block's features, centred on the
    batch; or that of several blocks, each whitened and of the same weight, once `whiten` has seen
    images: directions that all images share then count no more than those that tell them apart.
    """

    mean: torch.Tensor
    whitening: torch.Tensor

    def __init__(self, student_dim: int, whitened: bool = False) -> None:
        super().__init__()
        self.blocks = WHITENED_BLOCKS if whitened else (TARGET_BLOCK,)
        self.whitened = whitened
        lower = replace(VIT_TINY, depth=max(TARGET_BLOCK, *self.blocks) + 1)
        self.backbone = VisionTransformer(lower).eval().requires_grad_(False)
        self.project = nn.Linear(student_dim, VIT_TINY.dim)
        self.register_buffer('mean', torch.zeros(len(self.blocks), 1, VIT_TINY.dim))
        self.register_buffer('whitening', torch.eye(VIT_TINY.dim).repeat(len(self.blocks), 1, 1))

    @torch.no_grad()
    def teach(self, images: torch.Tensor) -> Lesson:
        """Look at images (B, 3, H, W), float in [0, 1]."""
        tokens, pooled = self._look(images)
        if not self.whitened:
            return Lesson(pooled[0] - pooled[0].mean(dim=0), tokens)
        with torch.autocast(images.device.type, enabled=False):
            parts = F.normalize((pooled - self.mean) @ self.whitening, dim=-1)
        return Lesson(parts.transpose(0, 1).flatten(1), tokens)

    @torch.no_grad()
    def whiten(self, batches: Iterable[torch.Tensor]) -> None:
        """Learn mean and whitening of each block's GeM from images (B, 3, H, W) in [0, 1]."""
        pooled = torch.cat([self._look(images)[1] for images in batches], dim=1).double()
        mean = pooled.mean(dim=1, keepdim=True)
        covariance = (pooled - mean).transpose(1, 2) @ (pooled - mean) / pooled.shape[1]
        power, axes = torch.linalg.eigh(covariance)
        power = power + WHITENING_FLOOR * power.mean(dim=1, keepdim=True)
        self.mean.copy_(mean)
        self.whitening.copy_(axes * power[:, None].pow(-0.5 * WHITENING_POWER))

    @torch.no_grad()
    def fit(self, patches: torch.Tensor, tokens: torch.Tensor) -> None:
        """Make the head the least squares from a student's features to the teacher's.

        A student that knows something already is not led astray by a head that knows nothing.

        Args:
            patches: (B, N, C') of the student.
            tokens: (B, N, C) of the teacher, of the same images.
        """
        x, y = patches.flatten(0, 1).double(), tokens.flatten(0, 1).double()
        centre, target = x.mean(dim=0), y.mean(dim=0)
        x = x - centre
        gram = x.T @ x / len(x)
        ridge = RIDGE * gram.diagonal().mean() + EPS
        gram = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        weight = torch.linalg.solve(gram, x.T @ (y - target) / len(x)).T
        self.project.weight.copy_(weight)
        self.project.bias.copy_(target - weight @ centre)

    def _look(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised features (B, N, C) of the target block, and GeM (L, B, C) of its blocks."""
        x, _ = self.backbone.embed((images - TEACHER_MEAN) / TEACHER_STD)
        tokens, pooled = x, []
        for index, block in enumerate(self.backbone.blocks):
            x = block(x)
            if index == TARGET_BLOCK:
                tokens = F.layer_norm(x[:, 1:].float(), x.shape[-1:])
            if index in self.blocks:
                positive = x[:, 1:].float().clamp(min=1e-6)
                pooled.append(positive.pow(GEM_POWER).mean(dim=1).pow(1.0 / GEM_POWER))
        return tokens, torch.stack(pooled)


def load_teacher(path: Path | str, student_dim: int, whitened: bool = False) -> Teacher:
    """Read ViT-Ti/16 weights with timm's names from a safetensors file.

    Args:
        path: the file.
        student_dim: width of the student's tokens.
        whitened: its descriptor is that of several blocks, which `whiten` has to prepare.

    Raises:
        CheckpointError: no such file, or another architecture.
    """
    if not Path(path).is_file():
        raise CheckpointError(f'no teacher weights at {path}: expected a ViT-Ti/16 .safetensors')
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path} is not a safetensors file: {error}') from None
    teacher = Teacher(student_dim, whitened)
    last = len(teacher.backbone.blocks) - 1
    used = {key: value for key, value in weights.items() if not _is_above(key, last)}
    load_strictly(teacher.backbone, used, path)
    return teacher


def _is_above(key: str, last: int) -> bool:
    """Whether a timm key belongs to what comes after the last block wanted."""
    part, _, rest = key.partition('.')
    return part == 'head' or (part == 'blocks' and int(rest.split('.')[0]) > last)
