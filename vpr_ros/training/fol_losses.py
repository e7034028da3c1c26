"""The terms of FoL's released training objective (sections 5.1 and 5.3 of the method).

L = multi_similarity + sum of local_hinges + 0.005 mask_alignment + separation_loss
    + correspondence_loss

where the first is that of `losses`. Each is tensors in, a scalar out; what the released code picks
at random is picked by `partners` and handed in. Where the code differs from the paper, this
follows the code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from vpr_ros.recognition.reranking import CHUNK_ENTRIES, LEAST_COSINE

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


def local_similarities(
    tokens: torch.Tensor, valid: torch.Tensor, pairs: torch.Tensor
) -> torch.Tensor:
    """Mean cosine of the mutual nearest neighbours above 0.7 of pairs of images, (T,).

    It is 0 where there is none, which in the released code is the mean of nothing. Gradients flow
    through the cosines that count.

    Args:
        tokens: unit local tokens, (B, n, d).
        valid: which of them are no padding, (B, n).
        pairs: two images each, (T, 2).
    """
    step = max(1, CHUNK_ENTRIES // tokens.shape[1] ** 2)
    nearest = torch.cat([_counted_pairs(tokens, valid, some) for some in pairs.split(step)])
    row, place = (nearest >= 0).nonzero(as_tuple=True)
    one, other = pairs[row].unbind(1)
    cosine = (tokens[one, place] * tokens[other, nearest[row, place]]).sum(dim=1)
    total = tokens.new_zeros(len(pairs)).index_add(0, row, cosine)
    return total / (nearest >= 0).sum(dim=1).clamp(min=1)


@torch.no_grad()
def _counted_pairs(tokens: torch.Tensor, valid: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Mutual nearest neighbour of each token of the first images, or -1, (T, n).

    As `nearest_neighbours`, of many pairs at once; of equals, the first is nearest.
    """
    (one, other), count = pairs.unbind(1), tokens.shape[1]
    cosine = tokens[one] @ tokens[other].transpose(1, 2)  # (T, n, n)
    cosine.masked_fill_(~(valid[one][:, :, None] & valid[other][:, None]), -torch.inf)
    best, nearest = cosine.max(dim=2)
    back = cosine.argmax(dim=1).gather(1, nearest)
    mutual = back == torch.arange(count, device=back.device)
    return nearest.where(mutual & (best > LEAST_COSINE), -1)


def local_hinges(
    tokens: torch.Tensor, valid: torch.Tensor, triplets: torch.Tensor
) -> torch.Tensor:
    """By how much strangers match better than views of the place, (T,), not negative.

    FoL's local loss is the sum of it over the triplets of a batch.

    Args:
        tokens: unit local tokens, (B, n, d).
        valid: which of them are no padding, (B, n).
        triplets: anchor, positive and negative, (T, 3).
    """
    pull, push = (local_similarities(tokens, valid, triplets[:, (0, other)]) for other in (1, 2))
    return (push - pull).clamp(min=0.0)


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
    order = labels.argsort(stable=True)
    place, number = labels[order], torch.arange(len(labels), device=labels.device)
    begins = place != place.roll(1)
    begins[:1] = True
    first = number.where(begins, 0).cummax(dim=0).values  # of each place, in that order
    last = begins.roll(-1)
    return torch.empty_like(order).scatter_(0, order, order[first.where(last, number + 1)])


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
    """Patches of B images, and those of their partners that seem to show the same."""

    image: torch.Tensor  # (P,), integer
    anchor: torch.Tensor  # (P,), patch of that image
    other: torch.Tensor  # (P,), patch of its partner
    weight: torch.Tensor  # (P,), their cosine


@torch.no_grad()
def pseudo_pairs(
    patches: torch.Tensor, assignment: torch.Tensor, guide: torch.Tensor, partner: torch.Tensor
) -> PseudoPairs:
    """Find patches that clearly match within one cluster, at most five an image, in raster order.

    A patch with attention above 0.1 looks among the partner's patches of its own cluster. The
    first such patch is left out, and a match without a runner-up of positive cosine is rejected:
    both as released.

    Args:
        patches: (B, N, C).
        assignment: shares of the patches in the clusters, (B, N, m).
        guide: class attention, summed over heads, (B, N).
        partner: the image that each is paired with, (B,); one with itself finds nothing.
    """
    rows = torch.arange(len(partner), device=partner.device)
    unit, cluster = F.normalize(patches.float(), dim=2), assignment.argmax(dim=2)
    anchor = (guide > LEAST_GUIDE) & (partner != rows)[:, None]
    anchor &= anchor.cumsum(dim=1) > 1
    found = []
    for some in rows.split(max(1, CHUNK_ENTRIES // patches.shape[1] ** 2)):
        theirs = partner[some]
        share = assignment[theirs].transpose(1, 2)  # (b, m, N)
        share = share.gather(1, cluster[some][:, :, None].expand(-1, -1, share.shape[2]))
        cosine = unit[some] @ unit[theirs].transpose(1, 2)  # (b, N, N)
        cosine.masked_fill_(share <= LEAST_SHARE, NOT_A_CANDIDATE)
        (best, second), index = cosine.topk(2, dim=2).values.unbind(2), cosine.argmax(dim=2)
        clear = anchor[some] & (best > LEAST_PAIR_COSINE) & (best / second > LEAST_RATIO)
        clear &= clear.cumsum(dim=1) <= MOST_PAIRS
        at = clear.nonzero(as_tuple=True)
        found.append(PseudoPairs(some[at[0]], at[1], index[at], best[at]))
    return PseudoPairs(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def correspondence_loss(
    dense: torch.Tensor, pairs: PseudoPairs, partner: torch.Tensor, exact_centres: bool = True
) -> torch.Tensor:
    """Dense tokens of pseudo-correspondences unlike each other: mean over the batch's pairs.

    Args:
        dense: unit tokens, (B, 4h-3, 4w-3, d).
        pairs: of `pseudo_pairs`.
        partner: the image that each is paired with, (B,): `next_of_place`.
        exact_centres: look at the cell where a patch lies; else where the released code looks,
            up to two cells away.
    """
    around = _neighbourhood_means(dense)
    first = _at_patches(around, pairs.image, pairs.anchor, exact_centres)
    second = _at_patches(around, partner[pairs.image], pairs.other, exact_centres)
    unlike = 1 - F.cosine_similarity(first, second)
    return PAIR_WEIGHT * (unlike * pairs.weight).sum() / max(len(unlike), 1)


def _neighbourhood_means(dense: torch.Tensor) -> torch.Tensor:
    """Mean of 3 x 3 cells around each cell, fewer at the border; (B, H, W, d)."""
    means = F.avg_pool2d(dense.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False)
    return means.permute(0, 2, 3, 1)


def _at_patches(
    dense: torch.Tensor, image: torch.Tensor, places: torch.Tensor, exact: bool
) -> torch.Tensor:
    """Rows of dense maps (B, 4h-3, 4w-3, d) at patches (P,), in raster order, of images (P,)."""
    sides = torch.tensor([(side + 3) // 4 for side in dense.shape[1:3]], device=places.device)
    place = torch.stack((places // sides[1], places % sides[1]))
    centre = (place + 0.5) * ((4 * sides - 3) / sides)[:, None]
    cell = 4 * place if exact else centre.round().long()
    return dense[image, cell[0], cell[1]]
