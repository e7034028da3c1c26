"""Operations of a backbone by the formula, and as torch counts them itself."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vpr_ros.models.engines.flops import flops
from vpr_ros.models.engines.packed import attend_by_products
from vpr_ros.models.networks.dinov2 import (
    VIT_BASE,
    VIT_LARGE,
    VIT_SMALL,
    VisionTransformer,
    VitConfig,
)
from vpr_ros.models.registry import NANO_VIT


# GFLOP by section 7.1 of the field's survey.
@pytest.mark.parametrize(
    ('config', 'side', 'gflop'),
    [
        (VIT_SMALL, 224, 12.2), (VIT_SMALL, 322, 27.9),
        (VIT_BASE, 224, 46.3), (VIT_BASE, 322, 100.9), (VIT_BASE, 504, 283.5),
        (VIT_BASE, 518, 303.1),
        (VIT_LARGE, 224, 162.0), (VIT_LARGE, 322, 348.4), (VIT_LARGE, 504, 950.3),
        (VIT_LARGE, 518, 1013.6),
    ],
)  # fmt: skip
def test_the_published_backbones(config, side, gflop):
    assert flops(config, (side, side)) / 1e9 == pytest.approx(gflop, abs=0.051)


@pytest.mark.parametrize(
    ('config', 'size'),
    [
        (VitConfig(dim=32, depth=2, heads=2, patch=14, grid=5), (70, 42)),
        (VitConfig(dim=32, depth=2, heads=2, patch=8, grid=3, stem=(8, 16, 24)), (32, 48)),
        (NANO_VIT, (240, 240)),
    ],
)
def test_as_torch_counts(config, size):
    network = VisionTransformer(config)
    for block in network.blocks:
        block.attn.attend = attend_by_products  # it does not count the fused attention of a CPU
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, 3, *size))
    assert counter.get_total_flops() == flops(config, size)
