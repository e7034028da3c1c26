"""Learning from a larger backbone: its patch features, and which images it finds alike.

The teacher is a plain ViT-Ti/16 with timm's parameter names. Places resemble each other most by
its middle features; its last ones are specialised on the classes it was trained to tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vpr_ros.errors import CheckpointError
from vpr_ros.models.checkpoint import load_strictly
from vpr_ros.models.dinov2 import VIT_TINY, VisionTransformer

TARGET_BLOCKS = (5, 9)
PLACE_BLOCK = 5
CLASSIFIER = 'head.'  # of timm's checkpoint; places have no classes
GEM_POWER = 3.0
TEACHER_MEAN = TEACHER_STD = 0.5


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of B images."""

    tokens: torch.Tensor  # (B, N, E), normalised features of the target blocks
    descriptor: torch.Tensor  # (B, C), centred on the batch


class Teacher(nn.Module):
    """Frozen ViT-Ti/16 and the head through which a student's tokens are compared with it."""

    def __init__(self, student_dim: int) -> None:
        super().__init__()
        self.backbone = VisionTransformer(VIT_TINY).eval().requires_grad_(False)
        self.width = VIT_TINY.dim * len(TARGET_BLOCKS)
        self.project = nn.Linear(student_dim, self.width)

    @torch.no_grad()
    def teach(self, images: torch.Tensor) -> Lesson:
        """Look at images (B, 3, H, W), float in [0, 1]."""
        outputs: dict[int, torch.Tensor] = {}

        def keep(index: int, x: torch.Tensor) -> torch.Tensor:
            outputs[index] = x[:, 1:]
            return x

        hooks = {i: (lambda x, i=i: keep(i, x)) for i in TARGET_BLOCKS}
        self.backbone((images - TEACHER_MEAN) / TEACHER_STD, hooks)
        places = outputs[PLACE_BLOCK].float().clamp(min=1e-6)
        descriptor = places.pow(GEM_POWER).mean(dim=1).pow(1.0 / GEM_POWER)
        tokens = [F.layer_norm(outputs[i].float(), (VIT_TINY.dim,)) for i in TARGET_BLOCKS]
        return Lesson(torch.cat(tokens, dim=-1), descriptor - descriptor.mean(dim=0))


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
    body = {key: value for key, value in weights.items() if not key.startswith(CLASSIFIER)}
    load_strictly(teacher.backbone, body, path)
    return teacher
