"""FoL++'s losses against numbers worked by hand."""

import math

import pytest
import torch

from vpr_ros.training.fol_losses import PseudoPairs
from vpr_ros.training.folpp_losses import clear_pairs, pair_loss, region_contrast


def unit(*angles_deg):
    rad = torch.tensor(angles_deg, dtype=torch.float32).deg2rad()
    return torch.stack((rad.cos(), rad.sin()), dim=-1)


def cos(degrees):
    return math.cos(math.radians(degrees))


def far(degrees):
    """Distance of two unit vectors that are so far apart."""
    return math.sqrt(2 - 2 * cos(degrees))


def test_contrast_of_regions_by_hand():
    """Two patches at 0 and 90 degrees; the first image counts the one, the second both.

    M = (4, 1) gives 1 - M / 4 = (0, 3/4): f_s = (4, 1) / sqrt(17), f_irr = (0, 1), and
    M = (2, 1) gives (0, 1/2): f_s = (2, 1) / sqrt(5), f_irr = (0, 1).
    """
    tokens = unit(0, 90).repeat(2, 1, 1).requires_grad_(True)
    mask = torch.tensor([[4.0, 1.0], [2.0, 1.0]], requires_grad=True)
    both = torch.tensor([1, 0])
    across = (4 * 2 + 1 * 1) / math.sqrt(17 * 5)  # 0.976
    first = 1 / math.sqrt(17) - across + 0.3  # 0.243 - 0.976 + 0.3 < 0
    second = 1 / math.sqrt(5) - across + 0.3  # 0.447 - 0.976 + 0.3 < 0
    assert max(first, second) < 0
    assert region_contrast(tokens, mask, both).item() == 0.0
    loss = region_contrast(tokens, mask, both, margin=1.0)
    assert loss.item() == pytest.approx((first + second) / 2 + 0.7, rel=1e-5)
    loss.backward()
    assert tokens.grad is None  # features are held fixed
    assert (mask.grad.abs().sum(dim=1) > 0).all()


def test_an_image_alone_in_its_place_does_not_count():
    tokens, partner = unit(0, 90).repeat(3, 1, 1), torch.tensor([1, 0, 2])
    mask = torch.tensor([[4.0, 1.0], [2.0, 1.0], [1.0, 5.0]], requires_grad=True)
    pair = region_contrast(tokens[:2], mask[:2], partner[:2], margin=1.0)
    torch.testing.assert_close(region_contrast(tokens, mask, partner, margin=1.0), pair)
    nobody = region_contrast(tokens, mask, torch.arange(3), margin=1.0)
    nobody.backward()
    assert nobody.item() == 0.0
    assert not mask.grad.any()


def test_a_flat_mask_gives_a_gradient_with_bounds():
    """All patches count alike, as before training: nothing is left of the rest."""
    tokens, mask = unit(0, 40, 90).repeat(2, 1, 1), torch.ones(2, 3, requires_grad=True)
    loss = region_contrast(tokens, mask, torch.tensor([1, 0]), margin=2.0)
    assert loss.item() == pytest.approx(1.0, rel=1e-5)  # 0 - 1 + 2
    loss.backward()
    assert torch.isfinite(mask.grad).all()
    assert mask.grad.abs().max() < 1e3


def matched(angles, others, guide, shares=None):
    """Pairs of an image with another; the other is left out, as if it were alone."""
    patches = torch.stack((unit(*angles), unit(*others)))
    assignment = torch.full((2, len(angles), 3), 0.2)
    assignment[:, :, 0] = 0.6  # all belong to cluster 0, with more than 1 / N
    if shares is not None:
        assignment[1, :, 0] = torch.tensor(shares)
    guides = torch.tensor([guide, guide])
    return clear_pairs(patches, assignment, guides, torch.tensor([1, 1]))


def test_clear_pairs_by_hand():
    # Two of five patches are anchors: 0 and 4, the most reliable; the guide's scale is free.
    angles, others, guide = [0, 10, 20, 30, 90], [12, 170, 80, 33, 260], [0.9, 0.3, 0.2, 0.1, 0.5]
    found = matched(angles, others, guide)
    # 0: 12 at 0.978 against 33; their distances are 0.209 and 0.568. 90: 80 against 33.
    assert far(12) / far(33) < 0.9 and far(10) / far(57) < 0.9
    assert found.image.tolist() == [0, 0]
    assert found.anchor.tolist() == [4, 0]  # the more similar one first
    assert found.other.tolist() == [2, 0]
    torch.testing.assert_close(found.weight, torch.tensor([cos(10), cos(12)]))
    scaled = matched(angles, others, [0.01 * g for g in guide])
    assert scaled.anchor.tolist() == [4, 0]


def test_a_match_with_a_rival_or_too_far_away_is_rejected():
    guide = [0.9, 0.1]  # of two patches, one is an anchor
    assert far(30) / far(33) > 0.9 > far(30) / far(35)
    assert matched([0, 90], [30, -33], guide).anchor.tolist() == []
    assert matched([0, 90], [30, -35], guide).anchor.tolist() == [0]
    assert matched([0, 90], [44, 180], guide).anchor.tolist() == [0]  # cos 44 is above 0.7
    assert matched([0, 90], [46, 180], guide).anchor.tolist() == []
    assert matched([0, 90], [10, 10], guide).anchor.tolist() == []


def test_pairs_stay_within_a_cluster():
    guide = [0.9, 0.1, 0.1]
    assert matched([0, 90, 90], [10, 180, 40], guide).other.tolist() == [0]
    # The even share of three patches is 1/3; the patch at 10 degrees has less of cluster 0.
    found = matched([0, 90, 90], [10, 180, 40], guide, [0.33, 0.6, 0.34])
    assert found.other.tolist() == [2]
    alone = matched([0, 90, 90], [10, 180, 40], guide, [0.34, 0.33, 0.33])
    assert alone.other.tolist() == [0]  # the only candidate has no rival
    assert matched([0, 90, 90], [10, 180, 40], guide, [0.33, 0.33, 0.33]).other.tolist() == []


def test_the_sixteen_most_similar_pairs():
    angles = [8 * i for i in range(45)]  # 18 anchors, each a little further from its match
    others = [angle + 0.1 * i for i, angle in enumerate(angles)]
    guide = [1.0 - 0.01 * i for i in range(45)]
    found = matched(angles, others, guide)
    assert found.anchor.tolist() == found.other.tolist() == list(range(16))


def test_pair_loss_by_hand():
    """Weights 1 and 0.5 of tokens 60 and 90 degrees apart."""
    tokens = torch.stack((unit(0, 30, 77), unit(60, 120, 0))).requires_grad_(True)
    pairs = PseudoPairs(
        torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([1.0, 0.5])
    )
    loss = pair_loss(tokens, pairs, torch.tensor([1, 0]))
    assert loss.item() == pytest.approx(((1 - cos(60)) + 0.5 * (1 - cos(90))) / 1.5, rel=1e-5)
    loss.backward()
    moved = tokens.grad.abs().sum(dim=2) > 0
    assert moved.tolist() == [[True, True, False], [True, True, False]]


def test_no_pair_costs_nothing():
    tokens = unit(0, 30)[None].requires_grad_(True)
    none = torch.zeros(0, dtype=torch.int64)
    loss = pair_loss(tokens, PseudoPairs(none, none, none, torch.zeros(0)), torch.tensor([0]))
    loss.backward()
    assert loss.item() == 0.0
    assert not tokens.grad.any()
