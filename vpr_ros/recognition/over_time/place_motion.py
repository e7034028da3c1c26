"""How belief moves over the places of a map between two queries.

Exact convolution needs every pair of places. Here only the places that stand out move, a bounded
number of them, and what lies about evenly stays: it would look the same afterwards. Where they may
move to is looked up in a tree of positions, or in the order of a session.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from vpr_ros.recognition.neighbourhood import NS, PlaceArrays

MOST_MOVED = 256  # places whose belief is moved; the others' stays
REGROW = 1.1  # the tree is planted again when the map has grown by this factor
REACH = 2.5  # standard deviations at which a motion is cut off
LEAST_KERNEL = 0.05  # below this in sum no place lies where the motion leads
SPEEDUP = 3.0  # a robot is at most this much faster than the one that mapped
SPACINGS = 1.0  # of neighbouring places that a motion is uncertain by, where nothing is set
MOST_SIGMA_M = 0.5  # and no more than this, also where places have no neighbours with poses
SESSION_SPAN_S = 1e8  # between sessions on one axis of time: farther than any motion


class PlaceMotion:
    """Moves belief over the places of a growing map."""

    def __init__(self, places: PlaceArrays, sigma_m: float, share: float) -> None:
        """Bind the places.

        Args:
            places: columns of the map; may grow.
            sigma_m: standard deviation of a motion; 0: the distance of neighbouring places of a
                session, its median, and at most MOST_SIGMA_M.
            share: and this share of the motion itself.
        """
        self.places = places
        self.share, self._given_m = share, sigma_m
        self.forget()

    def forget(self) -> None:
        """Read the places anew; the map is another one."""
        self.sigma_m = self._given_m or MOST_SIGMA_M
        self.spacing_m, self.spacing_s = self.sigma_m, 0.0
        self._rows = np.empty(0, np.int64)  # with a pose, those of the tree
        self._tree: cKDTree | None = None
        self._planted = self._ordered = 0
        self._order, self._times_s = np.empty(0, np.int64), np.empty(0)

    def by_distance(self, belief: np.ndarray, moved_m: float, elapsed_s: float) -> np.ndarray:
        """Belief after a motion of known length in an unknown direction.

        Places without a pose move in the order of their session.

        Args:
            belief: (N,).
            moved_m: length of the motion.
            elapsed_s: time that it took.

        Returns:
            (N,); its sum is smaller where a motion leads off the map.
        """
        self._grow()
        active = self._outstanding(belief)
        posed = active[self.places.posed[active]]
        after = self.by_time(belief, elapsed_s, np.setdiff1d(active, posed))
        if not len(posed):
            return after
        after[posed] -= belief[posed]
        sigma_m = np.hypot(self.sigma_m, self.spacing_m / 2) + self.share * moved_m
        source, target, length = self._pairs(posed, moved_m + REACH * sigma_m)
        kernel = np.exp(-0.5 * ((length - moved_m) / sigma_m) ** 2)
        total = np.bincount(source, kernel, len(posed))
        scale = np.where(total > LEAST_KERNEL, belief[posed] / np.maximum(total, 1e-12), 0.0)
        return after + np.bincount(target, kernel * scale[source], len(belief))

    def by_time(
        self, belief: np.ndarray, elapsed_s: float, active: np.ndarray | None = None
    ) -> np.ndarray:
        """Belief after a motion of unknown length along the sessions, either way or none.

        Args:
            belief: (N,).
            elapsed_s: time that it took.
            active: rows to move; None: those that stand out.

        Returns:
            (N,).
        """
        self._grow()
        active = self._outstanding(belief) if active is None else active
        after = belief.copy()
        if not len(active):
            return after
        after[active] = 0.0
        reach_s = SPEEDUP * elapsed_s + self.spacing_s
        centre = self._times_s[self._position[active]]
        first = np.searchsorted(self._times_s, centre - reach_s, 'left')
        last = np.searchsorted(self._times_s, centre + reach_s, 'right')
        share = belief[active] / (last - first)
        edges = np.bincount(first, share, len(belief) + 1)
        edges -= np.bincount(last, share, len(belief) + 1)
        after[self._order] += np.maximum(np.cumsum(edges[:-1]), 0.0)
        return after

    def _outstanding(self, belief: np.ndarray) -> np.ndarray:
        """Rows with more than twice their even share, the heaviest ones; of few rows, all."""
        even = belief.sum() / len(belief) if len(belief) > MOST_MOVED else 0.0
        rows = np.flatnonzero(belief > 2.0 * even)
        if len(rows) > MOST_MOVED:
            rows = rows[np.argpartition(belief[rows], -MOST_MOVED)[-MOST_MOVED:]]
        return rows

    def _pairs(self, rows: np.ndarray, reach_m: float) -> tuple[np.ndarray, ...]:
        """Index into `rows`, row reached, and distance of every pair within reach."""
        positions = self.places.positions_m
        sources, found = cKDTree(positions[rows]), []
        late = np.arange(self._planted, len(self.places))
        late = late[self.places.posed[late]]
        for tree, targets in ((self._tree, self._rows), (None, late)):
            if len(targets):
                others = cKDTree(positions[targets]) if tree is None else tree
                pairs = sources.sparse_distance_matrix(others, reach_m, output_type='ndarray')
                found.append((pairs['i'], targets[pairs['j']], pairs['v']))
        source, target, length = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return source, target, length

    def _grow(self) -> None:
        count = len(self.places)
        if count == self._ordered:
            return
        self._ordered = count
        self._put_in_order()
        if count <= REGROW * self._planted:
            return
        self._planted = count
        self._rows = np.flatnonzero(self.places.posed)
        positions = self.places.positions_m[self._rows]
        self._tree = cKDTree(positions) if len(positions) else None
        step_m = self._median_step(positions)
        self.sigma_m = self._given_m or min(MOST_SIGMA_M, SPACINGS * step_m or MOST_SIGMA_M)
        self.spacing_m = max(self.sigma_m, step_m)

    def _put_in_order(self) -> None:
        """All places on one axis of time, session after session, far apart from each other."""
        stamps_ns, session = self.places.stamps_ns, self.places.session_id
        _, rank = np.unique(session, return_inverse=True)
        start_ns = np.full(rank.max() + 1, np.iinfo(np.int64).max)
        np.minimum.at(start_ns, rank, stamps_ns)
        times_s = (stamps_ns - start_ns[rank]) / NS + rank * SESSION_SPAN_S
        self._order = np.argsort(times_s, kind='stable')
        self._times_s = times_s[self._order]
        self._position = np.empty(len(times_s), np.int64)
        self._position[self._order] = np.arange(len(times_s))
        steps_s = np.diff(self._times_s)
        steps_s = steps_s[steps_s < SESSION_SPAN_S / 2]
        self.spacing_s = float(np.median(steps_s)) if len(steps_s) else 0.0

    def _median_step(self, positions: np.ndarray) -> float:
        same = np.diff(self.places.session_id[self._rows]) == 0
        steps_m = np.linalg.norm(np.diff(positions, axis=0), axis=1)[same]
        return float(np.median(steps_m)) if len(steps_m) else 0.0
