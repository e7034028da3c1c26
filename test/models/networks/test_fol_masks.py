"""Masks by hand: what is cut off, what is chosen, which cells a patch covers."""

import pytest
import torch

from vpr_ros.models.networks.fol_masks import (
    compact,
    enlarge,
    largest,
    local_rows,
    saliency,
    soft_mask,
    winsorise,
)


def test_the_three_largest_become_the_one_at_five_percent():
    mask = torch.arange(100.0)[torch.randperm(100)][None]
    found = winsorise(mask)
    cut = mask >= 97  # 99, 98 and 97 become the entry at rank 5, counted from 0, which is 94
    assert (found[cut] == 94).all()
    torch.testing.assert_close(found[~cut], mask[~cut])  # 96 and 95 stay, as released


@pytest.mark.parametrize(('patches', 'rank'), [(529, 26), (1296, 64), (256, 12)])
def test_rank_of_the_limit(patches, rank):
    mask = torch.arange(float(patches)).flip(0)[None]
    assert winsorise(mask)[0, 0] == patches - 1 - rank


def test_soft_mask_sums_to_one_and_keeps_order():
    mask = torch.rand(2, 50)
    soft = soft_mask(mask)
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(soft, winsorise(mask).exp() / winsorise(mask).exp().sum(1, True))


def test_saliency_is_what_the_dustbin_left():
    assignment = torch.rand(2, 7, 4)
    dustbin = 1 - assignment.sum(dim=2)
    torch.testing.assert_close(saliency(assignment), (1 - dustbin) / 4)


def test_largest_in_raster_order():
    mask = torch.tensor([[0.1, 0.9, 0.3, 0.8], [0.7, 0.1, 0.2, 0.9]])
    assert largest(mask, 2).tolist() == [[1, 3], [0, 3]]
    assert largest(mask, 9).tolist() == [[0, 1, 2, 3]] * 2


def test_nearest_cells_of_a_patch():
    """One axis of 5 patches on 17 cells: cell o shows patch floor(5 o / 17)."""
    shown = enlarge(torch.tensor([[5 * 0 + 2]]), (1, 5), (1, 17))
    assert shown[0].nonzero()[:, 0].tolist() == [7, 8, 9, 10]  # its centre is cell 8
    counts = [int(enlarge(torch.tensor([[i]]), (1, 5), (1, 17)).sum()) for i in range(5)]
    assert counts == [4, 3, 4, 3, 3]


def test_enlarge_keeps_rows_and_columns_apart():
    shown = enlarge(torch.tensor([[1 * 4 + 3]]), (3, 4), (9, 13)).view(9, 13)
    rows, columns = (shown.any(dim=d).nonzero()[:, 0].tolist() for d in (1, 0))
    assert rows == [3, 4, 5]
    assert columns == [10, 11, 12]


def test_compact_lists_in_order_and_pads():
    chosen = torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    index, valid = compact(chosen, 4)
    assert index.tolist() == [[1, 3, 4, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert valid.sum(dim=1).tolist() == [3, 1, 0]
    assert valid[0].tolist() == [True, True, True, False]


def test_compact_beyond_the_cells_and_below_the_count():
    chosen = torch.ones(1, 3, dtype=torch.bool)
    index, valid = compact(chosen, 5)
    assert (index.tolist(), valid.tolist()) == ([[0, 1, 2, 0, 0]], [[True] * 3 + [False] * 2])
    index, valid = compact(chosen, 2)
    assert (index.tolist(), valid.tolist()) == ([[0, 1]], [[True, True]])


@pytest.mark.parametrize(
    ('pixels', 'rows'),
    [((322, 322), 3600), ((504, 504), 3600), ((280, 280), 3500), ((224, 224), 3600),
     ((224, 308), 3600), ((504, 224), 3600), ((140, 140), 37 * 37)],
)  # fmt: skip
def test_rows_of_the_released_table_and_ours_where_it_fails(pixels, rows):
    dense = (4 * pixels[0] // 14 - 3, 4 * pixels[1] // 14 - 3)
    assert local_rows(225, dense) == rows
