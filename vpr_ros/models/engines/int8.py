"""The linear layers of the transformer blocks in 8 bits, on a CPU.

The ranges of their inputs are measured once, on pictures of where the robot drives. They give each
layer one scale for its input (0 to 255) and one for each row of its weight (-127 to 127). Torch
only rounds to these scales; OpenVINO makes products of 8 bits of it. What GELU hands to the second
layer of a perceptron has a few channels that dwarf the others: there a part of the size of the
channels is moved into the weight first (SmoothQuant, Xiao et al. 2023, arXiv 2211.10438, eq. 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from vpr_ros.errors import CheckpointError
from vpr_ros.models.networks import dinov2
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.weights.published import cache_folder
from vpr_ros.models.weights.released import read_safetensors

SMOOTHING = 0.8  # alpha of SmoothQuant
MARGIN = 1.5  # of ranges: cutting off what is larger on new pictures costs more than coarseness
LEVELS = 255
TINY = 1e-5

Ranges = dict[str, torch.Tensor]  # (2, C) of a layer: least and greatest input of each channel


class Int8Linear(nn.Module):
    """A linear layer whose input and weight are rounded to 8 bits."""

    def __init__(self, linear: nn.Linear, seen: torch.Tensor, smoothing: float = 0.0) -> None:
        """Choose the scales.

        Args:
            linear: the layer.
            seen: (2, in), the least and the greatest input of each channel.
            smoothing: share of the size of its channels that goes into the weight.
        """
        super().__init__()
        weight, seen = linear.weight.detach(), seen * MARGIN
        self.gain = channel_gain(seen, weight, smoothing) if smoothing else None
        if self.gain is not None:
            seen, weight = seen * self.gain, weight / self.gain
        low, high = min(float(seen[0].min()), 0.0), max(float(seen[1].max()), TINY)
        self.scale = (high - low) / LEVELS
        self.zero = round(-low / self.scale)
        self.weight, self.bias = weight, linear.bias
        self.rows = (weight.abs().amax(dim=1) / 127).clamp(min=TINY / 127)
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        x = x if self.gain is None else x * self.gain
        x = torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, LEVELS)
        weight = torch.fake_quantize_per_channel_affine(
            self.weight, self.rows, self.zeros, 0, -127, 127
        )
        return F.linear(x, weight, self.bias)


def channel_gain(seen: torch.Tensor, weight: torch.Tensor, share: float) -> torch.Tensor:
    """What the channels of an input (2, in) are multiplied by to be of one size, (in,)."""
    sizes = seen.abs().amax(dim=0).clamp(min=TINY) ** share
    sizes = sizes / weight.abs().amax(dim=0).clamp(min=TINY) ** (1 - share)
    return sizes.mean() / sizes


def linears(network: PlaceNetwork) -> dict[str, tuple[nn.Module, str]]:
    """Parent and name in it of every linear layer of the transformer blocks."""
    found: dict[str, tuple[nn.Module, str]] = {}
    for index, block in enumerate(network.backbone.blocks):
        for path, parent in block.named_modules():
            for name, child in parent.named_children():
                if isinstance(child, nn.Linear):
                    found[f'{index}.{path}.{name}'] = (parent, name)
    return found


@torch.inference_mode()
def measured_ranges(network: PlaceNetwork, images: Iterable[torch.Tensor]) -> Ranges:
    """Ranges of a network over batches of normalised images."""
    ranges: Ranges = {}
    handles = [
        getattr(parent, name).register_forward_pre_hook(partial(_widen, ranges, key))
        for key, (parent, name) in linears(network).items()
    ]
    try:
        for batch in images:
            network.features(batch)
    finally:
        for handle in handles:
            handle.remove()
    return ranges


def _widen(ranges: Ranges, key: str, module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    rows = inputs[0].flatten(0, -2)
    found = torch.stack((rows.amin(dim=0), rows.amax(dim=0)))
    before = ranges.get(key, found)
    ranges[key] = torch.stack(
        (torch.minimum(found[0], before[0]), torch.maximum(found[1], before[1]))
    )


def quantise(network: PlaceNetwork, ranges: Ranges) -> None:
    """Round the linear layers of a network's transformer blocks to 8 bits, in place.

    Raises:
        CheckpointError: the ranges are not of this network.
    """
    layers = {key: getattr(parent, name) for key, (parent, name) in linears(network).items()}
    wanted = {key: (2, layer.in_features) for key, layer in layers.items()}
    if {key: tuple(seen.shape) for key, seen in ranges.items()} != wanted:
        raise CheckpointError(
            f'expected the ranges of {len(wanted)} layers for int8, found {len(ranges)} of this '
            'or another network: measure them with `vpr weights quantize`'
        )
    for key, (parent, name) in linears(network).items():
        smoothing = SMOOTHING if isinstance(parent, dinov2.Mlp) and name == 'fc2' else 0.0
        setattr(parent, name, Int8Linear(layers[key], ranges[key], smoothing))


def ranges_file(name: str, fingerprint: str) -> Path:
    """Where the ranges of a model with these weights are kept."""
    return cache_folder() / f'{name}-{fingerprint[:16]}.int8.safetensors'


def read_ranges(name: str, fingerprint: str) -> Ranges:
    """The ranges of a model with these weights.

    Raises:
        CheckpointError: they were not measured yet, or the file is damaged.
    """
    path = ranges_file(name, fingerprint)
    if not path.is_file():
        raise CheckpointError(
            f'{name} was not prepared for int8 on this machine: run `vpr weights quantize {name}` '
            'once, or use precision auto'
        )
    ranges = read_safetensors(path)
    if not all(torch.isfinite(seen).all() for seen in ranges.values()):
        raise CheckpointError(f'{path} is damaged: run `vpr weights quantize {name}` again')
    return ranges
