"""The second stage: candidates in the order of how well their local features match the query's."""

from __future__ import annotations

from typing import NamedTuple

import torch

from vpr_ros.records import LocalFeatures

LEAST_COSINE = 0.7  # that a pair of mutual nearest neighbours must exceed
CHUNK_ENTRIES = 2**25  # of similarity matrices held at a time: 128 MiB in float32


class Neighbours(NamedTuple):
    """For each of the n tokens of a query its nearest token in each of K candidates."""

    place: torch.Tensor  # which one, (K, n), integer
    cosine: torch.Tensor  # (K, n)
    mutual: torch.Tensor  # (K, n), bool; False wherever one of the two is padding


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


def fol_scores(
    query: LocalFeatures,
    candidates: LocalFeatures,
    least_cosine: float = LEAST_COSINE,
    chunk_entries: int = CHUNK_ENTRIES,
) -> torch.Tensor:
    """Count mutual nearest neighbours (FoL, section 6.1 of the method).

    As the released code, but that padding never matches, whatever the limit, and that a single
    pair counts.

    Args:
        query: local features of one image, n tokens.
        candidates: of K images, p tokens each.
        least_cosine: what a pair must exceed.
        chunk_entries: entries of similarity matrices to hold at a time; those of one candidate are
            held in any case.

    Returns:
        Number of pairs with each candidate, (K,), integer.
    """
    count, one = len(candidates.tokens), query.tokens.shape[1] * candidates.tokens.shape[1]
    scores = torch.zeros(count, dtype=torch.int64, device=query.tokens.device)
    if not one:
        return scores
    step = max(1, chunk_entries // one)
    for start in range(0, count, step):
        some = slice(start, start + step)
        found = nearest_neighbours(query, _candidates(candidates, some))
        scores[some] = (found.mutual & (found.cosine > least_cosine)).sum(dim=1)
    return scores


def reranked(scores: torch.Tensor) -> torch.Tensor:
    """Order of candidates by score, the highest first, (K,), integer.

    Equal scores keep the order they came in, which is that of the global search; the released code
    turns it round.

    Args:
        scores: (K,), in the order of the global search.
    """
    return scores.argsort(descending=True, stable=True)


def _candidates(features: LocalFeatures, some: slice) -> LocalFeatures:
    return LocalFeatures(
        features.tokens[some], features.valid[some], features.position[some],
        features.reliability[some],
    )  # fmt: skip
