"""What our tiny models answer, kept in golden/outputs.json.

    python test/models/networks/golden_outputs.py

writes the file anew, after a change that is meant to change the answers. Weights and images come
from integer arithmetic alone, so that they are the same on every machine and with every torch. Of
each answer the file holds the shape, the mean magnitude and some values.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vpr_ros.models.networks.folpp import Folpp
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.networks.sage_cross import CrossConfig, SageCross
from vpr_ros.models.registry import MODELS, TEST_HEAD, TEST_VIT

FILE = Path(__file__).parent / 'golden' / 'outputs.json'
IMAGE = (2, 3, 70, 98)
SAMPLES = 24


def uniform(count: int, stream: int) -> np.ndarray:
    """Numbers in [-1, 1), float64, (count,): a mixing of 32-bit integers (lowbias32)."""
    word = np.uint64(0xFFFFFFFF)
    index = np.arange(count, dtype=np.uint64)
    x = (index * np.uint64(0x9E3779B9) + np.uint64(stream * 0x85EBCA6B)) & word
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & word
    return x.astype(np.float64) / 2**31 - 1


@torch.no_grad()
def fill(network: nn.Module) -> None:
    """Give every parameter its numbers, by its place in the alphabet."""
    for stream, (name, parameter) in enumerate(sorted(network.named_parameters())):
        values = torch.from_numpy(uniform(parameter.numel(), stream)).view(parameter.shape)
        norm = isinstance(network.get_submodule(name.rpartition('.')[0]), nn.LayerNorm)
        parameter.copy_(1 + 0.5 * values if norm and name.endswith('weight') else 0.5 * values)


def images() -> torch.Tensor:
    """Two images on the scale of normalised ones."""
    return torch.from_numpy(2 * uniform(int(np.prod(IMAGE)), 10_007)).float().view(IMAGE)


def without_branch() -> PlaceNetwork:
    network = MODELS['folpp_test'].network()
    assert isinstance(network, Folpp)
    network.rely_on_attention()
    return network


NETWORKS: dict[str, Callable[[], PlaceNetwork]] = {
    'sage_test': MODELS['sage_test'].network,
    'sage_cross': lambda: SageCross(TEST_VIT, TEST_HEAD, CrossConfig(8, 2, 12)),
    'fol_test': MODELS['fol_test'].network,
    'folpp_test': MODELS['folpp_test'].network,
    'folpp_test by attention': without_branch,
}


def answers(name: str) -> dict[str, torch.Tensor]:
    """Everything that one of the networks says of the images."""
    network = NETWORKS[name]().eval()
    fill(network)
    with torch.inference_mode():
        tokens = network.backbone(images())
        features = network.features(images())
    local = vars(features.local) if features.local is not None else {}
    return {
        'class token': tokens.cls, 'patches': tokens.patches, 'descriptor': features.descriptor,
        **{f'local {what}': value.float() for what, value in local.items()},
    }  # fmt: skip


def summary(value: torch.Tensor) -> dict[str, list | float]:
    """What is kept of an answer."""
    flat = value.flatten()
    some = flat[torch.linspace(0, len(flat) - 1, SAMPLES).long()]
    magnitude = flat.double().abs().mean().item()
    return {
        'shape': list(value.shape),
        'magnitude': float(f'{magnitude:.7g}'),
        'values': [float(f'{x:.7g}') for x in some.tolist()],
    }


def main() -> None:
    golden = {
        name: {what: summary(value) for what, value in answers(name).items()} for name in NETWORKS
    }
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(golden, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
