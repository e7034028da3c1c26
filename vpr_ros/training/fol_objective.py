"""All that FoL and FoL++ learn from one forward pass (sections 5.1 to 5.3 of the method)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F

from vpr_ros.config import LossConfig
from vpr_ros.models.networks.dinov2 import Stream
from vpr_ros.models.networks.fol import Fol, FolMaps
from vpr_ros.models.networks.fol_masks import largest, saliency, soft_mask
from vpr_ros.models.networks.folpp import Folpp
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
from vpr_ros.training.folpp_losses import clear_pairs, pair_loss, region_contrast
from vpr_ros.training.losses import multi_similarity

OF_TOKENS = ('local', 'separation', 'correspondences')  # losses that need the decoder


class Objective(NamedTuple):
    """Weighted losses by name, and the descriptors (B, D) they are of."""

    losses: dict[str, torch.Tensor]
    descriptors: torch.Tensor


class Pass(NamedTuple):
    """One forward pass over B images."""

    network: Fol
    maps: FolMaps
    tokens: torch.Tensor  # unit: dense (B, 4h-3, 4w-3, d) of FoL, of patches (B, N, d) of FoL++
    labels: torch.Tensor  # (B,)
    generator: torch.Generator


def fol_objective(
    network: Fol,
    images: torch.Tensor | Stream,
    labels: torch.Tensor,
    weights: LossConfig,
    generator: torch.Generator,
) -> Objective:
    """Losses of B images, K views of each place; those of weight 0 are not computed.

    FoL follows its released code, FoL++ our reconstruction. Under autocast the network runs in
    half precision and the losses do not: their similarities would be rounded to eight bits.

    Args:
        network: in training.
        images: (B, 3, H, W), normalised; or their streams behind the first blocks.
        labels: place of each image, (B,), integer.
        weights: of the terms.
        generator: chooses the partner of each image; on the device of the labels.
    """
    terms, decode = (
        (FOLPP_TERMS, _patch_tokens) if isinstance(network, Folpp) else (FOL_TERMS, _dense_tokens)
    )
    wanted = {name: weight for name, weight in vars(weights).items() if name in terms and weight}
    maps = network.maps(images)
    maps = maps._replace(guide=maps.guide.float(), trust=maps.trust.float())
    tokens = decode(network, maps) if wanted.keys() & set(OF_TOKENS) else maps.patches[:0]
    done = Pass(network, maps, tokens, labels, generator)
    with torch.autocast(labels.device.type, enabled=False):
        losses = {name: weight * terms[name](done) for name, weight in wanted.items()}
    return Objective(losses, maps.descriptor)


def _similarity(done: Pass) -> torch.Tensor:
    return multi_similarity(done.maps.descriptor, done.labels)


def _alignment(done: Pass) -> torch.Tensor:
    return mask_alignment(soft_mask(saliency(done.maps.assignment)), soft_mask(done.maps.trust))


def _triplets(done: Pass) -> torch.Tensor:
    return hardest_triplets(done.maps.descriptor, done.labels)


def _dense_tokens(network: Fol, maps: FolMaps) -> torch.Tensor:
    return F.normalize(network.dense_tokens(maps), dim=3)


def _fol_local(done: Pass) -> torch.Tensor:
    """In training, unlike afterwards, FoL's binary mask is that of the fused one."""
    network, maps = done.network, done.maps
    places = largest(network.fused_mask(maps), network.config.positions)
    local = network.local_tokens(done.tokens, maps.grid, places)
    return local_hinges(local.tokens, local.valid, _triplets(done)).sum()


def _fol_separation(done: Pass) -> torch.Tensor:
    """The mask is enlarged by the decoder's own geometry."""
    square = done.network.fused_mask(done.maps).unflatten(1, (1, *done.maps.grid))
    size = (done.tokens.shape[1], done.tokens.shape[2])
    mask = F.interpolate(square, size, mode='bilinear', align_corners=True)[:, 0]
    return separation_loss(done.tokens, mask, partners(done.labels, done.generator))


def _fol_correspondences(done: Pass) -> torch.Tensor:
    maps, partner = done.maps, next_of_place(done.labels)
    pairs = pseudo_pairs(maps.patches, maps.assignment, maps.guide, partner)
    return correspondence_loss(done.tokens, pairs, partner)


def _patch_tokens(network: Fol, maps: FolMaps) -> torch.Tensor:
    return cast(Folpp, network).patch_tokens(maps.patches)


def _folpp_local(done: Pass) -> torch.Tensor:
    """The mean over triplets, where FoL sums: it does not grow with the batch."""
    places = done.network.places(done.maps)
    tokens = done.tokens.gather(1, places[:, :, None].expand(-1, -1, done.tokens.shape[2]))
    hinges = local_hinges(tokens, torch.ones_like(places, dtype=torch.bool), _triplets(done))
    return hinges.sum() / max(len(hinges), 1)


def _folpp_separation(done: Pass) -> torch.Tensor:
    mask = done.network.fused_mask(done.maps)
    return region_contrast(done.tokens, mask, partners(done.labels, done.generator))


def _folpp_correspondences(done: Pass) -> torch.Tensor:
    maps, partner = done.maps, next_of_place(done.labels)
    pairs = clear_pairs(maps.patches, maps.assignment, maps.guide, partner)
    return pair_loss(done.tokens, pairs, partner)


Terms = dict[str, Callable[[Pass], torch.Tensor]]
SHARED: Terms = {'similarity': _similarity, 'alignment': _alignment}
FOL_TERMS: Terms = {
    **SHARED,
    'local': _fol_local,
    'separation': _fol_separation,
    'correspondences': _fol_correspondences,
}
FOLPP_TERMS: Terms = {
    **SHARED,
    'local': _folpp_local,
    'separation': _folpp_separation,
    'correspondences': _folpp_correspondences,
}
