"""The simple temporal rule: queries in a row whose best places lie together."""

from __future__ import annotations

from vpr_ros.config import DecisionConfig
from vpr_ros.records import Place

NS = 1_000_000_000


class Agreement:
    """Count queries in a row whose best places lie together.

    Look-alike places rarely deceive several views in a row. Queries that follow each other closer
    than `consistent_spacing_s` see the same thing and count once.
    """

    def __init__(self, config: DecisionConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forget the run; after a jump in time or a query that was refused."""
        self.count = 0
        self._place: Place | None = None
        self._stamp_ns = 0  # of the last query that was counted

    def update(self, stamp_ns: int, place: Place, repeated: bool = False) -> int:
        """Take the best place of a query and return the length of the run, 1 at least.

        A `repeated` image is no new evidence: it neither ends the run nor adds to it.
        """
        elapsed_s = (stamp_ns - self._stamp_ns) / NS
        if self._place is None or not self._agree(elapsed_s, place):
            self.count, self._stamp_ns = 1, stamp_ns
        elif not repeated and elapsed_s >= self.config.consistent_spacing_s:
            self.count, self._stamp_ns = self.count + 1, stamp_ns
        self._place = place
        return self.count

    def _agree(self, elapsed_s: float, place: Place) -> bool:
        last = self._place
        assert last is not None
        if not 0.0 <= elapsed_s <= self.config.consistent_gap_s:
            return False
        if last.pose is not None and place.pose is not None:
            return last.pose.distance_m(place.pose) <= self.config.consistent_distance_m
        apart_s = abs(last.stamp_ns - place.stamp_ns) / NS
        return last.session_id == place.session_id and apart_s <= self.config.consistent_gap_s
