"""Optimal transport against its marginals and a slow reference in the linear domain."""

import pytest
import torch

from vpr_ros.models.networks.sinkhorn import assign_with_dustbin


def made(patches=529, clusters=64, batch=2, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    scores = scale * torch.randn(batch, patches, clusters, generator=generator)
    return scores, 1.0 - 0.3 * torch.rand(batch, patches, generator=generator)


def linear_reference(scores, dustbin, iterations):
    """Section 4.2 without logarithms, in float64, mass by mass."""
    patches, clusters = scores.shape
    kernel = torch.cat((scores, dustbin[:, None]), dim=1).double().exp().T  # (m+1, N)
    total = patches + clusters
    rows = torch.tensor([1.0] * clusters + [patches - clusters], dtype=torch.float64) / total
    columns = torch.full((patches,), 1.0 / total, dtype=torch.float64)
    v = torch.ones(patches, dtype=torch.float64)
    for _ in range(iterations):
        u = rows / (kernel @ v)
        v = columns / (kernel.T @ u)
    plan = u[:, None] * kernel * v * total
    return plan[:-1].T, plan[-1]


def test_patches_give_all_their_mass_and_clusters_take_about_one():
    scores, dustbin = made(scale=0.5)
    shares = assign_with_dustbin(scores, dustbin)
    left = 1.0 - shares.sum(dim=2)  # the dustbin's, because patches are balanced last
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (left > -1e-5).all()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 64), atol=1e-3, rtol=0)
    torch.testing.assert_close(left.sum(dim=1), torch.full((2,), 465.0), atol=0.05, rtol=0)


@pytest.mark.parametrize('iterations', [1, 3, 10])
def test_against_the_linear_domain(iterations):
    scores, dustbin = made(patches=20, clusters=6, scale=1.5)
    found = assign_with_dustbin(scores, dustbin, iterations)
    for b in range(2):
        expected, bin_share = linear_reference(scores[b], dustbin[b], iterations)
        torch.testing.assert_close(found[b].double(), expected, atol=1e-6, rtol=1e-4)
        whole = found[b].double().sum(dim=1) + bin_share
        torch.testing.assert_close(whole, torch.ones(20).double(), atol=1e-5, rtol=0)


def test_a_guided_patch_avoids_the_dustbin():
    scores = torch.zeros(1, 12, 3)
    dustbin = torch.ones(1, 12)
    dustbin[0, 5] = 0.2
    kept = assign_with_dustbin(scores, dustbin)[0].sum(dim=1)
    assert kept.argmax() == 5


def test_extreme_scores_stay_finite_in_half_precision():
    scores, dustbin = made(patches=30, clusters=6, scale=60.0)
    shares = assign_with_dustbin(scores.half(), dustbin.half())
    assert shares.dtype == torch.float32
    assert torch.isfinite(shares).all()


@pytest.mark.parametrize('patches', [63, 64])
def test_too_few_patches_are_refused(patches):
    with pytest.raises(ValueError, match=f'more than 64 patches.*found {patches}'):
        assign_with_dustbin(torch.zeros(1, patches, 64), torch.zeros(1, patches))
