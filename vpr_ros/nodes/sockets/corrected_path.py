"""A path by odometry, bent so that it passes through corrected keyframes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.records import Pose


def rows(poses: Sequence[Pose]) -> np.ndarray:
    """(n, 7): x, y, z and quaternion."""
    return np.array([(*p.position_m, *p.quaternion) for p in poses]).reshape(-1, 7)


def as_poses(table: np.ndarray) -> list[Pose]:
    """The inverse of `rows`."""
    return [Pose((x, y, z), (a, b, c, d)) for x, y, z, a, b, c, d in table.tolist()]


def bent(
    knots: tuple[np.ndarray, np.ndarray],
    anchors: np.ndarray,
    odometry: np.ndarray,
    corrected: np.ndarray,
) -> np.ndarray:
    """Correct a path: between two keyframes, both say where a knot is, and the nearer one more.

    Nearness counts knots, not seconds: while the robot stands, so does the path.

    Args:
        knots: stamps (n,) int64, and poses (n, 7) in the frame of odometry.
        anchors: stamps of the keyframes, (m,) int64, none of them newer than the last knot.
        odometry: poses of the keyframes in the frame of odometry, (m, 7).
        corrected: their poses in the map, (m, 7).

    Returns:
        (n, 7), in the map.
    """
    stamps, poses = knots
    number = np.interp(anchors, stamps, np.arange(len(stamps)))
    before = np.clip(np.searchsorted(anchors, stamps, 'right') - 1, 0, None)
    after = np.minimum(before + 1, len(anchors) - 1)
    span = np.maximum(number[after] - number[before], 1e-9)
    part = np.clip((np.arange(len(stamps)) - number[before]) / span, 0.0, 1.0)
    part[after == before] = 0.0
    first_xyz, first = _carried(poses, odometry[before], corrected[before])
    second_xyz, second = _carried(poses, odometry[after], corrected[after])
    xyz = first_xyz + part[:, None] * (second_xyz - first_xyz)
    turn = (first.inv() * second).as_rotvec() * part[:, None]
    return np.concatenate((xyz, (first * Rotation.from_rotvec(turn)).as_quat()), axis=1)


def _carried(
    poses: np.ndarray, odometry: np.ndarray, corrected: np.ndarray
) -> tuple[np.ndarray, Rotation]:
    """Where poses are when each is fixed to its keyframe: (n, 3), and n rotations."""
    back, turned = Rotation.from_quat(odometry[:, 3:]).inv(), Rotation.from_quat(corrected[:, 3:])
    xyz = turned.apply(back.apply(poses[:, :3] - odometry[:, :3])) + corrected[:, :3]
    return xyz, turned * back * Rotation.from_quat(poses[:, 3:])
