"""Mutual nearest neighbours among local features: of one image and of many at once."""

from __future__ import annotations

from typing import NamedTuple

import torch

from vpr_ros.errors import MapError
from vpr_ros.records import LocalFeatures

LEAST_COSINE = 0.7  # that a pair of mutual nearest neighbours must exceed
CHUNK_ENTRIES = 2**25  # of similarity matrices held at a time: 128 MiB in float32


class Neighbours(NamedTuple):
    """For each of the n tokens of a query its nearest token in each of K candidates."""

    place: torch.Tensor  # which one, (K, n), integer
    cosine: torch.Tensor  # (K, n)
    mutual: torch.Tensor  # (K, n), bool; False wherever one of the two is padding


class Matches(NamedTuple):
    """How much of a query was found in each of K candidates."""

    number: torch.Tensor  # of pairs, (K,), int64
    weight: torch.Tensor  # sum of the roots of their reliabilities, (K,), float64


def nearest_neighbours(query: LocalFeatures, candidates: LocalFeatures) -> Neighbours:
    """Match the tokens of one image to those of K others; of equals, the first is nearest.

    Gradients flow through `cosine` alone.

    Args:
        query: one image, n tokens.
        candidates: K images, p tokens each, p of at least one.
    """
    tokens, others = query.tokens[0], candidates.tokens
    with torch.no_grad():
        similarity = tokens @ others.transpose(1, 2)  # (K, n, p)
        similarity.masked_fill_(~query.valid[0, :, None], -torch.inf)
        similarity.masked_fill_(~candidates.valid[:, None], -torch.inf)
        place = similarity.argmax(dim=2)
        back = similarity.argmax(dim=1).gather(1, place)
        both_valid = query.valid & candidates.valid.gather(1, place)
        mutual = (back == torch.arange(len(tokens), device=back.device)) & both_valid
    partner = others.gather(1, place[:, :, None].expand(-1, -1, others.shape[2]))
    return Neighbours(place, (tokens * partner).sum(dim=2), mutual)


@torch.no_grad()
def match(
    query: LocalFeatures,
    candidates: LocalFeatures,
    least_cosine: float = LEAST_COSINE,
    chunk_entries: int = CHUNK_ENTRIES,
) -> Matches:
    """Count and weigh mutual nearest neighbours (sections 6.1 and 6.2 of the method).

    The pairs are those of `nearest_neighbours`, whichever image comes first. A pair's weight is
    sqrt(r_u r_v), of the reliabilities of its two tokens. All candidates are one product of
    matrices, on the device of the query.

    Args:
        query: local features of one image.
        candidates: of K images, p tokens each.
        least_cosine: what a pair must exceed.
        chunk_entries: entries of similarity matrices to hold at a time; those of one candidate are
            held in any case.

    Raises:
        MapError: tokens of another length than the query's.
    """
    count, rows = candidates.valid.shape
    only = _valid_rows(query)
    device = only.tokens.device
    number = torch.zeros(count, dtype=torch.int64, device=device)
    weight = torch.zeros(count, dtype=torch.float64, device=device)
    one = only.tokens.shape[1] * rows
    if not one * count:
        return Matches(number, weight)
    _require_equal_length(only, candidates)
    step = max(1, chunk_entries // one)
    for start in range(0, count, step):
        some = slice(start, start + step)
        number[some], weight[some] = _match_at_once(only, candidates, some, least_cosine)
    return Matches(number, weight)


def _match_at_once(
    query: LocalFeatures, candidates: LocalFeatures, some: slice, least_cosine: float
) -> Matches:
    """As `match`, of a query without padding and of some candidates."""
    tokens, valid, reliability = (
        getattr(candidates, name)[some].to(query.tokens.device)
        for name in ('tokens', 'valid', 'reliability')
    )
    partner, mutual = _mutual(query.tokens[0], tokens, valid, least_cosine)
    # In float64, so that neither padding nor the order of tokens shows in a score.
    product = reliability.double() * query.reliability[0].double()[partner]
    return Matches(mutual.sum(dim=1), (product.sqrt_() * mutual).sum(dim=1))


def _valid_rows(image: LocalFeatures) -> LocalFeatures:
    """One image without its padding."""
    valid = image.valid[0]
    return LocalFeatures(*(value[:, valid] for value in vars(image).values()))


def _require_equal_length(query: LocalFeatures, candidates: LocalFeatures) -> None:
    wanted, found = query.tokens.shape[2], candidates.tokens.shape[2]
    if wanted != found:
        raise MapError(
            f'expected local features of {wanted} values as the query has, those of the places '
            f'have {found}: build the map again with this model'
        )


def _mutual(
    tokens: torch.Tensor, others: torch.Tensor, valid: torch.Tensor, least_cosine: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each token of K images (K, p, d) its nearest of (n, d), and whether they match, (K, p).

    Finding where the largest value of a column lies costs 40 times what finding the value does.
    So the images' tokens look up their nearest, the query's only how near it is; which one that
    was matters for equals alone, of which the first is the nearest, and is looked up for pairs.
    """
    similarity = (others.flatten(0, 1) @ tokens.T).view(*valid.shape, len(tokens))  # (K, p, n)
    if least_cosine < 0.0:  # otherwise padding, whose cosines are 0, cannot exceed it
        similarity.masked_fill_(~valid[:, :, None], -torch.inf)
    cosine, partner = similarity.max(dim=2)
    mutual = cosine == similarity.amax(dim=1).gather(1, partner)
    mutual &= (cosine > least_cosine) & valid
    image, row = mutual.nonzero(as_tuple=True)
    if 2 * len(image) < mutual.numel():
        mutual[image, row] = similarity[image, :, partner[image, row]].argmax(dim=1) == row
    else:  # so many that all columns at once are cheaper
        first = similarity.argmax(dim=1).gather(1, partner)
        mutual &= first == torch.arange(valid.shape[1], device=valid.device)
    return partner, mutual
