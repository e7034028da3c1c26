"""Whether a place can follow the last one: no robot moves further than its odometry says."""

from __future__ import annotations

import math

from vpr_ros.records import Place


class Plausibility:
    """Remembers the last accepted place and how far the robot had come then."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget it: after a jump in time, or when the robot was carried off."""
        self._place: Place | None = None
        self._travelled_m = 0.0

    def excess_m(self, place: Place, travelled_m: float | None) -> float:
        """How much further a place lies from the last accepted one than the robot has moved.

        Args:
            place: that the query resembles.
            travelled_m: length of the robot's way so far; None: not known.

        Returns:
            Metres, negative where there is no contradiction; nan where it cannot be told.
        """
        last = self._place
        if last is None or last.pose is None or place.pose is None or travelled_m is None:
            return math.nan
        return last.pose.distance_m(place.pose) - (travelled_m - self._travelled_m)

    def accept(self, place: Place, travelled_m: float | None) -> None:
        """A query was accepted at a place."""
        self._place = None if travelled_m is None else place
        self._travelled_m = travelled_m or 0.0
