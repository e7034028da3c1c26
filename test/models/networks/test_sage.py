"""SAGE against its definition: invariants, axes, and a slow reference of every step."""

import math

import pytest
import torch

from vpr_ros.models.networks.dinov2 import VIT_BASE, VIT_LARGE, VitConfig
from vpr_ros.models.networks.sage import (
    BilinearAggregation,
    DynamicPowerNorm,
    Sage,
    SageConfig,
    SoftProbing,
)
from vpr_ros.models.registry import TEST_HEAD, TEST_VIT

# Built and stored by the authors, never called by this configuration.
UNUSED_BRANCH = {768: 492_224, 1024: 623_296}


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = Sage(TEST_VIT, TEST_HEAD).eval()
    for parameter in model.parameters():  # LayerNorms too, or soft probing is not exercised
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize(
    ('config', 'published'), [(VIT_BASE, 88_535_494), (VIT_LARGE, 306_864_326)]
)
def test_parameter_counts_are_the_published_ones(config, published):
    with torch.device('meta'):
        model = Sage(config, SageConfig())
    count = sum(p.numel() for p in model.parameters())
    assert count + UNUSED_BRANCH[config.dim] + config.dim == published  # + mask token


@pytest.mark.parametrize(('config', 'trained'), [(VIT_BASE, 1_956_550), (VIT_LARGE, 2_497_734)])
def test_trained_parameters_are_the_published_ones(config, trained):
    with torch.device('meta'):
        model = Sage(config, SageConfig())
    parts = [model.gpn_norms, model.backbone.norm, model.aggregator]
    count = sum(p.numel() for part in parts for p in part.parameters())
    assert count + UNUSED_BRANCH[config.dim] == trained


@pytest.mark.parametrize(('config', 'keys'), [(VIT_BASE, 215), (VIT_LARGE, 383)])
def test_keys_are_the_published_ones(config, keys):
    with torch.device('meta'):
        names = Sage(config, SageConfig()).state_dict()
    assert len(names) + 1 + 4 == keys  # the mask token and the branch that is never called
    heads = ('cluster_features.3', 'score.0', 'gpn.projection.3', 'soft_weighting.predictor.2')
    assert {f'aggregator.{head}.weight' for head in heads} <= set(names)
    assert tuple(names['gpn_norms.3.projection.0.weight'].shape) == (16, config.dim)


def test_unit_norm_and_equal_shares(network):
    descriptor = network(torch.randn(3, 3, 70, 98))
    torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(3))
    shares = TEST_HEAD.clusters + 1
    token = descriptor[:, : TEST_HEAD.token].square().sum(dim=1)
    torch.testing.assert_close(token, torch.full((3,), 1 / shares))
    columns = descriptor[:, TEST_HEAD.token :].view(3, TEST_HEAD.features, TEST_HEAD.clusters)
    torch.testing.assert_close(
        columns.square().sum(dim=1), torch.full((3, TEST_HEAD.clusters), 1 / shares)
    )


def test_descriptor_depends_on_its_image_alone(network):
    images = torch.randn(5, 3, 70, 70)
    together = network(images)
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(network(images[order]), together[order], atol=1e-6, rtol=1e-4)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=1e-4)
    padded = network(torch.cat((images[:2], torch.full((4, 3, 70, 70), 9.0))))
    torch.testing.assert_close(padded[:2], together[:2], atol=1e-6, rtol=1e-4)


def test_power_norm_against_its_formula():
    torch.manual_seed(0)
    norm = DynamicPowerNorm(6, 4).eval()
    x = torch.randn(2, 5, 6)
    x[0, 0, 0] = 0.0
    found = norm(x)
    for b in range(2):
        mean = x[b].mean(dim=0)
        exponent = norm.projection(mean).sigmoid().item()
        for t in range(5):
            for c in range(6):
                value = x[b, t, c].item()
                sign = (value > 0) - (value < 0)
                expected = sign * (abs(value) + 1e-6) ** exponent + value
                assert math.isclose(found[b, t, c].item(), expected, abs_tol=1e-5)


def test_power_norm_is_finite_in_half_precision():
    norm = DynamicPowerNorm(6, 4).eval()
    x = torch.zeros(1, 5, 6, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        norm(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_power_norm_follows_the_last_blocks_and_sees_the_class_token(network):
    seen = []
    for norm in network.gpn_norms:
        norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    network(torch.randn(1, 3, 70, 70))
    assert seen == [26, 26]
    deeper = Sage(VitConfig(dim=32, depth=6, heads=2, grid=5), SageConfig(8, 4, 8, 16)).eval()
    calls = []
    for index, block in enumerate(deeper.backbone.blocks):
        block.register_forward_hook(lambda *_, i=index: calls.append(('block', i)))
    for index, norm in enumerate(deeper.gpn_norms):
        norm.register_forward_hook(lambda *_, i=index: calls.append(('norm', i)))
    deeper(torch.randn(1, 3, 70, 70))
    assert calls[1:] == [
        ('block', 1), ('block', 2), ('norm', 0), ('block', 3), ('norm', 1), ('block', 4),
        ('norm', 2), ('block', 5), ('norm', 3),
    ]  # fmt: skip


def test_soft_probing_gain_lies_between_one_and_one_and_a_half():
    torch.manual_seed(0)
    patches = torch.randn(2, 7, 5) * torch.linspace(0.1, 9, 7)[None, :, None]
    probing = SoftProbing().eval()
    gain = probing(patches) / patches
    assert ((gain > 1.0) & (gain < 1.5)).all()
    torch.testing.assert_close(gain, gain[..., :1].expand_as(gain))
    norms = patches.norm(dim=-1, keepdim=True) + 1e-6
    expected = 1.0 + 0.5 * probing.predictor(norms).sigmoid()
    torch.testing.assert_close(gain[..., :1], expected)


def reference_descriptor(head, cls, patches):
    """Section 1.6 of the method, step by step, for one image with loops."""
    norms = patches.norm(dim=1, keepdim=True) + 1e-6
    patches = patches * (1 + 0.5 * head.soft_weighting.predictor(norms).sigmoid())
    features = head.cluster_features(patches)
    features = features - features.mean()
    scores = head.score(patches)
    scores = scores - scores.mean()
    clusters, channels = scores.shape[1], features.shape[1]
    pooled = torch.zeros(channels, clusters)
    for k in range(clusters):
        weights = scores[:, k].exp() / scores[:, k].exp().sum()
        for n in range(len(patches)):
            pooled[:, k] += features[n] * weights[n] / len(patches)
    exponent = head.gpn.projection(pooled.mean(dim=0)).sigmoid()
    pooled = pooled.sign() * (pooled.abs() + 1e-6) ** exponent + pooled
    pooled = pooled / pooled.norm(dim=0, keepdim=True)
    flat = [pooled[d, k] for d in range(channels) for k in range(clusters)]
    token = head.token_features(cls)
    whole = torch.cat((token / token.norm(), torch.stack(flat)))
    return whole / whole.norm()


def test_aggregation_against_the_slow_reference(network):
    cls, patches = torch.randn(2, 32), torch.randn(2, 20, 32)
    with torch.no_grad():
        found = network.aggregator(cls, patches)
        for b in range(2):
            expected = reference_descriptor(network.aggregator, cls[b], patches[b])
            torch.testing.assert_close(found[b], expected, atol=1e-5, rtol=1e-4)


def test_mean_is_one_scalar_per_image():
    """A constant per channel changes the descriptor, one constant for all does not."""
    torch.manual_seed(1)
    head = BilinearAggregation(32, TEST_HEAD).eval()
    cls, patches = torch.randn(1, 32), torch.randn(1, 20, 32)
    with torch.no_grad():
        before = head(cls, patches)
        head.cluster_features[-1].bias += 3.0
        torch.testing.assert_close(head(cls, patches), before, atol=1e-5, rtol=1e-3)
        head.cluster_features[-1].bias += torch.linspace(0, 3, TEST_HEAD.features)
        assert (head(cls, patches) - before).abs().max() > 1e-2


def test_order_of_patches_does_not_matter_to_the_head_but_their_number_does(network):
    cls, patches = torch.randn(1, 32), torch.randn(1, 20, 32)
    with torch.no_grad():
        before = network.aggregator(cls, patches)
        shuffled = network.aggregator(cls, patches[:, torch.randperm(20)])
        doubled = network.aggregator(cls, patches.repeat(1, 2, 1))
    torch.testing.assert_close(shuffled, before, atol=1e-5, rtol=1e-4)
    assert (doubled - before).abs().max() > 1e-4
