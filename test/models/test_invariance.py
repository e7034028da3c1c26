"""What a model says of an image does not depend on the images beside it, but for one model."""

import dataclasses
from functools import partial

import pytest
import torch

from vpr_ros.models import MODELS
from vpr_ros.models.networks.folpp import Folpp
from vpr_ros.models.networks.network import PlaceNetwork

FEW_PATCHES = 9  # a side: more patches than any model has clusters
CLOSE = {'atol': 2e-6, 'rtol': 1e-4}
APART = 5e-3


def shallow(model: str) -> PlaceNetwork:
    """The model of a name with two blocks in place of all, and its head as it is."""
    make = MODELS[model].network
    assert isinstance(make, partial)
    backbone, head, *rest = make.args
    fewer = {'tuned_blocks': 1, 'levels': 2, 'positions': 30}
    known = {f.name for f in dataclasses.fields(head)}
    head = dataclasses.replace(head, **{k: v for k, v in fewer.items() if k in known})
    with torch.device('meta'):
        network = make.func(dataclasses.replace(backbone, depth=2), head, *rest)
    network = network.to_empty(device='cpu').eval()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        norm = isinstance(module, torch.nn.LayerNorm | torch.nn.GroupNorm)
        for name, value in module.named_parameters(recurse=False):
            if value.ndim > 1:
                spread = 2 * value[0].numel() ** -0.5
                torch.nn.init.normal_(value, std=spread, generator=generator)
            else:
                torch.nn.init.constant_(
                    value, float(name == 'gamma' or (norm and name == 'weight'))
                )
    return network


def flat(network: PlaceNetwork, images: torch.Tensor) -> list[torch.Tensor]:
    """Descriptor and local features, tensors with the batch first."""
    with torch.inference_mode():
        features = network.features(images)
    local = [] if features.local is None else list(vars(features.local).values())
    return [features.descriptor, *local]


def images_for(network: PlaceNetwork, count: int) -> torch.Tensor:
    side = FEW_PATCHES * network.backbone.config.patch
    coarse = torch.randn(count, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(2 * coarse, (side, side), mode='bicubic')


def differences(network: PlaceNetwork) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Answers that ought to be the same: permuted, split and padded batches."""
    images = images_for(network, 3)
    together = flat(network, images)
    order = torch.tensor([2, 0, 1])
    permuted = [(x, y[order]) for x, y in zip(flat(network, images[order]), together, strict=True)]
    split = [flat(network, part) for part in images.split([1, 2])]
    joined = [(torch.cat(x), y) for x, y in zip(zip(*split, strict=True), together, strict=True)]
    strange = torch.cat((images[:1], 9.0 * torch.ones_like(images[:2])))
    padded = [(x[:1], y[:1]) for x, y in zip(flat(network, strange), together, strict=True)]
    return [*permuted, *joined, *padded]


@pytest.mark.parametrize('name', [n for n in MODELS if n != 'sage_vitl_cross'])
def test_an_image_is_described_by_itself(name):
    network = shallow(name)
    assert network.single_image
    for found, expected in differences(network):
        torch.testing.assert_close(found, expected, **CLOSE)
    descriptor, *local = flat(network, images_for(network, 2))
    assert (descriptor[0] - descriptor[1]).abs().max() > APART  # not a comparison of constants
    assert len(local) == (4 if network.has_local else 0)


@pytest.mark.parametrize('name', ['folpp_vitti', 'folpp_test'])
def test_the_same_without_a_reliability_branch(name):
    network = shallow(name)
    assert isinstance(network, Folpp)
    network.rely_on_attention()
    for found, expected in differences(network):
        torch.testing.assert_close(found, expected, **CLOSE)


def test_the_cross_image_encoder_is_the_one_that_depends_on_the_batch():
    network = shallow('sage_vitl_cross')
    assert not network.single_image
    permuted, *changed = differences(network)
    torch.testing.assert_close(*permuted, **CLOSE)
    for found, expected in changed:
        assert (found - expected).abs().max() > APART
