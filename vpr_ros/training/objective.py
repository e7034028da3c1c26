"""From a batch of pictures to its losses: what each method asks of its network."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import nn

from vpr_ros.config import LossConfig, TrainConfig
from vpr_ros.errors import ConfigError
from vpr_ros.image import normalise
from vpr_ros.models import PlaceModel
from vpr_ros.models.networks.dinov2 import Stream
from vpr_ros.models.networks.fol import Fol
from vpr_ros.models.networks.folpp import Folpp
from vpr_ros.models.networks.sage import Sage
from vpr_ros.training.distill import Teacher
from vpr_ros.training.distributed import Team
from vpr_ros.training.ensemble import AnyTeacher, Ensemble
from vpr_ros.training.fol_objective import fol_objective
from vpr_ros.training.losses import (
    active_pairs,
    multi_similarity,
    relational_distillation,
    similarity_distillation,
    token_distillation,
)

Inputs = torch.Tensor | Stream


class Outcome(NamedTuple):
    """What a batch taught."""

    losses: dict[str, torch.Tensor]  # weighted, by name
    active: torch.Tensor  # pairs that the miner kept, of the whole batch


class Student(nn.Module):
    """A network in training, and the teacher beside it where there is one."""

    def __init__(
        self, model: PlaceModel, config: TrainConfig, team: Team, teacher: AnyTeacher | None = None
    ) -> None:
        """Combine them.

        Raises:
            ConfigError: losses that the network or the lack of a teacher does not allow.
        """
        super().__init__()
        check_losses(model, config, teacher)
        self.network, self.teacher = model.network, teacher
        self.input, self.weights, self.team = model.input, config.loss, team

    def forward(self, inputs: Inputs, labels: torch.Tensor, generator: torch.Generator) -> Outcome:
        """Losses of B pictures.

        Args:
            inputs: augmented pictures (B, 3, H, W), float in [0, 1]; or their residual streams
                behind the frozen blocks.
            labels: place of each, (B,), integer.
            generator: of what a loss picks by chance.
        """
        pictures = None if isinstance(inputs, Stream) else inputs
        if pictures is not None:
            spec = replace(self.input, size=(pictures.shape[-2], pictures.shape[-1]))
            inputs = normalise(pictures, spec)
        if isinstance(self.network, Fol):
            losses, descriptors = self._fol(inputs, labels, generator)
        else:
            losses, descriptors = self._sage(inputs, pictures)
        # The loss of all processes' places against each other.
        rows, places = self.team.gather(descriptors.float()), self.team.gather(labels)
        if self.weights.similarity:
            losses['similarity'] = self.weights.similarity * multi_similarity(rows, places)
        return Outcome(losses, active_pairs(rows, places))

    def _fol(
        self, inputs: Inputs, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        apart = replace(self.weights, similarity=0.0)
        network = cast(Fol, self.network)
        found = fol_objective(network, inputs, labels, apart, generator)
        losses = dict(found.losses)
        # FoL's is a sum over the batch, of which this process has a share; FoL++'s is a mean.
        if 'local' in losses and not isinstance(network, Folpp):
            losses['local'] = losses['local'] * self.team.size
        return losses, found.descriptors

    def _sage(
        self, inputs: Inputs, pictures: torch.Tensor | None
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        assert isinstance(self.network, Sage)
        tokens = self.network.tokens(inputs)
        descriptors = self.network.aggregator(tokens.cls, tokens.patches)
        if self.teacher is None or pictures is None:
            return {}, descriptors
        return self._lesson(self.teacher, pictures, tokens.patches, descriptors), descriptors

    @torch.no_grad()
    def meet_teacher(self, inputs: Inputs) -> None:
        """Fit the teacher's head to the features as they are, on a batch as `forward` takes it.

        It is that of the whole team, so that all processes find the same head.
        """
        if not isinstance(self.teacher, Teacher) or isinstance(inputs, Stream):
            return
        assert isinstance(self.network, Sage)
        spec = replace(self.input, size=(inputs.shape[-2], inputs.shape[-1]))
        patches = self.network.tokens(normalise(inputs, spec)).patches
        gather = self.team.gather
        tokens = self.teacher.teach(inputs).tokens
        assert tokens is not None
        self.teacher.fit(gather(patches), gather(tokens))

    def _lesson(
        self,
        teacher: AnyTeacher,
        pictures: torch.Tensor,
        patches: torch.Tensor,
        descriptors: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        weights, losses = self.weights, {}
        lesson = teacher.teach(pictures)
        if weights.tokens:
            assert isinstance(teacher, Teacher) and lesson.tokens is not None
            guess = teacher.project(patches)
            losses['tokens'] = weights.tokens * token_distillation(guess, lesson.tokens)
        wanted = F.normalize(lesson.descriptor, dim=1)
        if weights.relations:
            losses['relations'] = weights.relations * relational_distillation(
                descriptors, wanted, weights.temperature
            )
        if weights.similarities:
            losses['similarities'] = weights.similarities * similarity_distillation(
                descriptors, wanted
            )
        return losses


def check_losses(model: PlaceModel, config: TrainConfig, teacher: AnyTeacher | None) -> None:
    """Refuse before the first step what would fail in it.

    Raises:
        ConfigError: as said in it.
    """
    loss, patch = config.loss, model.network.backbone.config.patch
    model.require_single_image()
    if not isinstance(model.network, (Sage, Fol)):
        raise ConfigError(f'{model.name} cannot be trained here: choose a SAGE or FoL model')
    if not any(_counted(loss, model).values()):
        raise ConfigError('every loss has weight 0: give one of them a weight')
    if teacher is None and (loss.tokens or loss.relations or loss.similarities):
        raise ConfigError(
            'the losses tokens, relations and similarities need teacher weights: set teacher'
        )
    if isinstance(teacher, Ensemble) and loss.tokens:
        raise ConfigError('models that teach together have no tokens in common: set tokens to 0')
    if teacher is not None and (isinstance(model.network, Fol) or config.stored_views):
        raise ConfigError('a teacher teaches SAGE models, with stored_views 0')
    if config.image_size % patch:
        raise ConfigError(
            f'image_size: expected a multiple of the patch of {patch}, found {config.image_size}'
        )


def _counted(loss: LossConfig, model: PlaceModel) -> dict[str, float]:
    """Weights of the losses that the model has."""
    own = ('local', 'alignment', 'separation', 'correspondences')
    taught = ('tokens', 'relations', 'similarities')
    others = own if isinstance(model.network, Sage) else taught
    weights = {name: weight for name, weight in vars(loss).items() if name != 'temperature'}
    return {name: weight for name, weight in weights.items() if name not in others}
