"""Seeds and the places that resemble them: what cliques are looked for in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.training.cliques import bit_set, bit_sets, elements, first_clique
from vpr_ros.training.descriptions import Descriptions
from vpr_ros.training.graph import adjacency, similar_places
from vpr_ros.training.ground import Ground

GUESSES = 32


class Draw:
    """The views of a seed and of places like it, as a graph that shrinks as cliques are taken."""

    def __init__(self, ground: Ground, views: np.ndarray) -> None:
        """`views` (n,) in the order in which cliques shall begin with them."""
        self._ground, self._views = ground, views
        self._neighbours = bit_sets(adjacency(ground.graph, views))
        self._left = (1 << len(views)) - 1
        self._large = True

    def next_clique(self, large: int, small: int) -> np.ndarray:
        """The first clique of at least `large` views, of at least `small` where there is none.

        Returns:
            Views (m,), none if there is no such clique.
        """
        clique = first_clique(self._neighbours, large, self._left) if self._large else 0
        if not clique:
            self._large = False  # what is taken away makes no clique larger
            clique = first_clique(self._neighbours, small, self._left) if small < large else 0
        return self._views[elements(clique)]

    def remove(self, taken: np.ndarray, radius_m: float) -> None:
        """Take away some views (m,) and all within the radius of them, wherever they look."""
        near = self._ground.near(self._views, taken, radius_m)
        self._left &= ~bit_set(near)

    def drop(self, views: np.ndarray) -> None:
        """Take away these views (m,) alone."""
        self._left &= ~bit_set(np.isin(self._views, views))


@dataclass
class Batch:
    """One batch while it is being filled."""

    order: np.ndarray  # (A,) areas in the order of use
    groups: list[np.ndarray] = field(default_factory=list)  # views (m,) of each of its places
    waiting: deque[tuple[int, np.ndarray]] = field(default_factory=deque)  # area, places (n,)
    area: int = -1  # of the current draw
    draw: Draw | None = None
    drawn: int = 0  # draws so far, waiting ones included
    tried: dict[int, set[int]] = field(default_factory=dict)  # places of an area, seen in draws
    taken: dict[int, list[np.ndarray]] = field(default_factory=dict)  # groups, area by area
    restarts: int = 0

    def taken_in(self, area: int) -> np.ndarray:
        """Views of the groups that lie in an area (m,)."""
        return np.concatenate([np.zeros(0, np.int64), *self.taken.get(area, [])])


def area_order(ground: Ground, rng: np.random.Generator) -> np.ndarray:
    """Areas in random order, drawn one after the other in proportion to their places: (A,)."""
    races = rng.standard_exponential(len(ground.area_starts) - 1)
    return np.argsort(races / np.diff(ground.area_starts), kind='stable')


def next_seed(
    ground: Ground, batch: Batch, radius_m: float, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Area and place to begin the next draw with, in the batch's order of areas.

    A place is passed over that a draw of this batch has seen, or whose views are all too near to
    groups of the batch; None: there is no other left in any area.
    """
    areas = len(batch.order)
    for _ in range(areas):
        area = int(batch.order[batch.drawn % areas])
        batch.drawn += 1
        taken, tried = batch.taken_in(area), batch.tried.setdefault(area, set())
        while (place := _untried(ground, area, tried, rng)) is not None:
            tried.add(place)
            if not ground.near(ground.views(place), taken, radius_m).all():
                return area, place
    return None


def neighbourhoods(
    ground: Ground,
    seeds: np.ndarray,
    descriptions: Descriptions,
    table: np.ndarray,
    count: int,
    sharpness: float,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Each seed with the places of its area that were drawn for their resemblance.

    Args:
        ground: the places, n of them.
        seeds: (s,) places.
        descriptions: those of `table` came first.
        table: (n,) the view that stands for each place.
        count: places to draw beside the seed.
        sharpness: of `similar_places`.
        rng: of the draw.

    Returns:
        Places for each seed, the seed first, then the most fortunate.
    """
    found: list[np.ndarray] = [np.zeros(0, np.int64)] * len(seeds)
    areas = ground.areas[seeds]
    for area in np.unique(areas):
        first, last = ground.area_starts[area : area + 2]
        rows = np.flatnonzero(areas == area)
        blocks = descriptions.distances_from(table[seeds[rows]], slice(first, last))
        for position, distance in blocks:
            seed = seeds[rows[position]]
            distance[seed - first] = 0.0
            others = first + similar_places(distance, count, sharpness, rng)
            found[rows[position]] = np.concatenate(([seed], others))
    return found


def open_draw(ground: Ground, batch: Batch, radius_m: float, rng: np.random.Generator) -> None:
    """Begin with the next draw that waits: its views in random order, place after place."""
    batch.area, places = batch.waiting.popleft()
    batch.tried.setdefault(batch.area, set()).update(places.tolist())
    members = [ground.views(place) for place in places]
    ranks = np.repeat(np.arange(len(places)), [len(views) for views in members])
    views = np.concatenate(members)[np.argsort(ranks + rng.random(len(ranks)))]
    views = views[~ground.near(views, batch.taken_in(batch.area), radius_m)]
    batch.draw = Draw(ground, views)


def _untried(ground: Ground, area: int, tried: set[int], rng: np.random.Generator) -> int | None:
    first, last = ground.area_starts[area : area + 2]
    for place in rng.integers(first, last, GUESSES if len(tried) < last - first else 0):
        if int(place) not in tried:
            return int(place)
    left = np.setdiff1d(np.arange(first, last), np.fromiter(tried, np.int64, len(tried)))
    return int(rng.choice(left)) if len(left) else None
