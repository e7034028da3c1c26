"""Poses over time: cleaned once, then interpolated at the stamp of an image."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.records import Pose, Quaternion


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses of `child_frame_id` in `frame_id` at strictly increasing stamps.

    `stamps_ns` (N,) int64, `positions_m` (N, 3) and unit `quaternions` (N, 4) x, y, z, w float64.
    `notes` are sentences about samples that were put right or left out.
    """

    stamps_ns: np.ndarray
    positions_m: np.ndarray
    quaternions: np.ndarray
    frame_id: str = ''
    child_frame_id: str = ''
    notes: tuple[str, ...] = ()

    @classmethod
    def from_samples(
        cls, stamps_ns: Any, positions_m: Any, quaternions: Any, **about: Any
    ) -> Trajectory:
        """Clean samples in any order: (N,), (N, 3), (N, 4); `about` are the other fields.

        Left out: NaN and infinite values, quaternions of length 0, all but the first of a stamp.
        Put right: the order, the length of quaternions.
        """
        stamps = np.asarray(stamps_ns, np.int64).reshape(-1)
        positions = np.asarray(positions_m, np.float64).reshape(-1, 3)
        quaternions = np.asarray(quaternions, np.float64).reshape(-1, 4)
        with np.errstate(over='ignore', invalid='ignore'):
            lengths = np.linalg.norm(quaternions, axis=1)
        finite = np.isfinite(positions).all(1) & np.isfinite(lengths)
        sound = finite & (lengths > 1e-9)
        order = np.flatnonzero(sound)[np.argsort(stamps[sound], kind='stable')]
        first = np.append(True, np.diff(stamps[order]) > 0)[: len(order)]
        keep = order[first]
        notes = {
            'with NaN or infinite values left out': np.sum(~finite),
            'with a quaternion of length 0 left out': np.sum(finite & ~sound),
            'earlier than the one before, put in order': np.sum(np.diff(stamps[sound]) < 0),
            'with a stamp that was there already left out': np.sum(~first),
            'with a quaternion not of length 1, put right': np.sum(abs(lengths[keep] - 1) > 1e-3),
        }
        about['notes'] = (
            *about.get('notes', ()),
            *(f'{n} of {len(stamps)} poses {what}.' for what, n in notes.items() if n),
        )
        unit = quaternions[keep] / lengths[keep, None]
        return cls(stamps[keep], positions[keep], unit, **about)

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def at(self, stamp_ns: int, max_gap_s: float) -> Pose | None:
        """Pose at a stamp: linear in position, SLERP in rotation, exact at the samples.

        None before the first and after the last sample, and between two that are more than
        `max_gap_s` apart.
        """
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if after < len(self) and self.stamps_ns[after] == stamp_ns:
            return self._sample(after)
        if not 0 < after < len(self):
            return None
        start, end = int(self.stamps_ns[after - 1]), int(self.stamps_ns[after])
        if end - start > max_gap_s * 1e9:
            return None
        part = (stamp_ns - start) / (end - start)
        first, second = self._sample(after - 1), self._sample(after)
        x, y, z = (
            a + part * (b - a) for a, b in zip(first.position_m, second.position_m, strict=True)
        )
        return Pose((x, y, z), slerp(first.quaternion, second.quaternion, part))

    def within(self, stamps_ns: np.ndarray, max_gap_s: float) -> np.ndarray:
        """Tell for each stamp (M,) whether `at` has a pose for it: (M,) bool."""
        if not len(self):
            return np.zeros(len(stamps_ns), bool)
        after = np.searchsorted(self.stamps_ns, stamps_ns).clip(0, len(self) - 1)
        exact = self.stamps_ns[after] == stamps_ns
        before = np.maximum(after - 1, 0)
        inside = (self.stamps_ns[before] < stamps_ns) & (stamps_ns < self.stamps_ns[after])
        near = self.stamps_ns[after] - self.stamps_ns[before] <= max_gap_s * 1e9
        return exact | (inside & near)

    def sampled(self, stamps_ns: np.ndarray) -> tuple[np.ndarray, Rotation]:
        """Positions (M, 3) and rotations at stamps (M,) from the first sample to the last."""
        after = np.searchsorted(self.stamps_ns, stamps_ns).clip(0, len(self) - 1)
        before = np.maximum(after - 1, 0)
        start, end = self.stamps_ns[before], self.stamps_ns[after]
        part = ((stamps_ns - start) / np.maximum(end - start, 1))[:, None]
        first, second = self.positions_m[before], self.positions_m[after]
        turned = Rotation.from_quat(self.quaternions[before])
        turn = turned.inv() * Rotation.from_quat(self.quaternions[after])
        rotations = turned * Rotation.from_rotvec(part * turn.as_rotvec())
        return first + part * (second - first), rotations

    def travelled_m(self, stamp_ns: int) -> float:
        """Length of the path from the first sample to a stamp, noise and gaps included."""
        return float(np.interp(stamp_ns, self.stamps_ns, self._path_m)) if len(self) else 0.0

    @cached_property
    def _path_m(self) -> np.ndarray:
        steps = np.linalg.norm(np.diff(self.positions_m, axis=0), axis=1)
        return np.append(0.0, np.cumsum(steps))

    def _sample(self, index: int) -> Pose:
        x, y, z = self.positions_m[index].tolist()
        qx, qy, qz, qw = self.quaternions[index].tolist()
        return Pose((x, y, z), (qx, qy, qz, qw))


class Samples:
    """Poses as a recording gives them, one by one, in eight numbers of memory each."""

    def __init__(self) -> None:
        self._stamps_ns, self._values = array('q'), array('d')

    def __len__(self) -> int:
        return len(self._stamps_ns)

    def add(self, stamp_ns: int, position: Any, orientation: Any) -> None:
        """Take the x, y, z and the x, y, z, w of messages."""
        p, q = position, orientation
        self._stamps_ns.append(stamp_ns)
        self._values.extend((p.x, p.y, p.z, q.x, q.y, q.z, q.w))

    def trajectory(
        self, frame_id: str, child_frame_id: str, notes: Iterable[str] = ()
    ) -> Trajectory:
        values = np.array(self._values).reshape(-1, 7)
        return Trajectory.from_samples(
            self._stamps_ns,
            values[:, :3],
            values[:, 3:],
            frame_id=frame_id,
            child_frame_id=child_frame_id,
            notes=notes,
        )


def slerp(first: Quaternion, second: Quaternion, part: float) -> Quaternion:
    """Rotation at `part` of the shorter way between two unit quaternions (Shoemake 1985)."""
    cosine = sum(a * b for a, b in zip(first, second, strict=True))
    sign = -1.0 if cosine < 0 else 1.0  # q and -q are the same rotation
    angle = math.acos(min(1.0, abs(cosine)))
    if angle < 1e-4:  # the sines below would divide small by small
        weights = (1 - part, sign * part)
    else:
        weights = (math.sin((1 - part) * angle), sign * math.sin(part * angle))
    mixed = [weights[0] * a + weights[1] * b for a, b in zip(first, second, strict=True)]
    length = math.sqrt(sum(x * x for x in mixed))
    x, y, z, w = (value / length for value in mixed)
    return (x, y, z, w)
