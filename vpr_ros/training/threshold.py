"""The similarity above which a match deserves trust, measured on places known to differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vpr_ros.config import SamplerConfig
from vpr_ros.training.views import ViewSet

MOST_VIEWS = 4000  # of an area, in whole places: similarities are a square of it


@dataclass(frozen=True)
class AreaSimilarities:
    """Best similarities of each view of an area, to its own place and to all others."""

    name: str
    genuine: np.ndarray  # (N,) to another view of the same place; -1 where there is none
    impostor: np.ndarray  # (N,) to the most similar view of any other place of the area


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it does to the views it was measured on, area by area."""

    value: float
    accepted_genuine: dict[str, float]
    accepted_impostors: dict[str, float]


def similarity_threshold(areas: list[AreaSimilarities], quantile: float = 0.95) -> Threshold:
    """Find the threshold below which the best wrong match of most views lies.

    One view in twenty is deceived all the same: the front door asks for several queries that
    agree on a place before it believes any.

    Args:
        areas: what `measure_similarities` found.
        quantile: share of views whose best wrong match must lie below.
    """
    value = float(np.quantile(np.concatenate([area.impostor for area in areas]), quantile))
    return Threshold(
        value,
        {area.name: float((area.genuine >= value).mean()) for area in areas},
        {area.name: float((area.impostor >= value).mean()) for area in areas},
    )


def measure_similarities(
    views: ViewSet,
    describe: Callable[[np.ndarray], np.ndarray],
    sampler: SamplerConfig,
    rng: np.random.Generator,
) -> list[AreaSimilarities]:
    """Compare every view with all others of its area.

    Views nearer than the sampler's radius are of the same place or of a neighbouring one, and
    count as neither right nor wrong unless their places are the same.

    Args:
        views: those in no place are left out.
        describe: view numbers (n,) to unit descriptors (n, D); zero for one that cannot be read.
        sampler: whose radius says what lies apart.
        rng: chooses places where an area has more than MOST_VIEWS views.
    """
    found = []
    for number, name in enumerate(views.names):
        rows = _some_places(
            views, np.flatnonzero((views.areas == number) & (views.places >= 0)), rng
        )
        _, sizes = np.unique(views.places[rows], return_counts=True)
        if len(sizes) < 2 or sizes.max() < 2:  # nothing to be deceived about, or nothing right
            continue
        x = describe(rows).astype(np.float32)
        rows, x = rows[x.any(axis=1)], x[x.any(axis=1)]
        similarity = x @ x.T
        np.fill_diagonal(similarity, -1.0)
        same = views.places[rows][:, None] == views.places[rows][None]
        apart = ~same & ~_near(views.position_m[rows], sampler.radius_m)
        found.append(
            AreaSimilarities(
                name,
                np.where(same, similarity, -1.0).max(axis=1),
                np.where(apart, similarity, -1.0).max(axis=1),
            )
        )
    return found


def _some_places(views: ViewSet, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(rows) <= MOST_VIEWS:
        return rows
    names, sizes = np.unique(views.places[rows], return_counts=True)
    order = rng.permutation(len(names))
    taken = names[order[np.cumsum(sizes[order]) <= MOST_VIEWS]]
    return rows[np.isin(views.places[rows], taken)]


def _near(position_m: np.ndarray, radius_m: float) -> np.ndarray:
    """Which pairs lie within the radius, (N, N); none where positions are not known."""
    offset = position_m[:, None] - position_m[None]
    return np.hypot(offset[..., 0], offset[..., 1]) <= radius_m
