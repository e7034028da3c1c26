"""The last seconds of poses, asked from another thread for the pose at an image's stamp."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque

from vpr_ros.bags.trajectory import slerp
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.records import Pose

KEPT_S = 10.0
CAPACITY = 4000  # poses; at more than 400 Hz less than KEPT_S are kept
JUMP_S = 1.0  # a pose that much older than the one before says that the clock was set back

Sample = tuple[int, Pose]


class PoseBuffer:
    """Poses in the order of their stamps; the oldest are forgotten."""

    def __init__(self, max_gap_s: float) -> None:
        self._max_gap_ns = int(max_gap_s * NS)
        self._poses: deque[Sample] = deque(maxlen=CAPACITY)
        self._lock = threading.Lock()

    def put(self, stamp_ns: int, pose: Pose) -> None:
        """Append a pose; one that comes late is left out. A clock that jumps back begins anew."""
        with self._lock:
            poses = self._poses
            if poses and stamp_ns < poses[-1][0]:
                if poses[-1][0] - stamp_ns < JUMP_S * NS:
                    return
                poses.clear()
            poses.append((stamp_ns, pose))
            while stamp_ns - poses[0][0] > KEPT_S * NS:
                poses.popleft()

    def clear(self) -> None:
        with self._lock:
            self._poses.clear()

    def latest(self) -> Sample | None:
        """Stamp and pose of the newest one."""
        with self._lock:
            return self._poses[-1] if self._poses else None

    def at(self, stamp_ns: int) -> Pose | None:
        """Pose at a stamp, or None where none is near enough.

        Interpolated where a later pose is here already, else the latest one: an image is not kept
        waiting for odometry.
        """
        with self._lock:
            poses = list(self._poses)
        after = bisect_left(poses, stamp_ns, key=_stamp_ns)
        if 0 < after < len(poses):
            before, behind = poses[after - 1], poses[after]
            if behind[0] - before[0] <= self._max_gap_ns:
                return _between(before, behind, stamp_ns)
        around = poses[max(0, after - 1) : after + 1]
        if not around:
            return None
        nearest_ns, nearest = min(around, key=lambda sample: abs(sample[0] - stamp_ns))
        return nearest if abs(nearest_ns - stamp_ns) <= self._max_gap_ns else None


def _between(before: Sample, behind: Sample, stamp_ns: int) -> Pose:
    """Linear in position, SLERP in rotation, exact at the samples."""
    part = (stamp_ns - before[0]) / (behind[0] - before[0])
    if part == 1.0:
        return behind[1]
    first, second = before[1], behind[1]
    x, y, z = (
        a + part * (b - a) for a, b in zip(first.position_m, second.position_m, strict=True)
    )
    return Pose((x, y, z), slerp(first.quaternion, second.quaternion, part))


def _stamp_ns(sample: Sample) -> int:
    return sample[0]
