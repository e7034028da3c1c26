"""The second stage: candidates in the order of how well their local features match the query's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from vpr_ros.config.recognition import RerankingConfig
from vpr_ros.recognition.matching import CHUNK_ENTRIES, LEAST_COSINE, match
from vpr_ros.records import Candidate, LocalFeatures

# Ids of places to their local features, one image each, and who of them has any, (K,) bool.
Read = Callable[[list[int]], tuple[LocalFeatures, np.ndarray]]

# Of the similarity beside the share of matches (gamma). With folpp_nano the smallest of 1, 2, 3,
# 4, 5, 7, 10, 15, 20 and 30 that lowers recall@1 on none of seven validation sets: two of ie_tower
# on the floors that are not reported, five lights and seasons of the synthetic town. It raises it
# on one, from 53.7 to 55.2 %; 3 raises that to 58.2 % and lowers the town's by 0.9 to 2.6 points.
SIMILARITY_WEIGHT = 10.0
ROUNDING = 1e-9  # of the statistics of similarities


@dataclass(frozen=True)
class Reranked:
    """Candidates in their new order, and how many of the first were compared to get it."""

    candidates: list[Candidate]
    pool: int = 0


class Reranker(Protocol):
    """Orders what the search found anew."""

    @property
    def wanted(self) -> int:
        """How many candidates the search should hand over; 0: as many as are asked for."""

    def rerank(
        self, query: LocalFeatures | None, candidates: list[Candidate], read: Read
    ) -> Reranked:
        """Order candidates by what their local features say.

        Args:
            query: local features of one image; None: it has none, and nothing changes.
            candidates: the most similar first.
            read: fetches local features; it is asked once, for those that are re-ranked.

        Returns:
            The re-ranked ones, with `score` and, where they have local features, `matches`; then
            the others as they were.
        """


class NoReranking:
    """The order of the search stays."""

    wanted = 0

    def rerank(
        self, query: LocalFeatures | None, candidates: list[Candidate], read: Read
    ) -> Reranked:
        return Reranked(candidates)


class FolReranking:
    """FoL's rule (section 6.1): the number of matches decides among a fixed number of candidates.

    The similarity counts only where matches are equal.
    """

    def __init__(self, config: RerankingConfig) -> None:
        self.config = config

    @property
    def wanted(self) -> int:
        return self.config.most

    def pool(self, query: LocalFeatures, candidates: Sequence[Candidate]) -> int:
        """How many of the candidates to re-rank."""
        return min(self.config.most, len(candidates))

    def evidence(
        self, query: LocalFeatures, places: LocalFeatures
    ) -> tuple[list[int], list[float]]:
        """Matches with each of K places, and what they are worth."""
        count = match(query, places, self.config.least_cosine).number.tolist()
        return count, [float(number) for number in count]

    def fuse(self, similarity: float, evidence: float) -> float:
        """Score of a candidate."""
        return evidence

    def rerank(
        self, query: LocalFeatures | None, candidates: list[Candidate], read: Read
    ) -> Reranked:
        """As `Reranker` says. A place without local features counts as the median of those with.

        So it is neither raised nor lowered by what is not known of it: the typical candidate of a
        pool is a wrong one, and one that matches well still passes it.
        """
        if query is None or not candidates or not bool(query.valid.any()):
            return Reranked(candidates)
        pool = self.pool(query, candidates)
        head = candidates[:pool]
        places, has = read([candidate.place.id for candidate in head])
        if not has.any():
            return Reranked(candidates)
        counts, worth = self.evidence(query, places)
        neutral = float(np.median(np.array(worth)[has]))
        scored = [
            replace(
                candidate,
                score=self.fuse(candidate.similarity, worth[i] if has[i] else neutral),
                matches=counts[i] if has[i] else None,
            )
            for i, candidate in enumerate(head)
        ]
        scored.sort(key=lambda candidate: candidate.score or 0.0, reverse=True)  # stable
        return Reranked(scored + candidates[pool:], pool)


class FolppReranking(FolReranking):
    """FoL++, reconstructed (sections 6.2 and 6.3): weighed matches beside the similarity.

    A candidate's score is w S_g + S_l: the cosine of its descriptor, and the sum of the weights of
    its matches over sqrt(n_q n_c), of the local features that the two images have. So it does not
    depend on how many there are, and neither does w.
    """

    def pool(self, query: LocalFeatures, candidates: Sequence[Candidate]) -> int:
        """As `pool_size` says; what local features cannot make up for is not looked at."""
        reach = most_evidence(query) / self._weight if self.config.by_reliability else math.inf
        return pool_size([candidate.similarity for candidate in candidates], self.config, reach)

    def evidence(
        self, query: LocalFeatures, places: LocalFeatures
    ) -> tuple[list[int], list[float]]:
        matches = match(query, places, self.config.least_cosine)
        sizes = (query.valid.sum() * places.valid.to(query.valid.device).sum(dim=1)).double()
        worth = matches.weight / sizes.clamp_(min=1.0).sqrt_()
        return matches.number.tolist(), worth.tolist()

    def fuse(self, similarity: float, evidence: float) -> float:
        return self._weight * similarity + evidence

    @property
    def _weight(self) -> float:
        return self.config.similarity_weight or SIMILARITY_WEIGHT


def most_evidence(query: LocalFeatures) -> float:
    """Largest S_l that any place can have with a query: the root of its mean reliability.

    Every token is in one pair at most, so that by Cauchy and Schwarz the sum of sqrt(r_u r_v) is
    at most sqrt(sum r_u sum r_v), and reliabilities of places are at most 1. A candidate that is
    less similar than the best by more than this over w can never be the best.
    """
    return math.sqrt(float(query.reliability[query.valid].double().mean()))


def pool_size(
    similarities: Sequence[float] | np.ndarray, config: RerankingConfig, reach: float = math.inf
) -> int:
    """How many candidates are worth re-ranking (section 6.3 of the method, our reconstruction).

    Those within a range of the best and `deviations` standard deviations above the mean of the
    first `most`, but no fewer than `fewest`; only the best where no other is within the range.
    The range is `similarity_range`, or less where the query's reliability leaves less to be made
    up for.

    Args:
        similarities: cosines of the candidates, largest first, (K,).
        config: the limits.
        reach: what local features may make up for, as a difference of similarities.

    Returns:
        From 1 to `most`, and no more than K; 0 where there are none.
    """
    first = np.asarray(similarities[: config.most], np.float64)
    within = min(config.similarity_range, reach) + ROUNDING
    if len(first) < 2 or first[0] - first[1] > within:
        return min(1, len(first))
    limit = max(first[0] - within, first.mean() + config.deviations * first.std())
    worth = int((first >= limit - ROUNDING).sum())
    return min(max(worth, config.fewest), len(first))


def build_reranker(config: RerankingConfig) -> Reranker:
    """The re-ranking that a configuration names."""
    if config.method == 'fol':
        return FolReranking(config)
    return FolppReranking(config) if config.method == 'folpp' else NoReranking()


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
    return match(query, candidates, least_cosine, chunk_entries).number


def reranked(scores: torch.Tensor) -> torch.Tensor:
    """Order of candidates by score, the highest first, (K,), integer.

    Equal scores keep the order they came in, which is that of the global search; the released code
    turns it round.

    Args:
        scores: (K,), in the order of the global search.
    """
    return scores.argsort(descending=True, stable=True)
