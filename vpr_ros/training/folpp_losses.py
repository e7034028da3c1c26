"""What FoL++ asks beyond FoL (section 5.2 of the method): contrast of regions, stricter pairs.

The paper's thresholds and weights are not public. Those here are our choice and say so; unlike
FoL's they do not depend on the number of patches or heads.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from vpr_ros.training.fol_losses import NOT_A_CANDIDATE

CONTRAST_MARGIN = 0.3  # ours
ANCHOR_SHARE = 0.40  # most reliable patches that may be anchors: the share of the binary mask
LEAST_CLUSTER = 2.0  # share in the anchor's cluster, in times the even share; ours
LEAST_COSINE = 0.7  # of a pair; ours
MOST_DISTANCE_RATIO = 0.9  # of the best distance to the second, as for SIFT; ours
MOST_PAIRS = 16  # of one image; ours


def region_contrast(
    dense: torch.Tensor, mask: torch.Tensor, partner: torch.Tensor, margin: float = CONTRAST_MARGIN
) -> torch.Tensor:
    """What is salient resembles the salient of another view more than the rest here ("SCEL").

    mean max(0, cos(f_s, f_irr) - cos(f_s, f_s+) + margin), with f_s the features weighted by the
    mask M and f_irr those weighted by 1 - M / max(M). Gradients flow through the mask alone.
    Images alone in their place do not count.

    Args:
        dense: unit tokens, (B, N, d).
        mask: soft mask, (B, N), not negative.
        partner: another image of the place for each image, (B,); itself where it is alone.
    """
    tokens = dense.detach()
    salient = (mask[:, :, None] * tokens).sum(dim=1)
    rest = ((1.0 - mask / mask.amax(dim=1, keepdim=True))[:, :, None] * tokens).sum(dim=1)
    inside = F.cosine_similarity(salient, rest)
    across = F.cosine_similarity(salient, salient[partner])
    counted = partner != torch.arange(len(partner), device=partner.device)
    hinge = (inside - across + margin).clamp(min=0.0).where(counted, 0.0)
    return hinge.sum() / counted.sum().clamp(min=1)


class Pairs(NamedTuple):
    """Patches of B images and those of their partners that seem to show the same."""

    image: torch.Tensor  # (P,), integer
    anchor: torch.Tensor  # (P,), patch of that image
    other: torch.Tensor  # (P,), patch of its partner
    weight: torch.Tensor  # (P,), their cosine


@torch.no_grad()
def clear_pairs(
    patches: torch.Tensor, assignment: torch.Tensor, guide: torch.Tensor, partner: torch.Tensor
) -> Pairs:
    """Reliable patches that match one patch of their own cluster far better than any other.

    Args:
        patches: (B, N, C).
        assignment: shares of the patches in the clusters, (B, N, m).
        guide: reliability, (B, N).
        partner: the image that each is paired with, (B,); itself: it is left out.
    """
    batch, count, clusters = assignment.shape
    places = guide.topk(max(1, round(ANCHOR_SHARE * count)), dim=1).indices.sort(dim=1).values
    rows = torch.arange(batch, device=partner.device)
    unit = F.normalize(patches.float(), dim=2)
    anchors = unit.gather(1, places[:, :, None].expand(-1, -1, unit.shape[2]))
    cluster = assignment.gather(1, places[:, :, None].expand(-1, -1, clusters)).argmax(dim=2)
    shares = assignment[partner].transpose(1, 2)  # (B, m, N)
    candidate = shares.gather(1, cluster[:, :, None].expand(-1, -1, count))
    cosine = anchors @ unit[partner].transpose(1, 2)  # (B, k, N)
    cosine = cosine.masked_fill(candidate <= LEAST_CLUSTER / (clusters + 1), NOT_A_CANDIDATE)
    (best, second), index = cosine.topk(2, dim=2).values.unbind(2), cosine.argmax(dim=2)
    distances = [(2.0 - 2.0 * value).clamp(min=1e-8).sqrt() for value in (best, second)]
    clear = (best > LEAST_COSINE) & (distances[0] < MOST_DISTANCE_RATIO * distances[1])
    clear &= (partner != rows)[:, None]
    clear &= clear.cumsum(dim=1) <= MOST_PAIRS
    image, position = clear.nonzero(as_tuple=True)
    return Pairs(image, places[image, position], index[image, position], best[image, position])


def pair_loss(tokens: torch.Tensor, pairs: Pairs, partner: torch.Tensor) -> torch.Tensor:
    """Weighted mean of 1 - cosine of the local tokens of pseudo-correspondences.

    Args:
        tokens: local tokens of all patches, (B, N, d).
        pairs: of `clear_pairs`.
        partner: the image that each is paired with, (B,).
    """
    here = tokens[pairs.image, pairs.anchor]
    there = tokens[partner[pairs.image], pairs.other]
    unlike = 1.0 - F.cosine_similarity(here, there)
    return (unlike * pairs.weight).sum() / pairs.weight.sum().clamp(min=1e-6)


def local_contrast(
    local: torch.Tensor, triplets: torch.Tensor, least_cosine: float
) -> torch.Tensor:
    """By how much strangers match better than views of the place: the mean over triplets.

    The similarity of two images is the mean cosine of their mutual nearest neighbours above the
    limit, 0 where there is none. All triplets at once.

    Args:
        local: unit tokens of the binary mask, (B, k, d).
        triplets: anchor, positive and negative, (T, 3).
        least_cosine: that a pair must exceed.
    """
    if not len(triplets):
        return local.new_zeros(())
    anchor, positive, negative = triplets.unbind(1)
    pull = _similarities(local[anchor], local[positive], least_cosine)
    push = _similarities(local[anchor], local[negative], least_cosine)
    return (push - pull).clamp(min=0.0).mean()


def _similarities(one: torch.Tensor, other: torch.Tensor, least: float) -> torch.Tensor:
    """(T, k, d) and (T, k, d) to (T,)."""
    cosine = one @ other.transpose(1, 2)
    forth, back = cosine.argmax(dim=2), cosine.argmax(dim=1)
    own = torch.arange(one.shape[1], device=one.device)
    best = cosine.gather(2, forth[:, :, None])[:, :, 0]
    counted = (back.gather(1, forth) == own) & (best > least)
    return best.where(counted, 0.0).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
