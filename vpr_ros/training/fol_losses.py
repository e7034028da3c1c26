"""The terms of FoL's released training objective (sections 5.1 and 5.3 of the method).

L = multi_similarity + local_triplet_loss + 0.005 mask_alignment + separation_loss
    + correspondence_loss

where the first is that of `losses`. Each is tensors in, a scalar out; what the released code picks
at random is picked by `partners` and handed in. Where the code differs from the paper, this
follows the code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from vpr_ros.recognition.reranking import LEAST_COSINE, nearest_neighbours
from vpr_ros.records import LocalFeatures

MASK_WEIGHT = 0.005  # of mask_alignment in the objective
FOREGROUND_WEIGHT = 0.7  # of the two parts of separation_loss

LEAST_GUIDE = 0.1  # attention of an anchor of a pseudo-correspondence; absolute, as released
LEAST_SHARE = 0.1  # of a candidate in the anchor's cluster
LEAST_PAIR_COSINE = 0.8
LEAST_RATIO = 2.0  # of the best cosine to the second
MOST_PAIRS = 5  # of one image
PAIR_WEIGHT = 0.01
NOT_A_CANDIDATE = -10.0


def mask_alignment(salient: torch.Tensor, attentive: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence between two masks, each in turn held fixed ("SAL").

    Args:
        salient: winsorised softmax of the saliency, (B, N), rows sum to 1.
        attentive: the same of the attention, (B, N).
    """
    return _divergence(attentive.detach(), salient) + _divergence(salient.detach(), attentive)


def _divergence(wanted: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    return F.kl_div(found.log(), wanted, reduction='batchmean')


def hardest_triplets(descriptors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The least similar view and the most similar stranger of each image that has both.

    Args:
        descriptors: (B, D); they are normalised here.
        labels: place of each image, (B,), integer.

    Returns:
        Indices of anchor, positive and negative, (T, 3).
    """
    unit = F.normalize(descriptors.detach().float(), dim=1)
    similarity = unit @ unit.T
    same = labels[:, None] == labels[None]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    complete = (positive.any(dim=1) & ~same.all(dim=1)).nonzero()[:, 0]
    furthest = similarity.masked_fill(~positive, torch.inf).argmin(dim=1)
    nearest = similarity.masked_fill(same, -torch.inf).argmax(dim=1)
    return torch.stack((complete, furthest[complete], nearest[complete]), dim=1)


def local_similarity(query: LocalFeatures, other: LocalFeatures) -> torch.Tensor:
    """Mean cosine of the mutual nearest neighbours above 0.7, () with a gradient.

    It is 0 where there is none, which in the released code is the mean of nothing.

    Args:
        query: one image.
        other: one image.
    """
    found = nearest_neighbours(query, other)
    counted = found.mutual & (found.cosine > LEAST_COSINE)
    return found.cosine.where(counted, 0.0).sum() / counted.sum().clamp(min=1)


def local_triplet_loss(local: LocalFeatures, triplets: torch.Tensor) -> torch.Tensor:
    """By how much strangers match better than views of the place, summed over triplets.

    Args:
        local: of B images.
        triplets: anchor, positive and negative, (T, 3).
    """
    total = local.tokens.new_zeros(())
    for anchor, positive, negative in triplets.tolist():
        query = local[anchor]
        pull = local_similarity(query, local[positive])
        push = local_similarity(query, local[negative])
        total = total + (push - pull).clamp(min=0)
    return total


def partners(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another image of the same place for each image, at random; itself where it is alone.

    Args:
        labels: place of each image, (B,), integer.
        generator: on the device of the labels.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    others = (labels[:, None] == labels[None]) & ~itself
    allowed = torch.where(others.any(dim=1, keepdim=True), others, itself)
    return torch.multinomial(allowed.float(), 1, generator=generator)[:, 0]


def next_of_place(labels: torch.Tensor) -> torch.Tensor:
    """The next image of the same place for each image, in a circle; itself where it is alone."""
    following = torch.arange(len(labels), device=labels.device)
    for place in labels.unique():
        members = (labels == place).nonzero()[:, 0]
        following[members] = members.roll(-1)
    return following


def separation_loss(
    dense: torch.Tensor, mask: torch.Tensor, partner: torch.Tensor
) -> torch.Tensor:
    """Foreground and background of an image unlike those of another of its place ("CEL").

    Because a soft mask is small everywhere, the background is nearly the sum of all features. The
    gradient flows through the mask alone.

    Args:
        dense: unit tokens, (B, H, W, d).
        mask: soft mask on that grid, (B, H, W).
        partner: another image of the place for each image, (B,).
    """
    tokens, weight = dense.detach().flatten(1, 2), mask.flatten(1)[:, :, None]
    loss = mask.new_zeros(())
    for share, part in ((FOREGROUND_WEIGHT, weight), (1 - FOREGROUND_WEIGHT, 1 - weight)):
        vector = (part * tokens).sum(dim=1)  # (B, d)
        cosine = F.cosine_similarity(vector, vector[partner])
        loss = loss + share * (1 - cosine).mean()
    return loss


class PseudoPairs(NamedTuple):
    """Patches of one image and the patches of another that seem to show the same."""

    anchor: torch.Tensor  # (P,), integer
    other: torch.Tensor  # (P,), integer
    weight: torch.Tensor  # (P,), their cosine


@torch.no_grad()
def pseudo_pairs(
    patches: torch.Tensor, assignment: torch.Tensor, guide: torch.Tensor
) -> PseudoPairs:
    """Find patches that clearly match within one cluster, at most five, in raster order.

    A patch with attention above 0.1 looks among the other image's patches of its own cluster. The
    first such patch is left out, and a match without a runner-up of positive cosine is rejected:
    both as released.

    Args:
        patches: of an image and of another of the same place, (2, N, C).
        assignment: shares of the patches in the clusters, (2, N, m).
        guide: class attention of the first, summed over heads, (N,).
    """
    anchors = (guide > LEAST_GUIDE).nonzero()[1:, 0]
    cluster = assignment[0, anchors].argmax(dim=1)
    unit = F.normalize(patches.float(), dim=2)
    candidate = (assignment[1][:, cluster] > LEAST_SHARE).T  # (A, N)
    cosine = (unit[0, anchors] @ unit[1].T).masked_fill(~candidate, NOT_A_CANDIDATE)
    (best, second), index = cosine.topk(2, dim=1).values.T, cosine.argmax(dim=1)
    clear = (best > LEAST_PAIR_COSINE) & (best / second > LEAST_RATIO)
    kept = clear.nonzero()[:MOST_PAIRS, 0]
    return PseudoPairs(anchors[kept], index[kept], best[kept])


def correspondence_loss(
    dense: torch.Tensor,
    patches: torch.Tensor,
    assignment: torch.Tensor,
    guide: torch.Tensor,
    partner: torch.Tensor,
    exact_centres: bool = True,
) -> torch.Tensor:
    """Dense tokens of pseudo-correspondences unlike each other: mean over the batch's pairs.

    Args:
        dense: unit tokens, (B, 4h-3, 4w-3, d).
        patches: (B, h*w, C).
        assignment: (B, h*w, m).
        guide: class attention, summed over heads, (B, h*w).
        partner: the image that each is paired with, (B,): `next_of_place`.
        exact_centres: look at the cell where a patch lies; else where the released code looks,
            up to two cells away.
    """
    around = _neighbourhood_means(dense)
    total, count = dense.new_zeros(()), 0
    for image, other in enumerate(partner.tolist()):
        if image == other:
            continue
        both = [image, other]
        pairs = pseudo_pairs(patches[both], assignment[both], guide[image])
        first = _at_patches(around[image], pairs.anchor, exact_centres)
        second = _at_patches(around[other], pairs.other, exact_centres)
        unlike = 1 - F.cosine_similarity(first, second)
        total = total + PAIR_WEIGHT * (unlike * pairs.weight).sum()
        count += len(pairs.weight)
    return total / max(count, 1)


def _neighbourhood_means(dense: torch.Tensor) -> torch.Tensor:
    """Mean of 3 x 3 cells around each cell, fewer at the border; (B, H, W, d)."""
    means = F.avg_pool2d(dense.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False)
    return means.permute(0, 2, 3, 1)


def _at_patches(dense: torch.Tensor, places: torch.Tensor, exact: bool) -> torch.Tensor:
    """Rows of a dense map (4h-3, 4w-3, d) at patches (P,) in raster order."""
    sides = torch.tensor([(side + 3) // 4 for side in dense.shape[:2]], device=places.device)
    place = torch.stack((places // sides[1], places % sides[1]))
    centre = (place + 0.5) * ((4 * sides - 3) / sides)[:, None]
    cell = 4 * place if exact else centre.round().long()
    return dense[cell[0], cell[1]]
