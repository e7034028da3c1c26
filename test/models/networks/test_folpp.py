"""FoL++ as reconstructed: exact patch centres, reliability, fused masks."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from vpr_ros.models.networks.dinov2 import VIT_LARGE
from vpr_ros.models.networks.fol import Fol, FolConfig, class_attention
from vpr_ros.models.networks.fol_masks import saliency, soft_mask, winsorise
from vpr_ros.models.networks.folpp import Folpp, FolppConfig, ReliabilityBranch
from vpr_ros.models.registry import TEST_FOLPP, TEST_VIT


def made(**changes):
    torch.manual_seed(0)
    model = Folpp(TEST_VIT, dataclasses.replace(TEST_FOLPP, **changes)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def network():
    return made()


def test_the_keys_are_fols_and_those_of_the_branch():
    with torch.device('meta'):
        ours, fol = Folpp(VIT_LARGE, FolppConfig()), Fol(VIT_LARGE, FolConfig())
    extra = {k for k in ours.state_dict() if k.startswith('reb.')}
    assert set(ours.state_dict()) - extra == set(fol.state_dict())
    assert sum(p.numel() for p in ours.reb.parameters()) == 286_593  # about 0.29 M
    ours.rely_on_attention()
    assert ours.state_dict().keys() == fol.state_dict().keys()


@pytest.mark.parametrize('attention', [False, True])
def test_tokens_are_those_of_the_full_decoder_at_patch_centres(network, attention):
    if attention:
        network.rely_on_attention()
    images = torch.randn(2, 3, 70, 98)
    with torch.inference_mode():
        local, maps = network.features(images).local, network.maps(images)
        dense = F.normalize(network.dense_tokens(maps), dim=3)
    assert local.tokens.shape == (2, 14, 128)  # 40 % of 5 x 7 patches
    assert local.valid.all()
    for b in range(2):
        for row in range(14):
            y, x = ((local.position[b, row] - 7) / 14).long().tolist()
            torch.testing.assert_close(
                local.tokens[b, row], dense[b, 4 * y, 4 * x], atol=1e-6, rtol=1e-5
            )
            torch.testing.assert_close(local.reliability[b, row], maps.guide[b, 7 * y + x])
    assert (local.reliability >= 0).all()
    assert (local.reliability <= 1).all()


@pytest.mark.parametrize(('patches', 'kept'), [(529, 212), (1296, 518), (256, 102)])
def test_forty_percent_of_the_patches(network, patches, kept):
    maps = network.maps(torch.randn(1, 3, 70, 70))
    maps = maps._replace(assignment=torch.rand(1, patches, 4), guide=torch.rand(1, patches))
    places = network.places(maps)
    assert places.shape == (1, kept)
    assert (places.diff(dim=1) > 0).all()  # raster order, no patch twice


@pytest.mark.parametrize('fusion', ['sum', 'product'])
def test_fusion(fusion):
    network = made(fusion=fusion)
    maps = network.maps(torch.randn(2, 3, 70, 98))
    salient = saliency(maps.assignment)
    if fusion == 'sum':
        fused = soft_mask(salient) + soft_mask(maps.guide)
    else:
        fused = winsorise(salient) * maps.guide
    expected = fused.argsort(dim=1, descending=True)[:, :14].sort(dim=1).values
    assert network.places(maps).tolist() == expected.tolist()


def test_another_fusion_is_refused():
    with pytest.raises(ValueError, match='expected one of sum, product'):
        made(fusion='mean')


def test_reliability_from_attention_is_winsorised_and_at_most_one(network):
    network.rely_on_attention()
    seen, last = {}, network.backbone.blocks[-1]
    last.register_forward_pre_hook(lambda _, inputs: seen.update(stream=inputs[0]))
    guide = network.maps(torch.randn(2, 3, 70, 98)).guide
    attention = winsorise(class_attention(last, seen['stream']))
    torch.testing.assert_close(guide, attention / attention.amax(dim=1, keepdim=True))
    assert (guide.amax(dim=1) == 1).all()


def test_a_reliable_patch_stays_out_of_the_dustbin(network):
    tokens = network.backbone(torch.randn(1, 3, 70, 70))
    low, high = torch.full((1, 25), 0.5), torch.full((1, 25), 0.5)
    high[0, 7] = 1.0
    before, after = (saliency(network.pool(tokens, r).assignment)[0, 7] for r in (low, high))
    assert after > before


def test_branch_reads_the_outputs_of_the_last_blocks(network):
    seen, calls = [], []
    for block in network.backbone.blocks[-2:]:
        block.register_forward_hook(lambda _, __, out: seen.append(out))
    network.reb.register_forward_hook(lambda _, inputs, __: calls.extend(inputs[0]))
    network.maps(torch.randn(1, 3, 70, 70))
    assert len(calls) == len(seen) == 2
    for stream, out in zip(calls, seen, strict=True):
        torch.testing.assert_close(stream, out)


def test_branch_step_by_step():
    """Section 4.5 on one image, with the depthwise convolutions written out."""
    torch.manual_seed(0)
    branch, grid = ReliabilityBranch(8, levels=2, reduced=3).eval(), (4, 5)
    streams = [torch.randn(1, 21, 8) for _ in range(2)]
    with torch.no_grad():
        found = branch(streams, grid)
        centred = [s[:, 1:] - s[:, 1:].mean(dim=2, keepdim=True) for s in streams]
        normed = [c / (c.square().mean(dim=2, keepdim=True) + 1e-6).sqrt() for c in centred]
        joined = torch.cat([r(x) for r, x in zip(branch.reduce, normed, strict=True)], dim=2)
        square = joined[0].view(4, 5, 6)
        total = square.clone()
        for layer, reach in zip(branch.context, (1, 2, 4), strict=True):
            padded = F.pad(square, (0, 0, reach, reach, reach, reach))
            for y in range(3):
                for x in range(3):
                    moved = padded[reach * y :, reach * x :][:4, :5]
                    total += moved * layer.weight[:, 0, y, x]
            total += layer.bias
        expected = torch.sigmoid(branch.mix(F.gelu(total)).view(1, 20))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert branch.mix[2].bias == 1
