"""The training loop, in the order things happen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vpr_ros.config import TrainConfig
from vpr_ros.errors import ConfigError, DatasetError
from vpr_ros.image import normalise
from vpr_ros.models import PlaceModel
from vpr_ros.models.runtime import resolve_device
from vpr_ros.models.sage import Sage
from vpr_ros.training.augment import augment
from vpr_ros.training.data import PlaceSet
from vpr_ros.training.distill import Teacher
from vpr_ros.training.losses import (
    multi_similarity,
    relational_distillation,
    token_distillation,
)
from vpr_ros.training.sampler import image_batches, place_batches

GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Step:
    """What one step of the training did."""

    number: int
    learning_rate: float
    losses: dict[str, float]


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear rise over the warm-up, then half a cosine down to a hundredth of the peak."""
    warmup = max(1, round(config.warmup * config.steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))


def train(
    model: PlaceModel,
    data: PlaceSet,
    config: TrainConfig,
    teacher: Teacher | None = None,
    report: Callable[[Step], None] = lambda step: None,
) -> None:
    """Train a model in place, whole; it ends in evaluation mode with the averaged weights.

    `report` is called after every step.

    Raises:
        ConfigError: settings that do not fit the model or each other.
        DatasetError: the loss became NaN.
    """
    _check(config, model, teacher)
    device = resolve_device(config.device)
    torch.manual_seed(config.seed)  # dropout draws from the global generator
    rng = torch.Generator(device).manual_seed(config.seed)
    network = model.network.to(device).train()
    modules = torch.nn.ModuleList([network, *([teacher.to(device)] if teacher else [])])
    parameters = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=config.weight_decay)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    pool = torch.from_numpy(data.images).to(device)
    size = (config.image_size,) * 2 if config.image_size else model.input.size
    half = config.precision == 'bf16' or (config.precision == 'auto' and device.type == 'cuda')
    for step, indices in zip(range(config.steps), _batches(data, config), strict=False):
        rate = learning_rate(step, config)
        pixels = pool[torch.from_numpy(indices).to(device)].permute(0, 3, 1, 2)
        images = augment(pixels.float() / 255.0, size, config.augment, rng)
        labels = torch.from_numpy(data.places[indices]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            losses = _losses(model, images, labels, config, teacher)
        _descend(losses, optimizer, rate, step)
        average.update_parameters(network)
        report(Step(step, rate, {name: loss.item() for name, loss in losses.items()}))
    network.load_state_dict(average.module.state_dict())
    network.eval()


def _check(config: TrainConfig, model: PlaceModel, teacher: Teacher | None) -> None:
    """Refuse before the first step what would fail in it."""
    loss, patch = config.loss, model.network.backbone.config.patch
    model.require_single_image()
    if not isinstance(model.network, Sage):
        raise ConfigError(f'{model.name} cannot be trained here: choose a SAGE model')
    if not (loss.similarity or loss.tokens or loss.relations):
        raise ConfigError('every loss has weight 0: give one of them a weight')
    if teacher is None and (loss.tokens or loss.relations):
        raise ConfigError('the losses tokens and relations need teacher weights: set teacher')
    if config.image_size % patch:
        raise ConfigError(
            f'image_size: expected a multiple of the patch of {patch}, found {config.image_size}'
        )


def _descend(
    losses: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer, rate: float, step: int
) -> None:
    """One step of the optimiser, refused if anything is not finite."""
    group = optimizer.param_groups[0]
    group['lr'] = rate
    total = torch.stack(list(losses.values())).sum()
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    # The gradient too: descriptors of NaN compare as False and mine a finite loss of nothing.
    norm = torch.nn.utils.clip_grad_norm_(group['params'], GRADIENT_NORM)
    if not torch.isfinite(total + norm):
        raise DatasetError(
            f'the loss became {total.item():g} with a gradient of {norm.item():g} at step {step}: '
            'lower learning_rate or look for damaged images'
        )
    optimizer.step()


def _batches(data: PlaceSet, config: TrainConfig) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(config.seed)
    if config.views_per_place == 1:
        return image_batches(data.sources, config.places_per_batch, rng)
    return place_batches(
        data.places, data.sources, config.places_per_batch, config.views_per_place, rng,
        config.single_image_share,
    )  # fmt: skip


def _losses(
    model: PlaceModel,
    images: torch.Tensor,
    labels: torch.Tensor,
    config: TrainConfig,
    teacher: Teacher | None,
) -> dict[str, torch.Tensor]:
    """Weighted losses by name; only those that count are computed."""
    weights = config.loss
    spec = replace(model.input, size=(images.shape[-2], images.shape[-1]))
    network = cast(Sage, model.network)
    tokens = network.tokens(normalise(images, spec))
    descriptors = network.aggregator(tokens.cls, tokens.patches)
    losses = {}
    if weights.similarity:
        losses['similarity'] = weights.similarity * multi_similarity(descriptors, labels)
    if teacher is not None and (weights.tokens or weights.relations):
        lesson = teacher.teach(images)
        if weights.tokens:
            guess = teacher.project(tokens.patches)
            losses['tokens'] = weights.tokens * token_distillation(guess, lesson.tokens)
        if weights.relations:
            losses['relations'] = weights.relations * relational_distillation(
                descriptors, F.normalize(lesson.descriptor, dim=1)
            )
    return losses
