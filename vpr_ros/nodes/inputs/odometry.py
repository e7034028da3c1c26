"""The last seconds of poses, asked from another thread for the pose at an image's stamp."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque

from vpr_ros.bags.trajectory import Trajectory
from vpr_ros.records import Pose

CAPACITY = 1000  # ten seconds at 100 Hz


class PoseBuffer:
    """Poses in the order of their stamps; the oldest are forgotten."""

    def __init__(self, max_gap_s: float) -> None:
        self._max_gap_s = max_gap_s
        self._poses: deque[tuple[int, Pose]] = deque(maxlen=CAPACITY)
        self._lock = threading.Lock()

    def put(self, stamp_ns: int, pose: Pose) -> None:
        """Append a pose. A clock that jumps back begins anew."""
        with self._lock:
            if self._poses and stamp_ns < self._poses[-1][0]:
                self._poses.clear()
            self._poses.append((stamp_ns, pose))

    def at(self, stamp_ns: int) -> Pose | None:
        """Pose at a stamp, or None where none is near enough.

        Interpolated where a later pose is here already, else the latest one: an image is not kept
        waiting for odometry.
        """
        with self._lock:
            poses = list(self._poses)
        after = bisect_left(poses, stamp_ns, key=_stamp_ns)
        around = poses[max(0, after - 1) : after + 1]
        stamps = [sample_ns for sample_ns, _ in around]
        trajectory = Trajectory.from_samples(
            stamps, [p.position_m for _, p in around], [p.quaternion for _, p in around]
        )
        between = trajectory.at(stamp_ns, self._max_gap_s)
        if between is not None or not around:
            return between
        nearest_ns, nearest = min(around, key=lambda sample: abs(sample[0] - stamp_ns))
        return nearest if abs(nearest_ns - stamp_ns) <= self._max_gap_s * 1e9 else None


def _stamp_ns(sample: tuple[int, Pose]) -> int:
    return sample[0]
