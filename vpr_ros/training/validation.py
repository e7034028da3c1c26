"""Places kept out of the training, and how well the network recognises them.

The weights that are kept are chosen here, never on a test set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from vpr_ros.config import SamplerConfig
from vpr_ros.training.views import ViewSet, chosen


@dataclass(frozen=True)
class Split:
    """Rows of a set to train on, and rows of places that are never trained on."""

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Score:
    """Share of the views whose most similar other view shows the same place."""

    recall_at_1: float
    queries: int


class Selection:
    """The best weights so far, and how long ago that was."""

    def __init__(self, patience: int) -> None:
        """Begin with none; `patience` is the number of worse looks allowed, 0: any."""
        self.patience = patience
        self.recall_at_1: float | None = None
        self.step: int | None = None
        self.worse = 0
        self.weights: dict[str, torch.Tensor] = {}

    @property
    def out_of_patience(self) -> bool:
        return 0 < self.patience <= self.worse

    def consider(self, found: Score, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep a copy of the weights if none were better."""
        if self.recall_at_1 is not None and found.recall_at_1 <= self.recall_at_1:
            self.worse += 1
            return
        self.recall_at_1, self.step, self.worse = found.recall_at_1, step, 0
        self.weights = {name: value.detach().clone() for name, value in weights.items()}

    def words(self) -> list[Any]:
        """Recall, step and number of worse looks, for `restore`."""
        return [self.recall_at_1, self.step, self.worse]

    def restore(self, words: list[Any], weights: dict[str, torch.Tensor]) -> None:
        """Go on from recall, step and number of worse looks, as they were saved."""
        self.recall_at_1, self.step, self.worse = words
        self.weights = weights


def split_places(views: ViewSet, share: float, radius_m: float, rng: np.random.Generator) -> Split:
    """Hold out a share of the places of each area, in one neighbourhood where positions are known.

    Views within `radius_m` of the neighbourhood are in neither part: they show some of the same.
    """
    validation = np.zeros(len(views), bool)
    spare = np.zeros(len(views), bool)
    for area in np.unique(views.areas):
        rows = np.flatnonzero((views.areas == area) & (views.places >= 0))
        names, first = np.unique(views.places[rows], return_index=True)
        count = round(share * len(names))
        if count < 2:
            continue
        kept = _neighbourhood(views.position_m[rows[first]], count, rng)
        held = rows[np.isin(views.places[rows], names[kept])]
        validation[held] = True
        spare |= (views.areas == area) & _near(views.position_m, views.position_m[held], radius_m)
    return Split(np.flatnonzero(~validation & ~spare), np.flatnonzero(validation))


def _neighbourhood(position_m: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A place and those nearest to it; any where positions are not known. (count,)."""
    known = np.isfinite(position_m).all(axis=1)
    if not known.all():
        return rng.choice(len(position_m), count, replace=False)
    centre = position_m[int(rng.integers(len(position_m)))]
    return np.argsort(np.linalg.norm(position_m - centre, axis=1), kind='stable')[:count]


def _near(position_m: np.ndarray, others_m: np.ndarray, radius_m: float) -> np.ndarray:
    near = np.zeros(len(position_m), bool)
    known = np.isfinite(others_m).all(axis=1)
    placed = np.flatnonzero(np.isfinite(position_m).all(axis=1))
    if known.any() and len(placed):
        tree = cKDTree(others_m[known])
        distance, _ = tree.query(position_m[placed], distance_upper_bound=radius_m)
        near[placed] = np.isfinite(distance)
    return near


def queries_of(views: ViewSet, most: int, rng: np.random.Generator) -> ViewSet:
    """The views to look at: all, or whole places by chance up to about `most` views."""
    if len(views) <= most:
        return views
    names = rng.permutation(np.unique(views.places[views.places >= 0]))
    sizes = np.bincount(views.places[views.places >= 0])
    taken = names[np.cumsum(sizes[names]) <= most]
    return chosen(views, np.flatnonzero(np.isin(views.places, taken)))


def score(views: ViewSet, descriptors: np.ndarray, sampler: SamplerConfig) -> Score:
    """Recall@1 of each view among all others.

    Where a place was seen in several sessions, a view is looked for in the other sessions alone:
    its neighbours in time are no achievement. Right is a view of the same place, or one within the
    sampler's radius and heading.

    Args:
        views: V views.
        descriptors: (V, D), unit length; zero for a view that cannot be read: it is left out.
        sampler: whose radius and heading say what one place is.
    """
    kept = np.flatnonzero(descriptors.any(axis=1))
    views, descriptors = chosen(views, kept), descriptors[kept]
    similarity = descriptors.astype(np.float32) @ descriptors.astype(np.float32).T
    np.fill_diagonal(similarity, -np.inf)
    right, asked = 0, 0
    for row in range(len(views)):
        same = views.places == views.places[row]
        elsewhere = views.sessions != views.sessions[row]
        scores = similarity[row]
        if (same & elsewhere).any():
            scores = np.where(elsewhere, scores, -np.inf)
        elif same.sum() < 2:
            continue
        asked += 1
        right += int(_shows_same(views, row, int(scores.argmax()), sampler))
    return Score(right / max(asked, 1), asked)


def _shows_same(views: ViewSet, one: int, other: int, sampler: SamplerConfig) -> bool:
    if views.areas[one] != views.areas[other]:
        return False
    if views.places[one] == views.places[other]:
        return True
    distance = np.linalg.norm(views.position_m[one] - views.position_m[other])
    turn = np.abs(np.angle(np.exp(1j * (views.heading_rad[one] - views.heading_rad[other]))))
    return bool(distance <= sampler.radius_m and not turn > sampler.heading_rad)
