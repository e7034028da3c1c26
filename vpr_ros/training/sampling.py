"""Which views make the batches of an epoch: P places, K views of each.

`places` draws at random by the labels of the source. `cliques` and `sage` look for places that
resemble each other, and take as one place views that were taken from nearly the same spot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from vpr_ros.config.training import SamplerConfig
from vpr_ros.errors import ConfigError, DatasetError
from vpr_ros.training.descriptions import Describe
from vpr_ros.training.ground import survey
from vpr_ros.training.mining import Miner
from vpr_ros.training.views import ViewSet

__all__ = ['Describe', 'Plan', 'Sampler', 'build_sampler', 'settled']

PUBLISHED_RADIUS_M = 25.0
LARGEST_SHARE = 0.1  # of an area

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """S batches of P places of K views, one batch a row, the views of a place side by side."""

    images: np.ndarray  # (S, P * K) int64
    labels: np.ndarray  # (S, P * K) int64, different for places of one batch


class Sampler(Protocol):
    online: bool  # whether a later plan depends on the model as it is then

    def plan(
        self,
        batches: int,
        describe: Describe,
        rng: np.random.Generator,
        progress: Progress = lambda done, total: None,
    ) -> Plan:
        """Choose the batches of an epoch.

        Args:
            batches: S, how many.
            describe: unit descriptors of the current model, in evaluation mode; those of SAGE
                without its cross-image encoder, which would make them depend on the batch.
            rng: the only chance there is.
            progress: called with what is done and what there is to do.

        Raises:
            DatasetError: a batch of P places cannot be filled, or a descriptor is not finite.
        """
        ...


def settled(config: SamplerConfig, views: ViewSet) -> SamplerConfig:
    """The settings with the radius that they leave open.

    That is the paper's tau1 of 25 m, for cities; in a building all views would lie within it, so
    it is at most a tenth of the extent of the smallest area.
    """
    if config.radius_m:
        return config
    placed = np.isfinite(views.position_m).all(axis=1)
    extents = [
        float(np.hypot(*np.ptp(views.position_m[rows], axis=0)))
        for area in np.unique(views.areas[placed])
        if len(rows := np.flatnonzero(placed & (views.areas == area))) > 1
    ]
    extent = min([e for e in extents if e > 0], default=math.inf)
    return replace(config, radius_m=min(PUBLISHED_RADIUS_M, extent * LARGEST_SHARE))


def build_sampler(
    views: ViewSet,
    config: SamplerConfig,
    places_per_batch: int,
    views_per_place: int,
    single_image_share: float = 0.0,
    device: torch.device | None = None,
) -> Sampler:
    """The sampler that a configuration asks for.

    Args:
        views: what is sampled from.
        config: which sampler, and its settings.
        places_per_batch: P.
        views_per_place: K; 1, for `places` only: images at random, whatever their place.
        single_image_share: of places that are one image K times: any, or lonely photographs.
        device: where similarities are computed; None: the CPU.

    Raises:
        ConfigError: K = 1 for a sampler of cliques.
        DatasetError: fewer than P places (`places`), or no clique of K views anywhere.
    """
    config = settled(config, views)
    if config.kind == 'places':
        return PlaceSampler(views, places_per_batch, views_per_place, single_image_share)
    if views_per_place < 2:
        raise ConfigError(
            f'views_per_place: the sampler {config.kind} expected at least 2, found '
            f'{views_per_place}: give more, or choose the sampler places'
        )
    frozen = config.kind == 'cliques'
    least = views_per_place if frozen else max(config.least_clique, views_per_place)
    ground = survey(views, config, views_per_place if config.smaller_cliques else least)
    miner = Miner(
        ground, config, places_per_batch, views_per_place, least, frozen,
        device or torch.device('cpu'),
    )  # fmt: skip
    sampler = OnlineSampler(miner) if config.online and not frozen else FrozenSampler(miner)
    shape = (places_per_batch, views_per_place)
    return WithPhotographs.where_there_are(sampler, views, shape, single_image_share)


class PlaceSampler:
    """P places of K views by the labels of the source, as the field does it.

    Every area alike often, every place of an area alike often; a place with fewer views than K
    repeats some. Labels are all it knows: where a source calls one spot two places, both may meet
    in a batch.
    """

    online = False

    def __init__(
        self,
        views: ViewSet,
        places_per_batch: int,
        views_per_place: int,
        single_image_share: float = 0.0,
    ) -> None:
        self._shape = (places_per_batch, views_per_place)
        self._single = single_image_share
        # Of single images the place is of no interest: each is one, and may come twice.
        labels = views.places if views_per_place > 1 else np.arange(len(views))
        order = np.argsort(labels, kind='stable')[np.count_nonzero(labels < 0) :]
        starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
        self._members = np.split(order, starts[1:])
        if views_per_place > 1 and len(starts) < places_per_batch:
            raise DatasetError(
                f'{", ".join(views.names)}: expected at least {places_per_batch} places, found '
                f'{len(starts)}: set places_per_batch lower, or give more drives'
            )
        areas = np.unique(views.areas[order[starts]], return_inverse=True)[1]
        share = 1.0 / np.bincount(areas)[areas]
        self._share = share / share.sum()

    def plan(
        self,
        batches: int,
        describe: Describe,
        rng: np.random.Generator,
        progress: Progress = lambda done, total: None,
    ) -> Plan:
        count, again = self._shape[0], self._shape[1] == 1
        rows = []
        for number in range(batches):
            chosen = rng.choice(len(self._members), count, replace=again, p=self._share)
            rows.append(np.concatenate([self._views(self._members[c], rng) for c in chosen]))
            progress(number + 1, batches)
        return _plan(np.stack(rows), *self._shape)

    def _views(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self._single and rng.random() < self._single:
            images = rng.choice(images, 1)
        return rng.choice(images, self._shape[1], replace=len(images) < self._shape[1])


class OnlineSampler:
    """Mines every plan anew, with the descriptors of that moment: SAGE."""

    online = True

    def __init__(self, miner: Miner) -> None:
        self._miner = miner

    def plan(
        self,
        batches: int,
        describe: Describe,
        rng: np.random.Generator,
        progress: Progress = lambda done, total: None,
    ) -> Plan:
        mined = self._miner.mine(batches, describe, rng, progress)
        rows = np.array([np.concatenate(groups) for groups in mined])
        return _plan(rows, self._miner.places, self._miner.views)


class FrozenSampler:
    """Mines with the first plan and keeps what was found, as offline methods do.

    Each plan has the same batches in another order, and K random views of each group: with whole
    cliques the idea of CliqueMining (ECCV 2024), with K chosen views SAGE without its online
    graph. A plan of more batches than the first goes through them several times.
    """

    online = False

    def __init__(self, miner: Miner) -> None:
        self._miner = miner
        self._mined: list[list[np.ndarray]] = []

    def plan(
        self,
        batches: int,
        describe: Describe,
        rng: np.random.Generator,
        progress: Progress = lambda done, total: None,
    ) -> Plan:
        self._mined = self._mined or self._miner.mine(batches, describe, rng, progress)
        rounds = -(-batches // len(self._mined))
        order = np.concatenate([rng.permutation(len(self._mined)) for _ in range(rounds)])
        count = self._miner.views
        rows = [
            np.concatenate([rng.choice(g, count, replace=False) for g in self._mined[number]])
            for number in order[:batches]
        ]
        return _plan(np.array(rows), self._miner.places, count)


class WithPhotographs:
    """Another sampler's batches, some places of which give way to a photograph, K times the same.

    Augmentation makes its views differ. Photographs are of nowhere: they meet nothing in a batch
    that shows the same, as long as each comes once.
    """

    def __init__(
        self, sampler: Sampler, photographs: np.ndarray, shape: tuple[int, int], share: float
    ) -> None:
        """`photographs` (n,) are views; `shape` is P and K, `share` that of the places."""
        self.online = sampler.online
        self._sampler, self._photographs, self._shape = sampler, photographs, shape
        self._count = min(round(share * shape[0]), len(photographs))

    @classmethod
    def where_there_are(
        cls, sampler: Sampler, views: ViewSet, shape: tuple[int, int], share: float
    ) -> Sampler:
        """The sampler itself where there are no photographs, or none are wanted."""
        photographs = alone(views)
        if not share or not len(photographs):
            return sampler
        return cls(sampler, photographs, shape, share)

    def plan(
        self,
        batches: int,
        describe: Describe,
        rng: np.random.Generator,
        progress: Progress = lambda done, total: None,
    ) -> Plan:
        plan = self._sampler.plan(batches, describe, rng, progress)
        images = plan.images.reshape(batches, *self._shape)
        for batch in images:
            away = rng.choice(self._shape[0], self._count, replace=False)
            batch[away] = rng.choice(self._photographs, (self._count, 1), replace=False)
        return Plan(images.reshape(plan.images.shape), plan.labels)


def alone(views: ViewSet) -> np.ndarray:
    """Views (n,) of no known position that are the only ones of their place."""
    nowhere = ~np.isfinite(views.position_m).all(axis=1) & (views.places >= 0)
    sizes = np.bincount(views.places[views.places >= 0], minlength=1)
    return np.flatnonzero(nowhere & (sizes[views.places] == 1))


def _plan(images: np.ndarray, places: int, views: int) -> Plan:
    labels = np.broadcast_to(np.repeat(np.arange(places), views), images.shape)
    return Plan(images.astype(np.int64), labels.copy())
