"""The backbone keeps the published names and the published geometry."""

import numpy as np
import pytest
import torch

from vpr_ros.models.networks.dinov2 import (
    VIT_BASE,
    VIT_LARGE,
    VIT_SMALL,
    VIT_TINY,
    VisionTransformer,
    VitConfig,
    position_table,
)

MASK_TOKEN_PARAMETERS = {768: 768, 1024: 1024, 384: 384}  # published with, used in training only
SMALL = VitConfig(dim=32, depth=2, heads=2, patch=14, grid=5)


def cubic(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def weights_along(n: int, native: int) -> np.ndarray:
    """Interpolation weights (n, native) from the formula of the released code, in float64."""
    weights = np.zeros((n, native))
    for i in range(n):
        position = (i + 0.5) * native / (n + 0.1) - 0.5
        first = int(np.floor(position))
        for tap in range(first - 1, first + 3):
            weights[i, min(max(tap, 0), native - 1)] += cubic(position - tap)
    return weights


@pytest.mark.parametrize('grid', [(16, 16), (23, 23), (36, 36), (23, 32), (37, 30)])
def test_position_table_follows_the_released_formula(grid):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(1, 1 + 37 * 37, 3, generator=generator)
    found = position_table(table, grid)[0].double().numpy()
    square = table[0, 1:].double().numpy().reshape(37, 37, 3)
    rows, columns = weights_along(grid[0], 37), weights_along(grid[1], 37)
    expected = np.einsum('yi,xj,ijc->yxc', rows, columns, square).reshape(-1, 3)
    # float32 sampling positions leave about 1e-5 against the float64 formula
    np.testing.assert_allclose(found[1:], expected, atol=2e-4)
    np.testing.assert_array_equal(found[0], table[0, 0].double().numpy())


def test_offset_of_a_tenth_matters():
    table = torch.randn(1, 1 + 37 * 37, 3, generator=torch.Generator().manual_seed(0))
    square = table[:, 1:].view(1, 37, 37, 3).permute(0, 3, 1, 2)
    plain = torch.nn.functional.interpolate(square, (23, 23), mode='bicubic')
    ours = position_table(table, (23, 23))[:, 1:]
    assert (ours - plain.permute(0, 2, 3, 1).flatten(1, 2)).abs().max() > 0.01


def test_native_grid_is_not_touched():
    table = torch.randn(1, 1 + 25, 4)
    assert position_table(table, (5, 5)) is table


@pytest.mark.parametrize(
    ('config', 'published'), [(VIT_BASE, 86_580_480), (VIT_LARGE, 304_368_640)]
)
def test_parameter_counts_are_the_published_ones(config, published):
    with torch.device('meta'):
        network = VisionTransformer(config)
    count = sum(p.numel() for p in network.parameters())
    assert count + MASK_TOKEN_PARAMETERS[config.dim] == published


@pytest.mark.parametrize(('config', 'keys'), [(VIT_BASE, 175), (VIT_LARGE, 343), (VIT_SMALL, 175)])
def test_keys_are_those_of_the_hub(config, keys):
    with torch.device('meta'):
        names = set(VisionTransformer(config).state_dict())
    assert len(names) + 1 == keys  # the mask token
    assert {'blocks.3.ls1.gamma', 'blocks.0.attn.qkv.bias', 'patch_embed.proj.weight'} <= names


def test_tiny_has_no_layer_scale():
    with torch.device('meta'):
        names = VisionTransformer(VIT_TINY).state_dict()
    assert not [name for name in names if '.ls' in name]


@pytest.mark.parametrize('size', [(70, 70), (70, 98), (140, 42)])
def test_any_multiple_of_the_patch(size):
    tokens = VisionTransformer(SMALL).eval()(torch.randn(2, 3, *size))
    assert tokens.grid == (size[0] // 14, size[1] // 14)
    assert tokens.patches.shape == (2, tokens.grid[0] * tokens.grid[1], 32)
    assert tokens.cls.shape == (2, 32)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match='multiples of 14'):
        VisionTransformer(SMALL)(torch.randn(1, 3, 70, 71))


def test_patches_are_row_major():
    network = VisionTransformer(SMALL)
    image = torch.zeros(1, 3, 42, 70)
    image[0, :, 14:28, 56:70] = 1.0  # row 1, column 4 of a 3 x 5 grid
    with torch.no_grad():
        changed, _ = network.embed(image)
        plain, _ = network.embed(torch.zeros_like(image))
    rows = (changed - plain)[0, 1:].abs().sum(dim=-1).nonzero().flatten().tolist()
    assert rows == [1 * 5 + 4]
