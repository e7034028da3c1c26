"""Learning from a larger backbone: its patch features, and which images it finds alike.

The teacher is the lower half of a plain ViT-Ti/16 with timm's parameter names: places are told
apart best by its middle features, the last ones are specialised on the classes it was trained on.
"""

from __future__ import annotations

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
GEM_POWER = 3.0
TEACHER_MEAN = TEACHER_STD = 0.5


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of B images."""

    tokens: torch.Tensor  # (B, N, C), normalised features of the target block
    descriptor: torch.Tensor  # (B, C), centred on the batch


class Teacher(nn.Module):
    """Frozen ViT-Ti/16 and the head through which a student's tokens are compared with it."""

    def __init__(self, student_dim: int) -> None:
        super().__init__()
        lower_half = replace(VIT_TINY, depth=TARGET_BLOCK + 1)
        self.backbone = VisionTransformer(lower_half).eval().requires_grad_(False)
        self.project = nn.Linear(student_dim, VIT_TINY.dim)

    @torch.no_grad()
    def teach(self, images: torch.Tensor) -> Lesson:
        """Look at images (B, 3, H, W), float in [0, 1]."""
        x, _ = self.backbone.embed((images - TEACHER_MEAN) / TEACHER_STD)
        for block in self.backbone.blocks:
            x = block(x)
        patches = x[:, 1:].float()
        positive = patches.clamp(min=1e-6)
        descriptor = positive.pow(GEM_POWER).mean(dim=1).pow(1.0 / GEM_POWER)
        tokens = F.layer_norm(patches, patches.shape[-1:])
        return Lesson(tokens, descriptor - descriptor.mean(dim=0))


def load_teacher(path: Path | str, student_dim: int) -> Teacher:
    """Read ViT-Ti/16 weights with timm's names from a safetensors file.

    Raises:
        CheckpointError: no such file, or another architecture.
    """
    if not Path(path).is_file():
        raise CheckpointError(f'no teacher weights at {path}: expected a ViT-Ti/16 .safetensors')
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path} is not a safetensors file: {error}') from None
    teacher = Teacher(student_dim)
    used = {key: value for key, value in weights.items() if not _is_above(key)}
    load_strictly(teacher.backbone, used, path)
    return teacher


def _is_above(key: str) -> bool:
    """Whether a timm key belongs to what comes after the target block."""
    part, _, rest = key.partition('.')
    return part == 'head' or (part == 'blocks' and int(rest.split('.')[0]) > TARGET_BLOCK)
