"""FoL's losses against numbers worked by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from vpr_ros.recognition.matching import nearest_neighbours
from vpr_ros.records import LocalFeatures
from vpr_ros.training import fol_losses
from vpr_ros.training.fol_losses import (
    correspondence_loss,
    hardest_triplets,
    local_hinges,
    local_similarities,
    mask_alignment,
    next_of_place,
    partners,
    pseudo_pairs,
    separation_loss,
)


def unit(*angles_deg):
    rad = torch.tensor(angles_deg, dtype=torch.float32).deg2rad()
    return torch.stack((rad.cos(), rad.sin()), dim=-1)


def local(*images):
    """Local features of images that are lists of angles; shorter ones are padded."""
    count = max(map(len, images))
    tokens, valid = torch.zeros(len(images), count, 2), torch.zeros(len(images), count).bool()
    for row, angles in enumerate(images):
        tokens[row, : len(angles)] = unit(*angles)
        valid[row, : len(angles)] = True
    return LocalFeatures(tokens, valid, torch.zeros(*valid.shape, 2), valid.float())


def cos(degrees):
    return math.cos(math.radians(degrees))


def test_masks_are_drawn_to_each_other():
    salient = torch.tensor([[0.5, 0.5], [0.9, 0.1]], requires_grad=True)
    attentive = torch.tensor([[0.25, 0.75], [0.9, 0.1]], requires_grad=True)
    one = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)  # KL(attentive || salient)
    other = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    loss = mask_alignment(salient, attentive)
    assert loss.item() == pytest.approx((one + other) / 2)  # mean over two images
    loss.backward()
    # Each side is moved by the term that holds the other fixed: -wanted / found / B.
    torch.testing.assert_close(salient.grad[0], torch.tensor([-0.25, -0.75]))
    torch.testing.assert_close(attentive.grad[0], torch.tensor([-1.0, -1 / 3]))


def test_hardest_view_and_hardest_stranger():
    x, labels = unit(0, 10, 50, 20, 90), torch.tensor([0, 0, 0, 1, 1])
    assert hardest_triplets(x, labels).tolist() == [
        [0, 2, 3], [1, 2, 3], [2, 0, 3], [3, 4, 1], [4, 3, 2],
    ]  # fmt: skip
    torch.testing.assert_close(hardest_triplets(7 * x, labels), hardest_triplets(x, labels))


def test_no_triplet_without_a_view_or_without_a_stranger():
    assert hardest_triplets(unit(0, 10, 50), torch.tensor([0, 0, 1])).tolist() == [
        [0, 1, 2], [1, 0, 2],
    ]  # fmt: skip
    assert hardest_triplets(unit(0, 10), torch.tensor([0, 0])).shape == (0, 3)
    assert hardest_triplets(unit(0, 10), torch.tensor([0, 1])).shape == (0, 3)


def similarity(images, *pairs):
    return local_similarities(images.tokens, images.valid, torch.tensor(pairs))


def hinges(images, *triplets):
    triplets = torch.tensor(triplets, dtype=torch.int64).view(-1, 3)
    return local_hinges(images.tokens, images.valid, triplets)


def test_local_similarity_is_the_mean_of_the_mutual_pairs_above_the_limit():
    images = local([0, 90, 200], [10, 120, 290])
    # 0 and 10, 90 and 120 are mutual; 200 and 290 are mutual at 90 degrees, below 0.7.
    expected = torch.tensor([(cos(10) + cos(30)) / 2, 1.0])
    torch.testing.assert_close(similarity(images, [0, 1], [1, 1]), expected)


def test_local_similarity_of_one_pair_and_of_none():
    one = local([0, 180], [10])  # padded to two
    assert similarity(one, [0, 1]).item() == pytest.approx(cos(10))
    none = local([0], [180], [])
    assert similarity(none, [0, 1], [0, 2], [2, 2]).tolist() == [0.0, 0.0, 0.0]


def test_local_similarity_agrees_with_the_matcher(monkeypatch):
    """Of images one by one, with padding; also where the table has to be made in parts."""
    generator = torch.Generator().manual_seed(0)
    tokens = F.normalize(torch.randn(5, 30, 3, generator=generator), dim=2)
    valid = torch.rand(5, 30, generator=generator) < 0.8
    tokens *= valid[:, :, None]
    images = LocalFeatures(tokens, valid, torch.zeros(5, 30, 2), valid.float())
    pairs = [(a, b) for a in range(5) for b in range(5)]
    expected = []
    for a, b in pairs:
        found = nearest_neighbours(images[a], images[b])
        expected.append(found.cosine[found.mutual & (found.cosine > 0.7)].mean())
    torch.testing.assert_close(similarity(images, *pairs), torch.stack(expected))
    monkeypatch.setattr(fol_losses, 'CHUNK_ENTRIES', 2000)
    torch.testing.assert_close(similarity(images, *pairs), torch.stack(expected))


def test_triplets_cost_only_where_the_stranger_matches_better():
    images = local([0], [30], [10], [44])
    good, bad = [0, 2, 1], [0, 3, 1]
    expected = torch.tensor([0.0, cos(30) - cos(44), cos(30) - cos(44)])
    torch.testing.assert_close(hinges(images, good, bad, bad), expected)
    assert hinges(images).shape == (0,)


def test_gradients_reach_the_tokens_that_match_and_no_others():
    images = local([0, 180], [44, 270], [10, 90])
    images.tokens.requires_grad_(True)
    loss = hinges(images, [0, 1, 2]).sum()
    loss.backward()
    assert loss.item() == pytest.approx(cos(10) - cos(44), rel=1e-5)
    expected = torch.stack((unit(10)[0] - unit(44)[0], -unit(0)[0], unit(0)[0]))
    torch.testing.assert_close(images.tokens.grad[:, 0], expected)
    assert not images.tokens.grad[:, 1].any()


def test_without_any_match_the_loss_is_zero_and_its_gradient_finite():
    images = local([0], [120], [240])
    images.tokens.requires_grad_(True)
    for triplets in ([[0, 1, 2]], []):
        loss = hinges(images, *triplets).sum()
        loss.backward()
        assert loss.item() == 0.0
        assert not images.tokens.grad.any()


def test_partners_are_other_images_of_the_place():
    labels = torch.tensor([0, 1, 0, 0, 2])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([partners(labels, generator) for _ in range(50)])
    assert [set(column.tolist()) for column in drawn.T] == [{2, 3}, {1}, {0, 3}, {0, 2}, {4}]
    again = torch.Generator().manual_seed(0)
    torch.testing.assert_close(partners(labels, again), drawn[0])


def test_the_next_image_of_a_place_in_a_circle():
    labels = torch.tensor([5, 5, 5, 5, 7, 9, 7])
    assert next_of_place(labels).tolist() == [1, 2, 3, 0, 6, 5, 4]
    mixed = torch.tensor([1, 0, 1, 0, 1])
    assert next_of_place(mixed).tolist() == [2, 3, 4, 1, 0]
    assert next_of_place(torch.zeros(0, dtype=torch.int64)).shape == (0,)


def test_separation_by_hand():
    """Two cells at 0 and 90 degrees; the masks show the first or the second more."""
    dense = unit(0, 90).view(1, 1, 2, 2).repeat(2, 1, 1, 1).requires_grad_(True)
    mask = torch.tensor([[[0.8, 0.2]], [[0.3, 0.7]]], requires_grad=True)
    front = [(0.8, 0.2), (0.3, 0.7)]
    back = [(0.2, 0.8), (0.7, 0.3)]

    def unlike(vectors):
        (a, b), (c, d) = vectors
        return 1 - (a * c + b * d) / math.hypot(a, b) / math.hypot(c, d)

    loss = separation_loss(dense, mask, torch.tensor([1, 0]))
    assert loss.item() == pytest.approx(0.7 * unlike(front) + 0.3 * unlike(back), rel=1e-5)
    loss.backward()
    assert dense.grad is None
    assert mask.grad.abs().sum() > 0


def test_an_image_that_is_its_own_partner_costs_nothing():
    dense, mask = F.normalize(torch.randn(1, 3, 3, 4), dim=3), torch.rand(1, 3, 3)
    assert separation_loss(dense, mask, torch.tensor([0])).item() == pytest.approx(0, abs=1e-6)


def views(first, second):
    return torch.stack((unit(*first), unit(*second)))


def pairs_of(patches, assignment, guide):
    """Pairs of the first image with the second; the second has no anchor."""
    guides = torch.stack((guide, torch.zeros_like(guide)))
    return pseudo_pairs(patches, assignment, guides, torch.tensor([1, 0]))


def test_pseudo_pairs_by_hand():
    patches = views([0, 0, 90, 180, 45], [85, 10, 170, 260, 300])
    assignment = torch.full((2, 5, 2), 0.2)
    assignment[0, :, 0] += 0.1  # every anchor belongs to cluster 0
    guide = torch.tensor([0.5, 0.5, 0.5, 0.05, 0.5])
    found = pairs_of(patches, assignment, guide)
    # Patch 0 is the first anchor and left out, 3 has too little attention. 1 has 10 at cos 0.985
    # and 300 at 0.5: ratio 1.97. 2 has 85 at 0.996 and 10 at 0.174: accepted. 4 has 10 at 0.819
    # and 85 at 0.766.
    assert (found.image.tolist(), found.anchor.tolist(), found.other.tolist()) == ([0], [2], [0])
    assert found.weight.item() == pytest.approx(cos(5), rel=1e-5)


def test_pseudo_pairs_stay_within_a_cluster_and_need_a_runner_up():
    patches = views([0, 0, 90], [85, 88, 10])
    guide = torch.tensor([0.5, 0.05, 0.5])
    assignment = torch.full((2, 3, 2), 0.2)
    assignment[0, 2, 1] = 0.3
    assignment[1, 0, 1] = 0.1  # not above the least share of cluster 1
    found = pairs_of(patches, assignment, guide)
    assert found.anchor.tolist() == [2]  # 88 at 0.9994 against 10 at 0.17; 85 is no candidate
    assert found.other.tolist() == [1]
    assignment[1, 2, 1] = 0.0  # the runner-up leaves the cluster: a lone candidate is rejected
    assert pairs_of(patches, assignment, guide).anchor.tolist() == []


def test_at_most_five_pairs_in_raster_order():
    patches = views([0] * 8, [0, 80, 180, 180, 180, 180, 180, 180])
    found = pairs_of(patches, torch.full((2, 8, 3), 0.2), torch.full((8,), 0.5))
    assert found.anchor.tolist() == [1, 2, 3, 4, 5]
    assert found.other.tolist() == [0] * 5


@pytest.mark.parametrize('guided', [0, 1])
def test_no_anchor_gives_no_pair(guided):
    guide = torch.zeros(3)
    guide[:guided] = 0.5
    found = pairs_of(views([0, 9, 90], [0, 9, 90]), torch.full((2, 3, 2), 0.2), guide)
    assert found.weight.shape == (0,)


def test_pairs_of_a_batch_are_those_of_its_images(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(40, 16, generator=generator)  # the images show the same, but for noise
    patches = patches + 0.2 * torch.randn(6, 40, 16, generator=generator)
    assignment = torch.rand(6, 40, 4, generator=generator)
    guide, partner = torch.rand(6, 40, generator=generator), torch.tensor([1, 2, 0, 4, 3, 5])
    monkeypatch.setattr(fol_losses, 'CHUNK_ENTRIES', 3 * 1600)  # three images at a time
    found = pseudo_pairs(patches, assignment, guide, partner)
    expected = []
    for image in range(5):  # the sixth is alone
        both = [image, int(partner[image])]
        one = pairs_of(patches[both], assignment[both], guide[image])
        expected += [(image, *pair) for pair in torch.stack(one[1:3], dim=1).tolist()]
    assert len(expected) > 10
    assert list(zip(*(part.tolist() for part in found[:3]), strict=True)) == expected


def test_correspondence_loss_by_hand():
    """One pair from patch 1 to patch 0 on a grid of 1 x 2; dense 1 x 5, patches at cells 0 and 4.

    Means at the border are over the two cells there are.
    """
    dense = torch.stack((unit(0, 30, 60, 20, 40), unit(70, 50, 0, 0, 0)))[:, None]
    patches = views([9, 0], [0, 85])
    assignment = torch.full((2, 2, 2), 0.2)
    guide = torch.tensor([[0.5, 0.5], [0.0, 0.0]])
    dense.requires_grad_(True)
    partner = torch.tensor([1, 0])
    pairs = pseudo_pairs(patches, assignment, guide, partner)
    loss = correspondence_loss(dense, pairs, partner)
    # Directions of the means: 30 between 20 and 40, 60 between 70 and 50; the weight is cos(0).
    assert loss.item() == pytest.approx((1 - cos(30)) * 1.0 * 0.01, rel=1e-4)
    loss.backward()
    assert (dense.grad[0, 0].abs().sum(dim=1) > 0).tolist() == [False, False, False, True, True]


def test_no_pair_costs_nothing_and_a_lone_image_finds_none():
    dense = F.normalize(torch.randn(2, 1, 5, 2), dim=3).requires_grad_(True)
    patches, assignment = views([9, 0], [0, 85]), torch.full((2, 2, 2), 0.2)
    both, alone = torch.tensor([1, 0]), torch.tensor([0, 1])
    for guide, partner in ((torch.zeros(2, 2), both), (torch.ones(2, 2), alone)):
        pairs = pseudo_pairs(patches, assignment, guide, partner)
        loss = correspondence_loss(dense, pairs, partner)
        loss.backward()
        assert loss.item() == 0.0
        assert not dense.grad.any()
    assert len(pseudo_pairs(patches, assignment, torch.ones(2, 2), both).image) > 0


def test_cells_of_patches_exact_and_as_released():
    """On 23 x 23 patches the released rounding looks at round((14 i + 7) * 89 / 322)."""
    from vpr_ros.training.fol_losses import _at_patches

    y, x = torch.meshgrid(torch.arange(89), torch.arange(89), indexing='ij')
    dense = torch.stack((y, x), dim=2)[None]
    places = torch.arange(529)
    rows, columns = places // 23, places % 23
    exact = _at_patches(dense, 0 * places, places, True)
    torch.testing.assert_close(exact, torch.stack((4 * rows, 4 * columns), dim=1))
    released = _at_patches(dense, 0 * places, places, False)
    expected = [round((14 * i + 7) / (322 / 89)) for i in range(23)]
    assert released[:23, 1].tolist() == expected
    assert released[::23, 0].tolist() == expected
