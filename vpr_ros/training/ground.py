"""Where the views of a set were taken: all that a sampler knows and no training changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from vpr_ros.config.training import SamplerConfig
from vpr_ros.errors import DatasetError
from vpr_ros.training.cliques import bit_sets, first_clique
from vpr_ros.training.graph import Graph, adjacency, geographic_graph
from vpr_ros.training.views import ViewSet


@dataclass(frozen=True)
class Ground:
    """N views in n places, and the graph that joins views which may show the same.

    Only places are kept with a view that has enough neighbours for a clique. Places are numbered
    anew, area by area, so that those of one area are one stretch; so are areas.

    In an area without any position, views of one place stand on one spot, far from the next, and
    `measured` is False: their mutual distance counts as 1 m. In an area with some positions,
    views without are left out.
    """

    position_m: np.ndarray  # (N, 2) float64
    measured: np.ndarray  # (N,) bool
    graph: Graph  # of the views
    members: np.ndarray  # (M,) int64, views, place by place
    starts: np.ndarray  # (n + 1,) int64, where each place begins in `members`
    area_starts: np.ndarray  # (A + 1,) int64, where each area begins among the places

    @property
    def place_count(self) -> int:
        return len(self.starts) - 1

    @property
    def areas(self) -> np.ndarray:
        """Area of each place (n,)."""
        return np.repeat(np.arange(len(self.area_starts) - 1), np.diff(self.area_starts))

    def views(self, place: int) -> np.ndarray:
        return self.members[self.starts[place] : self.starts[place + 1]]

    def one_each(self, rng: np.random.Generator) -> np.ndarray:
        """A random view of each place (n,)."""
        sizes = np.diff(self.starts)
        return self.members[self.starts[:-1] + rng.integers(sizes)]

    def near(self, views: np.ndarray, others: np.ndarray, radius_m: float) -> np.ndarray:
        """Which views (n,) lie within the radius of any of the others (m,) of the area: bool."""
        if not len(others):
            return np.zeros(len(views), bool)
        apart = cdist(self.position_m[views], self.position_m[others], 'sqeuclidean')
        return apart.min(axis=1) <= radius_m * radius_m

    def distances_m(self, groups: np.ndarray) -> np.ndarray:
        """Distances within groups of views (..., n): (..., n, n); 1 where nothing was measured."""
        place = self.position_m[groups]
        delta = place[..., :, None, :] - place[..., None, :, :]
        known = self.measured[groups][..., :1, None]  # all of a group lie in one area
        return np.where(known, np.hypot(delta[..., 0], delta[..., 1]), 1.0)


def survey(views: ViewSet, config: SamplerConfig, least: int) -> Ground:
    """Prepare a set for mining.

    Args:
        views: the set.
        config: radius and heading limit.
        least: views in the smallest clique of use.

    Raises:
        DatasetError: there is no clique of that many views anywhere.
    """
    finite = np.isfinite(views.position_m).all(axis=1)
    placed = views.places >= 0
    measured = np.isin(views.areas, np.unique(views.areas[finite & placed]))
    usable = placed & (finite | ~measured)
    spot = np.unique(views.places, return_inverse=True)[1] * (10.0 * config.radius_m)
    position = np.where(measured[:, None], views.position_m, np.stack([spot, spot], axis=1))
    position[~usable] = np.nan
    heading = np.where(measured, views.heading_rad, np.nan)
    graph = geographic_graph(position, heading, views.areas, config.radius_m, config.heading_rad)
    able = usable & (graph.degrees >= least - 1)
    if not _any_clique(graph, np.flatnonzero(able), least):
        raise DatasetError(
            f'{", ".join(views.names)}: expected {least} views of a place within '
            f'{config.radius_m:g} m of each other, found them nowhere among {len(views)} views, '
            f'{int(finite.sum())} of them with a position: give more drives of the same streets, '
            'views_per_place less or radius_m more'
        )
    kept = usable & np.isin(views.places, np.unique(views.places[able]))
    return Ground(position, measured, graph, *_ordered(views, np.flatnonzero(kept)))


def _any_clique(graph: Graph, views: np.ndarray, least: int) -> bool:
    for view in views:
        near = graph.neighbours[graph.starts[view] : graph.starts[view + 1]]
        if first_clique(bit_sets(adjacency(graph, near)), least - 1):
            return True
    return False


def _ordered(views: ViewSet, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members, starts and area starts of a Ground, from the views that are kept."""
    rows = rows[np.lexsort((views.places[rows], views.areas[rows]))]
    keys = np.stack([views.areas[rows], views.places[rows]])
    fresh = np.flatnonzero((np.diff(keys, axis=1, prepend=-math.inf) != 0).any(axis=0))
    areas = views.areas[rows][fresh]
    stretches = np.flatnonzero(np.diff(areas, prepend=-math.inf) != 0)
    return rows, np.append(fresh, len(rows)), np.append(stretches, len(fresh))
