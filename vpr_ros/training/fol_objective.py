"""All that FoL and FoL++ learn from one forward pass (sections 5.1 to 5.3 of the method)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from vpr_ros.config import LossConfig
from vpr_ros.models.dinov2 import Stream
from vpr_ros.models.fol import LEAST_ATTENTION, Fol, FolMaps
from vpr_ros.models.fol_masks import saliency, soft_mask
from vpr_ros.models.folpp import Folpp
from vpr_ros.recognition.reranking import LEAST_COSINE
from vpr_ros.training.fol_losses import (
    correspondence_loss,
    hardest_triplets,
    local_triplet_loss,
    mask_alignment,
    next_of_place,
    partners,
    separation_loss,
)
from vpr_ros.training.folpp_losses import clear_pairs, local_contrast, pair_loss, region_contrast
from vpr_ros.training.losses import multi_similarity


class Objective(NamedTuple):
    """Weighted losses by name, and the descriptors (B, D) they are of."""

    losses: dict[str, torch.Tensor]
    descriptors: torch.Tensor


def fol_objective(
    network: Fol,
    images: torch.Tensor | Stream,
    labels: torch.Tensor,
    weights: LossConfig,
    generator: torch.Generator,
) -> Objective:
    """Losses of B images, K views of each place; those of weight 0 are not computed.

    FoL follows its released code, FoL++ our reconstruction.

    Args:
        network: in training.
        images: (B, 3, H, W), normalised; or their streams behind the first blocks.
        labels: place of each image, (B,), integer.
        weights: of the terms.
        generator: chooses the partner of each image; on the device of the labels.
    """
    learn = _folpp_terms if isinstance(network, Folpp) else _fol_terms
    maps, terms = learn(network, images, labels, weights, generator)
    if weights.similarity:
        terms['similarity'] = multi_similarity(maps.descriptor, labels)
    return Objective({k: getattr(weights, k) * v for k, v in terms.items()}, maps.descriptor)


def _fol_terms(
    network: Fol,
    images: torch.Tensor | Stream,
    labels: torch.Tensor,
    weights: LossConfig,
    generator: torch.Generator,
) -> tuple[FolMaps, dict[str, torch.Tensor]]:
    last = network.backbone.config.depth - 1
    tokens, streams = network.run_backbone(images, first=last - 1)
    attention = network.attention(streams[0])
    maps = network.pool(tokens, attention.where(attention >= LEAST_ATTENTION, 0.0))
    salient, attentive = soft_mask(saliency(maps.assignment)), soft_mask(attention)
    terms: dict[str, torch.Tensor] = {}
    if weights.alignment:
        terms['alignment'] = mask_alignment(salient, attentive)
    if weights.local:
        triplets = hardest_triplets(maps.descriptor, labels)
        terms['local'] = local_triplet_loss(network.local_features(maps), triplets)
    if weights.separation or weights.correspondences:
        dense = F.normalize(network.dense_tokens(maps), dim=3)
    if weights.separation:
        mask = _enlarged(salient + attentive, maps.grid, dense)
        terms['separation'] = separation_loss(dense, mask, partners(labels, generator))
    if weights.correspondences:
        terms['correspondences'] = correspondence_loss(
            dense, maps.patches, maps.assignment, maps.guide, next_of_place(labels)
        )
    return maps, terms


def _folpp_terms(
    network: Fol,
    images: torch.Tensor | Stream,
    labels: torch.Tensor,
    weights: LossConfig,
    generator: torch.Generator,
) -> tuple[FolMaps, dict[str, torch.Tensor]]:
    assert isinstance(network, Folpp)
    maps = network.maps(images)
    salient = saliency(maps.assignment)
    terms: dict[str, torch.Tensor] = {}
    if weights.alignment:
        terms['alignment'] = mask_alignment(soft_mask(salient), soft_mask(maps.guide))
    if not (weights.local or weights.separation or weights.correspondences):
        return maps, terms
    tokens = network.patch_tokens(maps.patches)  # (B, N, d)
    if weights.separation:
        fused = network.fuse(salient, maps.guide)
        terms['separation'] = region_contrast(tokens, fused, partners(labels, generator))
    if weights.correspondences:
        partner = next_of_place(labels)
        pairs = clear_pairs(maps.patches, maps.assignment, maps.guide, partner)
        terms['correspondences'] = pair_loss(tokens, pairs, partner)
    if weights.local:
        places = network.places(maps)
        chosen = tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))
        triplets = hardest_triplets(maps.descriptor, labels)
        terms['local'] = local_contrast(chosen, triplets, LEAST_COSINE)
    return maps, terms


def _enlarged(mask: torch.Tensor, grid: tuple[int, int], dense: torch.Tensor) -> torch.Tensor:
    """A soft mask (B, N) on the dense grid, (B, H, W), by the decoder's own geometry."""
    square = mask.unflatten(1, (1, *grid))
    size = (dense.shape[1], dense.shape[2])
    return F.interpolate(square, size, mode='bilinear', align_corners=True)[:, 0]
