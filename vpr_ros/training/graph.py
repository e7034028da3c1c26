"""The graph behind SAGE's batches: which views may show one place, and how well they go together.

Pure functions: arrays in, indices out, chance from the generator that is given. Formulas from
SAGE (ICLR 2026), its online graph creation and greedy weighted sampling. An excluded pair has
the affinity minus infinity; a view with itself is always one, as W_ii = 0 would win everywhere.
Of equals, the lowest index is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

BLOCK = 1 << 12  # views whose neighbours are looked for at once


@dataclass(frozen=True)
class Graph:
    """Neighbours of each of N nodes, one list after the other."""

    starts: np.ndarray  # (N + 1,) int64
    neighbours: np.ndarray  # (E,) int32, ascending within a node, never the node itself

    @property
    def degrees(self) -> np.ndarray:
        """Number of neighbours (N,)."""
        return np.diff(self.starts)


def geographic_graph(
    position_m: np.ndarray,
    heading_rad: np.ndarray,
    areas: np.ndarray,
    radius_m: float,
    heading_limit_rad: float = math.pi,
) -> Graph:
    """Join views of one area that are nearer than the radius and look alike far enough.

    Memory is that of the edges, found with a KD-tree an area; there is no table of all pairs.

    Args:
        position_m: (N, 2); a view without a position (nan) has no neighbours.
        heading_rad: (N,); nan: unknown, which joins with every heading.
        areas: (N,), integer.
        radius_m: tau1; pairs at exactly this distance are not joined.
        heading_limit_rad: largest difference of two known headings; pi: no limit.
    """
    placed = np.isfinite(position_m).all(axis=1)
    order = np.argsort(areas, kind='stable')
    order = order[placed[order]]
    groups = np.split(order, np.flatnonzero(np.diff(areas[order])) + 1) if len(order) else []
    found = []
    for rows in groups:
        tree = cKDTree(position_m[rows])
        for first in range(0, len(rows), BLOCK):
            some = rows[first : first + BLOCK]
            one, other = _pairs(tree, position_m[some], radius_m)
            one, other = some[one].astype(np.int32), rows[other].astype(np.int32)
            turn = heading_rad[one] - heading_rad[other]
            turn = np.abs((turn + math.pi) % (2.0 * math.pi) - math.pi)
            keep = (one != other) & ~(turn > heading_limit_rad)
            found.append((one[keep], other[keep]))
    return _graph(found, len(position_m))


def adjacency(graph: Graph, members: np.ndarray) -> np.ndarray:
    """Which of some different nodes (n,) are neighbours: (n, n), bool."""
    starts = graph.starts[members]
    counts = graph.starts[members + 1] - starts
    rows = np.repeat(np.arange(len(members)), counts)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    other = graph.neighbours[starts[rows] + offsets]
    order = np.argsort(members)
    sorted_members = members[order]
    columns = np.searchsorted(sorted_members, other).clip(max=len(members) - 1)
    inside = sorted_members[columns] == other
    table = np.zeros((len(members), len(members)), bool)
    table[rows[inside], order[columns[inside]]] = True
    return table


def affinity(
    distance_m: np.ndarray,
    visual: np.ndarray,
    floor_m: float = 0.0,
    threshold: float = -math.inf,
) -> np.ndarray:
    """W = -(max(d_geo, floor) * d_vis), the closer to 0 the more two views go together.

    Args:
        distance_m: d_geo, (..., n, n), any batch axes first.
        visual: d_vis, Euclidean distance of unit descriptors, (..., n, n).
        floor_m: nearer views count as this far apart.
        threshold: tau2; pairs of this affinity and of less are excluded.

    Returns:
        (..., n, n); minus infinity for the diagonal and other excluded pairs.
    """
    weights = -(np.maximum(distance_m, floor_m) * visual)
    weights[~(weights > threshold)] = -np.inf
    diagonal = np.arange(weights.shape[-1])
    weights[..., diagonal, diagonal] = -np.inf
    return weights


def seed_scores(weights: np.ndarray) -> np.ndarray:
    """S(i), the mean affinity of each view with the others that it is not excluded from.

    Args:
        weights: W, (..., n, n).

    Returns:
        (..., n); minus infinity for a view without others.
    """
    kept = np.isfinite(weights)
    count = kept.sum(axis=-1)
    total = np.where(kept, weights, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), -np.inf)


def anchor(weights: np.ndarray) -> np.ndarray:
    """The view v0 = argmax S(i) of each W (..., n, n); (...), integer."""
    return seed_scores(weights).argmax(axis=-1)


def weighted_expansion(weights: np.ndarray, first: np.ndarray, count: int) -> np.ndarray:
    """From an anchor on, add the view of the highest mean affinity with those already taken.

    The sums are carried along, so a step costs O(n).

    Args:
        weights: W, (..., n, n), symmetric, diagonal excluded.
        first: anchors, (...), integer.
        count: k, views in the end, the anchor among them.

    Returns:
        (..., count), integer, in the order of choice; -1 where no view is left that is excluded
        from none of those taken.
    """
    first = np.asarray(first)
    total = np.take_along_axis(weights, first[..., None, None], axis=-2)[..., 0, :].copy()
    taken = np.full((*first.shape, count), -1, np.int64)
    taken[..., 0] = first
    for position in range(1, count):
        best = total.argmax(axis=-1)
        # Sums order like means; those of views already taken hold their diagonal: minus infinity.
        allowed = np.isfinite(np.take_along_axis(total, best[..., None], axis=-1))[..., 0]
        taken[..., position] = np.where(allowed, best, -1)
        total += np.take_along_axis(weights, best[..., None, None], axis=-2)[..., 0, :]
    return taken


def similar_places(
    distance: np.ndarray, count: int, sharpness: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw places without replacement, with weights (d_max - d)^sharpness.

    Each place gets a key and the highest are taken: Efraimidis and Spirakis 2006. Weights are
    used as logarithms, so that no power makes all of them 0.

    Args:
        distance: from the seed to each place, (n,); 0 for the seed and what looks just like it,
            which are never drawn, like the farthest.
        count: P, most places to draw.
        sharpness: 0 draws uniformly, the farthest included.
        rng: of the keys.

    Returns:
        At most `count` positions, integer, the highest key first.
    """
    farthest = distance.max(initial=0.0)
    allowed = np.flatnonzero((distance > 0) & ((distance < farthest) | (sharpness == 0)))
    if not len(allowed):
        return allowed
    races = rng.standard_exponential(len(allowed), np.float32)
    with np.errstate(divide='ignore'):
        keys = -np.log(races)
        if sharpness:
            keys += sharpness * np.log(farthest - distance[allowed])
    best = np.arange(len(keys))
    if count < len(keys):
        best = np.argpartition(-keys, count)[:count]
    return allowed[best[np.argsort(-keys[best], kind='stable')]]


def _pairs(tree: cKDTree, points: np.ndarray, radius_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a point and a node of the tree that are nearer than the radius; unordered."""
    found = cKDTree(points).sparse_distance_matrix(tree, radius_m, output_type='ndarray')
    near = found['v'] < radius_m
    return found['i'][near], found['j'][near]


def _graph(pairs: list[tuple[np.ndarray, np.ndarray]], nodes: int) -> Graph:
    """Lists of neighbours from directed pairs, those of one node all in one part."""
    lists, counts = [], np.zeros(nodes + 1, np.int64)
    for one, other in pairs:
        # One number a pair: several times as fast to sort as two.
        keys = np.sort(one.astype(np.int64) * nodes + other)
        owners = keys // nodes
        fresh = np.flatnonzero(np.diff(owners, prepend=-1))
        counts[owners[fresh] + 1] = np.diff(fresh, append=len(keys))
        lists.append((owners[fresh], fresh, (keys - owners * nodes).astype(np.int32)))
    starts = np.cumsum(counts)
    neighbours = np.empty(int(starts[-1]), np.int32)
    for owners, fresh, others in lists:
        lengths = np.diff(fresh, append=len(others))
        offsets = np.arange(len(others)) - np.repeat(fresh, lengths)
        neighbours[np.repeat(starts[owners], lengths) + offsets] = others
    return Graph(starts, neighbours)
