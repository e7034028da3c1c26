"""What FoL++ asks beyond FoL (section 5.2 of the method): contrast of regions, stricter pairs.

The paper's thresholds and weights are not public. Those here are our choice and say so; unlike
FoL's they do not depend on the number of patches or heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vpr_ros.training.fol_losses import NOT_A_CANDIDATE, PseudoPairs

CONTRAST_MARGIN = 0.3  # ours
ANCHOR_SHARE = 0.40  # most reliable patches that may be anchors: the share of the binary mask
LEAST_SHARE = 1.0  # of a candidate in the anchor's cluster, in times the even share 1 / N; ours
LEAST_COSINE = 0.7  # of a pair; ours
MOST_DISTANCE_RATIO = 0.9  # of the best distance to the second, as for SIFT; ours
MOST_PAIRS = 16  # of one image; ours
LEAST_REST = 1e-3  # mean of what is not salient, below which it has no direction; ours


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
    other = 1.0 - mask / mask.amax(dim=1, keepdim=True)
    salient = F.normalize((mask[:, :, None] * tokens).sum(dim=1), dim=1)
    # A flat mask leaves no rest: its direction fades, in place of a gradient without bound.
    rest = F.normalize((other[:, :, None] * tokens).mean(dim=1), dim=1, eps=LEAST_REST)
    inside = (salient * rest).sum(dim=1)
    across = (salient * salient[partner]).sum(dim=1)
    counted = partner != torch.arange(len(partner), device=partner.device)
    hinge = (inside - across + margin).clamp(min=0.0).where(counted, 0.0)
    return hinge.sum() / counted.sum().clamp(min=1)


@torch.no_grad()
def clear_pairs(
    patches: torch.Tensor, assignment: torch.Tensor, guide: torch.Tensor, partner: torch.Tensor
) -> PseudoPairs:
    """Reliable patches that match one patch of their own cluster far better than any other.

    At most sixteen of an image, the most similar ones.

    As many patches are anchors in every image, and shares are compared with the even one, which a
    cluster of mass 1 gives to each of N patches: nothing depends on the input size, and there are
    candidates from the first step. The ratio is Lowe's, of distances. The only candidate of a
    cluster has no rival to be compared with and needs its cosine alone.

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
    cosine = cosine.masked_fill(candidate <= LEAST_SHARE / count, NOT_A_CANDIDATE)
    (best, second), index = cosine.topk(2, dim=2).values.unbind(2), cosine.argmax(dim=2)
    distances = [(2.0 - 2.0 * value).clamp(min=1e-8).sqrt() for value in (best, second)]
    clear = (best > LEAST_COSINE) & (distances[0] < MOST_DISTANCE_RATIO * distances[1])
    clear &= (partner != rows)[:, None]
    value, place = best.where(clear, 0.0).topk(min(MOST_PAIRS, best.shape[1]), dim=1)
    image, rank = (value > 0).nonzero(as_tuple=True)
    at = (image, place[image, rank])
    return PseudoPairs(image, places[at], index[at], best[at])


def pair_loss(tokens: torch.Tensor, pairs: PseudoPairs, partner: torch.Tensor) -> torch.Tensor:
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
