"""One forward pass of FoL and FoL++ and all that is learned from it."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vpr_ros.config import LossConfig
from vpr_ros.models.networks.fol_masks import largest, saliency, soft_mask
from vpr_ros.models.registry import MODELS
from vpr_ros.training import fol_losses
from vpr_ros.training.fol_losses import (
    correspondence_loss,
    hardest_triplets,
    local_hinges,
    mask_alignment,
    next_of_place,
    partners,
    pseudo_pairs,
    separation_loss,
)
from vpr_ros.training.fol_objective import fol_objective
from vpr_ros.training.folpp_losses import clear_pairs, pair_loss, region_contrast
from vpr_ros.training.losses import multi_similarity

NAMES = ('similarity', 'local', 'alignment', 'separation', 'correspondences')
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
NONE = LossConfig(**dict.fromkeys((*NAMES, 'tokens', 'relations'), 0.0))
ALL = replace(NONE, similarity=1.0, local=2.0, alignment=3.0, separation=4.0, correspondences=5.0)


@pytest.fixture(autouse=True)
def lenient(monkeypatch):
    """An untrained network has no pairs as clear as FoL wants them."""
    monkeypatch.setattr(fol_losses, 'LEAST_GUIDE', 0.05)
    monkeypatch.setattr(fol_losses, 'LEAST_SHARE', 0.03)
    monkeypatch.setattr(fol_losses, 'LEAST_RATIO', 1.02)


def made(name):
    torch.manual_seed(0)
    network = MODELS[name].network().eval()  # no dropout, so that two passes are equal
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def views():
    """Two views each of three places: alike, of two scenes, and so that strangers look alike."""
    generator = torch.Generator().manual_seed(1)
    scenes = torch.randn(3, 3, 70, 70, generator=generator)[[0, 0, 0, 1, 1, 2]]
    return scenes + 0.1 * torch.randn(6, 3, 70, 70, generator=generator)


def seeded():
    return torch.Generator().manual_seed(2)


def fol_by_hand(network, maps):
    attention = maps.trust
    dense = F.normalize(network.dense_tokens(maps), dim=3)
    fused = soft_mask(saliency(maps.assignment)) + soft_mask(attention)
    local = network.local_tokens(dense, maps.grid, largest(fused, 10))
    enlarged = F.interpolate(fused.view(6, 1, 5, 5), (17, 17), mode='bilinear', align_corners=True)
    partner = next_of_place(LABELS)
    triplets = hardest_triplets(maps.descriptor, LABELS)
    pairs = pseudo_pairs(maps.patches, maps.assignment, maps.guide, partner)
    return {
        'local': local_hinges(local.tokens, local.valid, triplets).sum(),
        'alignment': mask_alignment(soft_mask(saliency(maps.assignment)), soft_mask(attention)),
        'separation': separation_loss(dense, enlarged[:, 0], partners(LABELS, seeded())),
        'correspondences': correspondence_loss(dense, pairs, partner),
    }


def folpp_by_hand(network, maps):
    salient = saliency(maps.assignment)
    fused = soft_mask(salient) + soft_mask(maps.guide)
    dense = network.dense_tokens(maps)[:, ::4, ::4].flatten(1, 2)  # patches at their centres
    tokens = F.normalize(dense, dim=2)
    places = largest(fused, 10)
    chosen = tokens.gather(1, places[:, :, None].expand(-1, -1, 128))
    hinges = local_hinges(chosen, places >= 0, hardest_triplets(maps.descriptor, LABELS))
    partner = next_of_place(LABELS)
    pairs = clear_pairs(maps.patches, maps.assignment, maps.guide, partner)
    return {
        'local': hinges.mean(),
        'alignment': mask_alignment(soft_mask(salient), soft_mask(maps.guide)),
        'separation': region_contrast(tokens, fused, partners(LABELS, seeded())),
        'correspondences': pair_loss(tokens, pairs, partner),
    }


@pytest.mark.parametrize(
    ('name', 'by_hand'), [('fol_test', fol_by_hand), ('folpp_test', folpp_by_hand)]
)
def test_terms_of_the_objective(name, by_hand):
    network, images = made(name), views()
    found = fol_objective(network, images, LABELS, ALL, seeded())
    maps = network.maps(images)
    torch.testing.assert_close(found.descriptors, maps.descriptor)
    expected = by_hand(network, maps)
    expected['similarity'] = multi_similarity(maps.descriptor, LABELS)
    assert found.losses.keys() == expected.keys()
    for term, loss in expected.items():
        torch.testing.assert_close(found.losses[term], getattr(ALL, term) * loss)
        assert loss > 0, term  # so that the comparison says something


@pytest.mark.parametrize('name', ['fol_test', 'folpp_test'])
def test_a_loss_of_weight_zero_is_not_computed(name, monkeypatch):
    network, images = made(name), views()
    whole = fol_objective(network, images, LABELS, ALL, seeded())
    for term in NAMES:
        alone = fol_objective(network, images, LABELS, replace(NONE, **{term: 1.0}), seeded())
        assert list(alone.losses) == [term]
        torch.testing.assert_close(alone.losses[term] * getattr(ALL, term), whole.losses[term])
    monkeypatch.delattr(network, 'upconv')  # the decoder is needed by some alone
    some = replace(ALL, local=0.0, separation=0.0, correspondences=0.0)
    assert fol_objective(network, images, LABELS, some, seeded()).losses.keys() == {
        'similarity', 'alignment',
    }  # fmt: skip


def reached(network, **weights):
    """Parts of the network that a loss sends a gradient to."""
    network.zero_grad()
    found = fol_objective(network, views(), LABELS, replace(NONE, **weights), seeded())
    torch.stack(list(found.losses.values())).sum().backward()
    moved = [k for k, p in network.named_parameters() if p.grad is not None and p.grad.any()]
    return {key.split('.')[0] for key in moved} | {'.'.join(key.split('.')[:2]) for key in moved}


def test_gradients_of_folpp_go_where_they_belong():
    network = made('folpp_test')
    masks = {'reb', 'aggregator.score', 'backbone'}
    parts = reached(network, alignment=1.0)
    assert masks <= parts
    assert not {'upconv', 'aggregator.cluster_features'} & parts
    parts = reached(network, separation=1.0)
    assert masks <= parts
    assert 'upconv' not in parts  # features are held fixed
    for term in ('local', 'correspondences'):
        parts = reached(network, **{term: 1.0})
        assert {'upconv', 'upconv2', 'backbone'} <= parts
        assert not {'reb', 'aggregator'} & parts


def test_gradients_of_fol_go_where_they_belong():
    network = made('fol_test')
    parts = reached(network, separation=1.0)
    assert {'aggregator.score', 'backbone'} <= parts
    assert 'upconv' not in parts
    for term in ('local', 'correspondences'):
        parts = reached(network, **{term: 1.0})
        assert {'upconv', 'upconv2', 'backbone'} <= parts
        assert 'aggregator' not in parts


def test_reliability_by_attention_is_trained_too():
    network = made('folpp_test')
    network.rely_on_attention()
    assert {'aggregator.score', 'backbone.blocks'} <= reached(network, alignment=1.0)


@pytest.mark.parametrize('name', ['fol_test', 'folpp_test'])
def test_images_alone_in_their_places_teach_nothing_and_break_nothing(name):
    network = made(name).train()
    apart = replace(ALL, similarity=0.0, alignment=0.0)
    found = fol_objective(network, views(), torch.arange(6), apart, seeded())
    torch.stack(list(found.losses.values())).sum().backward()
    for term, loss in found.losses.items():
        assert loss.item() == pytest.approx(0.0, abs=1e-5), term
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize('name', ['fol_test', 'folpp_test'])
def test_under_autocast_the_losses_stay_in_float32(name, monkeypatch):
    network, dtypes = made(name).train(), set()
    product = torch.Tensor.__matmul__

    def watched(self, other):
        result = product(self, other)
        if torch.is_grad_enabled() is False:  # those of mining
            dtypes.add(result.dtype)
        return result

    monkeypatch.setattr(torch.Tensor, '__matmul__', watched)
    with torch.autocast('cpu', torch.bfloat16):
        found = fol_objective(network, views(), LABELS, ALL, seeded())
    torch.stack(list(found.losses.values())).sum().backward()
    assert dtypes == {torch.float32}
    assert {loss.dtype for loss in found.losses.values()} == {torch.float32}
    for key, parameter in network.named_parameters():
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize('name', ['fol_test', 'folpp_test'])
def test_under_autocast_masks_are_of_float32(name, monkeypatch):
    """The attention of FoL comes in half precision: a logarithm of that is off by a hundredth."""
    dtypes = []

    def watched(salient, attentive):
        dtypes.extend((salient.dtype, attentive.dtype))
        return mask_alignment(salient, attentive)

    monkeypatch.setattr('vpr_ros.training.fol_objective.mask_alignment', watched)
    with torch.autocast('cpu', torch.bfloat16):
        fol_objective(made(name).train(), views(), LABELS, ALL, seeded())
    assert dtypes == [torch.float32] * 2


@pytest.mark.parametrize('name', ['fol_test', 'folpp_test'])
def test_from_the_stream_behind_frozen_blocks(name):
    network, images = made(name), views()
    stream = network.backbone.begin(images, network.first_adapted)
    whole = fol_objective(network, images, LABELS, ALL, seeded())
    rest = fol_objective(network, stream, LABELS, ALL, seeded())
    torch.testing.assert_close(rest.losses, whole.losses)
