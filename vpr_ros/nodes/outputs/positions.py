"""Where the places of a map are, as arrays; a growing map is not read from its beginning again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.records import Place


class Positions:
    """Places with a finite pose, in the order of the map.

    `rows` (n,) int64 are their numbers among `places`, `xyz` (n, 3) float64 metres, `sessions`
    (n,) int64. `centre` (3,) is the middle of the box around them, `extent_m` its diagonal seen
    from above; both are 0 without places. `version` is another one after every change.
    """

    def __init__(self) -> None:
        self.version = 0
        self._uuid = ''
        self._forget()

    def look(self, place_map: PlaceMap) -> None:
        """Read what was added, or everything when it is another map or places are gone."""
        places = place_map.places
        # Ids rise, so that the last one read stays in its place unless something was removed.
        kept = len(places) >= self.seen and (
            not self.seen or places[self.seen - 1].id == self._last_id
        )
        if not kept or self._uuid != place_map.info.uuid:
            self._uuid = place_map.info.uuid
            self._forget()
        if len(places) > self.seen:
            self._append(places[self.seen :])

    def _forget(self) -> None:
        self.version += 1
        self.seen, self._last_id = 0, 0
        self.rows = np.empty(0, np.int64)
        self.xyz = np.empty((0, 3))
        self.sessions = np.empty(0, np.int64)
        self.centre, self.extent_m = np.zeros(3), 0.0

    def _append(self, places: Sequence[Place]) -> None:
        posed = [(k, p.pose.position_m, p.session_id) for k, p in enumerate(places) if p.pose]
        if posed:
            rows, xyz, sessions = zip(*posed, strict=True)
            points = np.array(xyz, np.float64)
            fine = np.isfinite(points).all(axis=1)
            self.rows = np.concatenate((self.rows, np.array(rows)[fine] + self.seen))
            self.xyz = np.concatenate((self.xyz, points[fine]))
            self.sessions = np.concatenate((self.sessions, np.array(sessions)[fine]))
        if len(self.xyz):
            low, high = self.xyz.min(axis=0), self.xyz.max(axis=0)
            self.centre, self.extent_m = (low + high) / 2, float(np.hypot(*(high - low)[:2]))
        self.version += 1
        self.seen += len(places)
        self._last_id = places[-1].id
