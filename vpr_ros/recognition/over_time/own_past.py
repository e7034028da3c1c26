"""The robot's own way so far: which of its places are old and far enough to be met again."""

from __future__ import annotations

from bisect import bisect_right

from vpr_ros.config import DecisionConfig
from vpr_ros.recognition.over_time.agreement import NS
from vpr_ros.records import Place, Pose


class OwnPast:
    """Time, path and places of the session that is being mapped, oldest first."""

    def __init__(self, config: DecisionConfig) -> None:
        """Begin a session; `config` says how much of the recent past is left out."""
        self.config = config
        self._path_m = 0.0
        self._own: list[Place] = []
        self._rows: list[int] = []
        self._last_stamp_ns: int | None = None
        self._last_pose: Pose | None = None

    @property
    def travelled_m(self) -> float | None:
        """Length of the way so far; None where no pose is known."""
        return self._path_m if self._last_pose is not None else None

    def follow(self, stamp_ns: int, pose: Pose | None) -> bool:
        """Take the moment of a query; False where the clock has jumped back."""
        forward = self._last_stamp_ns is None or stamp_ns >= self._last_stamp_ns
        if pose is not None:
            if self._last_pose is not None:
                self._path_m += pose.distance_m(self._last_pose)
            self._last_pose = pose
        self._last_stamp_ns = stamp_ns
        return forward

    def hidden(self, stamp_ns: int) -> list[int]:
        """Rows of the map that may not be matched by a query: the robot's own recent past."""
        newest_ns = stamp_ns - int(self.config.exclude_recent_s * NS)
        count = bisect_right(self._own, newest_ns, key=lambda place: place.stamp_ns)
        if self.config.exclude_recent_m > 0 and self._last_pose is not None:
            furthest_m = self._path_m - self.config.exclude_recent_m
            count = min(count, bisect_right(self._own, furthest_m, key=_travelled_m))
        return self._rows[count:]

    def takes(self, stamp_ns: int) -> bool:
        """Whether a place of this stamp keeps the order of time, which the search relies on."""
        return not self._own or stamp_ns > self._own[-1].stamp_ns

    def add(self, place: Place, row: int) -> None:
        """A query has become a place of the map, in this row."""
        self._own.append(place)
        self._rows.append(row)


def _travelled_m(place: Place) -> float:
    return place.travelled_m or 0.0
