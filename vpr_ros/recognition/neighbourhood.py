"""Which places of a map lie about a given one: those that are no rivals to it.

Columns of numbers are kept beside the places and grow with them, so that one question costs a few
passes over arrays, whatever the map holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vpr_ros.records import Place

NS = 1_000_000_000
NEIGHBOURHOOD_M = 0.0  # by the size of the map
MAP_SHARE, LEAST_M, MOST_M = 0.1, 0.3, 10.0  # a tenth of its diagonal, within these
NEIGHBOURHOOD_S = 5.0  # where a pose is missing


class PlaceArrays:
    """The N places of a map as columns, in row order; appended as places come."""

    def __init__(self, places: Sequence[Place] = ()) -> None:
        self._count = 0
        self._positions_m = np.empty((0, 3))
        self._travelled_m = np.empty(0)
        self._stamps_ns, self._session_id = (np.empty(0, np.int64) for _ in range(2))
        self._low_m, self._high_m = np.full(3, np.inf), np.full(3, -np.inf)
        self.extend(places)

    def __len__(self) -> int:
        return self._count

    @property
    def positions_m(self) -> np.ndarray:
        """(N, 3), float64; nan where a place has no pose."""
        return self._positions_m[: self._count]

    @property
    def travelled_m(self) -> np.ndarray:
        """Path length of the session up to each place, (N,), float64; nan where not known."""
        return self._travelled_m[: self._count]

    @property
    def stamps_ns(self) -> np.ndarray:
        """(N,), int64."""
        return self._stamps_ns[: self._count]

    @property
    def session_id(self) -> np.ndarray:
        """(N,), int64."""
        return self._session_id[: self._count]

    @property
    def posed(self) -> np.ndarray:
        """Which places have a pose, (N,), bool."""
        return ~np.isnan(self.positions_m[:, 0])

    def extend(self, places: Sequence[Place]) -> None:
        """Append places, which become the last rows."""
        if not places:
            return
        first, last = self._count, self._count + len(places)
        self._reserve(last)
        nowhere = (np.nan, np.nan, np.nan)
        self._positions_m[first:last] = [
            nowhere if place.pose is None else place.pose.position_m for place in places
        ]
        self._travelled_m[first:last] = [
            np.nan if place.travelled_m is None else place.travelled_m for place in places
        ]
        self._stamps_ns[first:last] = [place.stamp_ns for place in places]
        self._session_id[first:last] = [place.session_id for place in places]
        self._count = last
        if self.posed[first:].any():
            new = self.positions_m[first:]
            self._low_m = np.fmin(self._low_m, np.nanmin(new, axis=0))
            self._high_m = np.fmax(self._high_m, np.nanmax(new, axis=0))

    @property
    def radius_m(self) -> float:
        """Within which places of this map are neighbours: a room has other ones than a town."""
        diagonal = float(np.linalg.norm(np.maximum(self._high_m - self._low_m, 0.0)))
        return min(MOST_M, max(LEAST_M, MAP_SHARE * diagonal))

    def follow(self, places: Sequence[Place]) -> bool:
        """Take over the rows that `places`, the whole map, has gained.

        Returns:
            Whether it is a map of fewer places than before, from which everything was read anew.
        """
        other = len(places) < self._count
        if other:
            self._count = 0
            self._low_m, self._high_m = np.full(3, np.inf), np.full(3, -np.inf)
        if len(places) > self._count:
            self.extend(places[self._count :])
        return other

    def neighbourhood(
        self,
        row: int,
        distance_m: float = NEIGHBOURHOOD_M,
        apart_s: float = NEIGHBOURHOOD_S,
    ) -> np.ndarray:
        """Places about one of them, itself included, (N,), bool.

        Two places with poses are neighbours by distance; where one of them has none, by time
        within the same session.

        Args:
            row: of the place.
            distance_m: largest distance; 0: that of `radius_m`.
            apart_s: largest time between two places of a session.
        """
        near = self.session_id == self.session_id[row]
        near &= np.abs(self.stamps_ns - self.stamps_ns[row]) <= round(apart_s * NS)
        offset = self.positions_m - self.positions_m[row]
        squared = np.einsum('ij,ij->i', offset, offset)  # nan where one of the two has no pose
        near &= np.isnan(squared)
        near |= squared <= (distance_m or self.radius_m) ** 2
        near[row] = True
        return near

    def _reserve(self, count: int) -> None:
        room = len(self._stamps_ns)
        if count <= room:
            return
        more = max(count, 2 * room)
        for name in ('_positions_m', '_travelled_m', '_stamps_ns', '_session_id'):
            old = getattr(self, name)
            new = np.empty((more, *old.shape[1:]), old.dtype)
            new[: self._count] = old[: self._count]
            setattr(self, name, new)
