"""Batches of places that look alike and are not the same: sections 2.5 and 2.6 of the method.

All batches of an epoch are filled side by side, one clique at a time: what they need from the
network is then asked for in few large requests, and affinities are computed many at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from vpr_ros.config.training import SamplerConfig
from vpr_ros.errors import DatasetError
from vpr_ros.training.descriptions import Describe, Descriptions
from vpr_ros.training.graph import affinity, anchor, weighted_expansion
from vpr_ros.training.ground import Ground
from vpr_ros.training.neighbourhoods import (
    Batch,
    area_order,
    neighbourhoods,
    next_seed,
    open_draw,
)

RESTARTS = 10  # of a batch that cannot be filled: other seeds may leave more room
TABLE_NUMBERS = 1 << 22  # of affinities computed at once

Progress = Callable[[int, int], None]
Choice = Callable[[list[np.ndarray]], list[np.ndarray]]
"""From cliques (m,) to the views of each that make a place; fewer than asked for: it is none."""


@dataclass(frozen=True)
class Miner:
    """Finds batches of P groups of views, each group one place."""

    ground: Ground
    config: SamplerConfig
    places: int  # P, groups of a batch
    views: int  # K, views of a group
    least: int  # N, views of a clique, if there are such
    whole: bool  # groups are whole cliques, not K views of them
    device: torch.device

    def mine(
        self, batches: int, describe: Describe, rng: np.random.Generator, progress: Progress
    ) -> list[list[np.ndarray]]:
        """Fill batches.

        Any two groups of a batch lie in different areas, or farther than the radius apart,
        whichever way they look.

        Args:
            batches: how many.
            describe: gives the descriptors that places and views are compared by.
            rng: the only chance there is.
            progress: called with what is done and what there is to do, places described and
                groups found together.

        Returns:
            For each batch P groups of views (m,), those of one draw one after the other; m = K,
            or more where groups are whole cliques.

        Raises:
            DatasetError: there is not room for P such groups, or a descriptor is not finite.
        """
        table = self.ground.one_each(rng)
        total, done = len(table) + batches * self.places, 0

        def report(more: int) -> None:
            nonlocal done
            done = min(total, done + more)  # a batch that begins again finds more
            progress(done, total)

        with closing(Descriptions(describe, len(self.ground.measured), self.device)) as known:
            known.require(table, report)
            filled = [Batch(area_order(self.ground, rng)) for _ in range(batches)]
            self._fill(filled, known, table, rng, report)
        return [batch.groups for batch in filled]

    def _fill(
        self,
        batches: list[Batch],
        known: Descriptions,
        table: np.ndarray,
        rng: np.random.Generator,
        report: Callable[[int], None],
    ) -> None:
        choose = self._choice(known, table, rng)
        unfilled = batches
        while unfilled:
            self._draw(unfilled, known, table, rng)
            working = unfilled
            while working:
                found = [(batch, self._next_clique(batch, rng)) for batch in working]
                found = [(batch, clique) for batch, clique in found if len(clique)]
                groups = choose([clique for _, clique in found])
                for (batch, _), group in zip(found, groups, strict=True):
                    self._take(batch, group)
                report(sum(len(group) >= self.views for group in groups))
                working = [batch for batch, _ in found if len(batch.groups) < self.places]
            unfilled = [batch for batch in unfilled if len(batch.groups) < self.places]

    def _draw(
        self,
        batches: list[Batch],
        known: Descriptions,
        table: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Give each batch as many draws as it needs if each of their places becomes a group."""
        owners, seeds = [], []
        for batch in batches:
            lacking = self.places - len(batch.groups)
            for number in range(-(-lacking // (1 + self.config.similar_places))):
                seed = next_seed(self.ground, batch, self.config.radius_m, rng)
                if seed is None and number:
                    break
                if seed is None:
                    seed = self._begin_again(batch, rng)
                owners.append((batch, seed[0]))
                seeds.append(seed[1])
        found = neighbourhoods(
            self.ground, np.array(seeds), known, table, self.config.similar_places,
            self.config.sharpness, rng,
        )  # fmt: skip
        for (batch, area), places in zip(owners, found, strict=True):
            batch.waiting.append((area, places))

    def _begin_again(self, batch: Batch, rng: np.random.Generator) -> tuple[int, int]:
        if batch.restarts == RESTARTS or not batch.groups:
            limit = self.config.affinity_threshold
            limited = np.isfinite(limit)
            asked = f' and of an affinity above {limit:g}' if limited else ''
            more = ', sampler.affinity_threshold' if limited else ''
            raise DatasetError(
                f'expected {self.places} places of {self.views} views for a batch, more than '
                f'{self.config.radius_m:g} m apart{asked}, found {len(batch.groups)}: set '
                f'places_per_batch{more} or sampler.radius_m lower, or give drives of more streets'
            )
        fresh = Batch(area_order(self.ground, rng), restarts=batch.restarts + 1)
        vars(batch).update(vars(fresh))
        seed = next_seed(self.ground, batch, self.config.radius_m, rng)
        assert seed is not None  # an empty batch may begin anywhere
        return seed

    def _next_clique(self, batch: Batch, rng: np.random.Generator) -> np.ndarray:
        """The next clique of a batch (m,), empty if its draws hold no more."""
        small = self.views if self.config.smaller_cliques else self.least
        while True:
            if batch.draw is not None:
                clique = batch.draw.next_clique(self.least, small)
                if len(clique):
                    return clique
                batch.draw = None
            if not batch.waiting:
                return np.zeros(0, np.int64)
            open_draw(self.ground, batch, self.config.radius_m, rng)

    def _take(self, batch: Batch, group: np.ndarray) -> None:
        assert batch.draw is not None
        if len(group) < self.views:
            batch.draw.drop(group)
            return
        batch.groups.append(group)
        batch.taken.setdefault(batch.area, []).append(group)
        batch.draw.remove(group, self.config.radius_m)

    def _choice(self, known: Descriptions, table: np.ndarray, rng: np.random.Generator) -> Choice:
        if self.whole:
            return lambda cliques: cliques
        if not self.config.weighted:
            return lambda cliques: [rng.choice(c, self.views, replace=False) for c in cliques]
        return ByAffinity(self.ground, self.config, self.views, known, table)


class ByAffinity:
    """Takes of each clique the anchor and the views that go best with it."""

    def __init__(
        self,
        ground: Ground,
        config: SamplerConfig,
        views: int,
        known: Descriptions,
        table: np.ndarray,
    ) -> None:
        """`table` (n,) is the view that stands for each place."""
        self._ground, self._config, self._views, self._known = ground, config, views, known
        self._shown = np.arange(len(ground.measured))  # whose descriptor stands for each view
        if config.visual == 'place':
            self._shown[ground.members] = np.repeat(table, np.diff(ground.starts))

    def __call__(self, cliques: list[np.ndarray]) -> list[np.ndarray]:
        """Views (K,) of each clique (m,), fewer where the threshold leaves no more."""
        if not cliques:
            return []
        self._known.require(self._shown[np.concatenate(cliques)])
        sizes = np.array([len(clique) for clique in cliques])
        taken: list[np.ndarray] = [np.zeros(0, np.int64)] * len(cliques)
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            parts = -(-len(rows) * int(size) ** 2 // TABLE_NUMBERS)
            for some in np.array_split(rows, min(parts, len(rows))):
                groups = np.stack([cliques[row] for row in some])
                for row, views in zip(some, self._chosen(groups), strict=True):
                    taken[row] = views
        return taken

    def _chosen(self, groups: np.ndarray) -> list[np.ndarray]:
        """The same for cliques of one size (B, m)."""
        weights = affinity(
            self._ground.distances_m(groups),
            self._known.distances(self._shown[groups]),
            self._config.distance_floor_m,
            self._config.affinity_threshold,
        )
        order = weighted_expansion(weights, anchor(weights), self._views)
        return [views[o[o >= 0]] for views, o in zip(groups, order, strict=True)]
