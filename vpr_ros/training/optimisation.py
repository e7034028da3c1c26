"""What is trained, how fast, and the step that is refused when it is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from vpr_ros.config import TrainConfig
from vpr_ros.errors import ConfigError, DatasetError
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.networks.sage import Sage

GRADIENT_NORM = 1.0


def choose_trainable(network: PlaceNetwork, config: TrainConfig) -> dict[str, torch.nn.Parameter]:
    """Let gradients into the parameters that are trained, and into no others.

    Nothing before the first of them asks for a gradient, so autograd records nothing there.

    Returns:
        Those parameters, by name.
    """
    wanted = config.trainable
    if wanted == 'auto':
        wanted = 'whole' if config.scratch else 'head' if isinstance(network, Sage) else 'last4'
    tuned = tuple(
        f'backbone.blocks.{index}.'
        for index in range(network.first_adapted, network.backbone.config.depth)
    )
    chosen = {}
    for name, parameter in network.named_parameters():
        learns = (
            wanted == 'whole'
            or not name.startswith('backbone.')
            or name.startswith('backbone.norm.')
            or (wanted == 'last4' and name.startswith(tuned))
        )
        parameter.requires_grad_(learns)
        if learns:
            chosen[name] = parameter
    return chosen


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear rise over the warm-up, then a fall by the schedule to `final_rate` of the peak."""
    warmup = max(1, round(config.warmup * config.steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, config.steps - warmup)
    left = (
        1 - progress if config.schedule == 'linear' else 0.5 * (1 + math.cos(math.pi * progress))
    )
    return config.learning_rate * (config.final_rate + (1.0 - config.final_rate) * left)


class Descent:
    """AdamW on some parameters, with clipped gradients and, for fp16, a scaled loss."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], config: TrainConfig) -> None:
        self.parameters = list(parameters)
        self.config = config
        self.optimizer = torch.optim.AdamW(self.parameters, weight_decay=config.weight_decay)
        self.scaler = torch.amp.GradScaler('cuda', enabled=config.precision == 'fp16')

    def backward(self, total: torch.Tensor) -> None:
        """Add the gradients of one of the step's batches."""
        self.scaler.scale(total / self.config.accumulate).backward()

    def step(self, number: int, total: float) -> float:
        """Take one step; `total` is its loss, for the message alone.

        Returns:
            Norm of the gradient before clipping.

        Raises:
            DatasetError: loss or gradient is not finite; nothing was changed.
        """
        rate = learning_rate(number, self.config)
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        self.scaler.unscale_(self.optimizer)
        # The gradient too: descriptors of NaN compare as False and mine a finite loss of nothing.
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, GRADIENT_NORM).item()
        if not math.isfinite(total + norm) and not (math.isfinite(total) and self._may_overflow()):
            raise DatasetError(
                f'the loss became {total:g} with a gradient of {norm:g} at step {number}: '
                'lower learning_rate or look for damaged images'
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _may_overflow(self) -> bool:
        """Whether the scaler explains an infinite gradient, and will skip the step.

        Once it scales no more, the network itself is not finite and no step would ever be taken.
        """
        return self.scaler.is_enabled() and self.scaler.get_scale() >= 1.0


class Average:
    """Running average of weights, which often serves better than the last ones."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.values = [p.detach().clone() for p in self.parameters]
        self.count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights in; the first ones count whole."""
        weight = 1.0 - self.decay if self.count else 1.0
        torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], weight)
        self.count += 1

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the present weights; again: back."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)


def half_type(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    """The type of autocast, None for float32 throughout.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    if config.precision == 'fp16' and device.type == 'cpu':
        raise ConfigError('precision fp16 trains on a GPU only: choose bf16 or fp32')
    if config.precision == 'auto':
        return torch.bfloat16 if device.type == 'cuda' else None
    return {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}[config.precision]
