"""The way of one drive by odometry, asked for the pose at the stamp of any image of it."""

from __future__ import annotations

import math
import threading

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.records import Pose

KNOT_M, KNOT_RAD = 0.25, 0.1  # between two poses that are kept
STILL_M, STILL_RAD = 0.01, 0.005  # less than this the robot stands
ROOM = 1024  # knots, at first
KNOT_NS = NS  # a robot that creeps is kept once a second


class OdometryTrack:
    """Knots of a path: stamps (n,) int64 and poses (n, 7), and the newest pose of all.

    While the robot stands, two knots are enough: when it began, and the newest. When `limit` knots
    are there, every second one of the older half is dropped. One thread writes, others may ask.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        with self._lock:
            room = min(self._limit, ROOM)
            self._stamps, self._poses = np.empty(room, np.int64), np.empty((room, 7))
            self._count = 0  # with the newest pose, which is the last row and no knot yet

    def __len__(self) -> int:
        return self._count

    def put(self, stamp_ns: int, pose: Pose) -> None:
        """Append a pose; its stamp is later than all before."""
        with self._lock:
            if self._count >= 2 and not self._is_knot(stamp_ns, pose):
                self._count -= 1  # the newest before this one lay between
            if self._count == len(self._stamps):
                self._make_room()
            self._stamps[self._count] = stamp_ns
            self._poses[self._count] = (*pose.position_m, *pose.quaternion)
            self._count += 1

    def newest_ns(self) -> int | None:
        with self._lock:
            return int(self._stamps[self._count - 1]) if self._count else None

    def newest(self) -> Pose | None:
        with self._lock:
            return as_pose(self._poses[self._count - 1]) if self._count else None

    def oldest_ns(self) -> int | None:
        with self._lock:
            return int(self._stamps[0]) if self._count else None

    def at(self, stamp_ns: int) -> Pose | None:
        """Interpolated pose; None outside of what is kept."""
        with self._lock:
            stamps = self._stamps[: self._count]
            after = int(np.searchsorted(stamps, stamp_ns))
            if after == self._count or (after == 0 and stamps[0] != stamp_ns):
                return None
            rows = self._poses[max(0, after - 1) : after + 1].copy()
            times = stamps[max(0, after - 1) : after + 1].copy()
        if times[-1] == stamp_ns:
            return as_pose(rows[-1])
        part = (stamp_ns - times[0]) / (times[1] - times[0])
        turn = Slerp([0.0, 1.0], Rotation.from_quat(rows[:, 3:]))(part).as_quat()
        x, y, z = ((1.0 - part) * rows[0, :3] + part * rows[1, :3]).tolist()
        return Pose((x, y, z), tuple(turn.tolist()))

    def knots(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies of stamps (n,) and poses (n, 7)."""
        with self._lock:
            return self._stamps[: self._count].copy(), self._poses[: self._count].copy()

    def _is_knot(self, stamp_ns: int, pose: Pose) -> bool:
        """Whether the newest pose stays: seen from the knot before, the new one is far away."""
        last = self._poses[self._count - 2]
        moved_m = math.dist(last[:3], pose.position_m)
        dot = min(1.0, abs(float(np.dot(last[3:], pose.quaternion))))
        turned = 2.0 * math.acos(dot)
        if moved_m >= KNOT_M or turned >= KNOT_RAD:
            return True
        still = moved_m < STILL_M and turned < STILL_RAD
        return not still and stamp_ns - self._stamps[self._count - 2] >= KNOT_NS

    def _make_room(self) -> None:
        if self._count < self._limit:
            room = min(self._limit, 2 * len(self._stamps))
            self._stamps = np.resize(self._stamps, room)
            self._poses = np.resize(self._poses, (room, 7))
            return
        older = self._count // 2
        keep = np.r_[0:older:2, older : self._count]
        self._stamps[: len(keep)] = self._stamps[keep]
        self._poses[: len(keep)] = self._poses[keep]
        self._count = len(keep)


def as_pose(row: np.ndarray) -> Pose:
    """Of (7,): x, y, z and quaternion."""
    x, y, z, *quaternion = row.tolist()
    return Pose((x, y, z), tuple(quaternion))
