"""Learning from several models of ours, which are better side by side than each alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from vpr_ros.image import normalise
from vpr_ros.models import PlaceModel
from vpr_ros.models.registry import load_model
from vpr_ros.training.distill import Lesson, Teacher


class Ensemble(nn.Module):
    """Frozen models; the cosine of two images is the mean of what each of them finds."""

    def __init__(self, members: Sequence[PlaceModel]) -> None:
        super().__init__()
        self.inputs = [member.input for member in members]
        self.networks = nn.ModuleList(member.network for member in members)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Ensemble:
        """Stay as it is: dropout is for who learns."""
        return super().train(False)

    @torch.no_grad()
    def teach(self, images: torch.Tensor) -> Lesson:
        """Look at images (B, 3, H, W), float in [0, 1]; each member at its own size."""
        rows = [
            F.normalize(network(normalise(images, spec)).float(), dim=1)
            for network, spec in zip(self.networks, self.inputs, strict=True)
        ]
        return Lesson(torch.cat(rows, dim=1))


AnyTeacher = Teacher | Ensemble


def load_ensemble(members: str) -> Ensemble:
    """Read the models that teach together.

    Args:
        members: `NAME=FILE` for each, separated by spaces, quoted as in sh; `NAME` alone takes the
            weights at hand. FILE is what `model.weights` would be.

    Raises:
        ConfigError: no such model, or one whose descriptor depends on other images.
        CheckpointError: weights are missing or another model's.
    """
    loaded = []
    for member in shlex.split(members):
        name, _, weights = member.partition('=')
        model = load_model(name, weights)
        model.require_weights()
        model.require_single_image()
        loaded.append(model)
    return Ensemble(loaded)


def without_folders(members: str) -> str:
    """The same order without this machine's folders, for the record of a training."""
    parts = (member.partition('=') for member in shlex.split(members))
    return ' '.join(f'{name}{sign}{Path(weights).name}' for name, sign, weights in parts)
