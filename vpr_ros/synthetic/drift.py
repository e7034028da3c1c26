"""Odometry that drifts, made of true poses; and closures that are wrong, made of right ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.errors import ConfigError
from vpr_ros.records import Pose


@dataclass(frozen=True)
class Wander:
    """How odometry errs; standard deviations. z points up, and roll and pitch stay true.

    White noise grows with the root of the way. Biases last for about `bias_length_m`: they wander
    (Ornstein-Uhlenbeck) instead of averaging out.
    """

    translation_m_per_sqrt_m: float = 0.02
    yaw_rad_per_sqrt_m: float = 0.003
    scale_bias: float = 0.01
    yaw_bias_rad_per_m: float = 4e-4
    bias_length_m: float = 200.0
    vertical_share: float = 0.0  # of the translation's noise; robots on wheels have none


def drifted(poses: Sequence[Pose], wander: Wander | None = None, seed: int = 0) -> list[Pose]:
    """What odometry makes of true poses; the first one is right.

    Args:
        poses: true ones in the order of time.
        wander: its errors.
        seed: of the noise.
    """
    wander, rng = wander or Wander(), np.random.default_rng(seed)
    if not poses:
        return []
    found = [poses[0]]
    scale, yaw = rng.standard_normal(2) * (wander.scale_bias, wander.yaw_bias_rad_per_m)
    for before, after in zip(poses[:-1], poses[1:], strict=True):
        way_m = before.distance_m(after)
        fading = np.exp(-way_m / wander.bias_length_m)
        fresh = np.sqrt(1.0 - fading**2) * rng.standard_normal(2)
        scale = fading * scale + fresh[0] * wander.scale_bias
        yaw = fading * yaw + fresh[1] * wander.yaw_bias_rad_per_m
        turn = yaw * way_m + rng.standard_normal() * wander.yaw_rad_per_sqrt_m * np.sqrt(way_m)
        shake = rng.standard_normal(3) * wander.translation_m_per_sqrt_m * np.sqrt(way_m)
        shake[2] *= wander.vertical_share
        moved = np.subtract(after.position_m, before.position_m) * (1.0 + scale) + shake
        found.append(_stepped(found[-1], before, after, moved, turn))
    return found


def _stepped(last: Pose, before: Pose, after: Pose, moved: np.ndarray, turn: float) -> Pose:
    """The next pose of odometry whose heading has gone wrong already, and by `turn` more."""
    astray = last.rotation() * before.rotation().inv()
    position = np.array(last.position_m) + astray.apply(moved)
    rotation = Rotation.from_rotvec([0.0, 0.0, turn]) * astray * after.rotation()
    x, y, z = position.tolist()
    qx, qy, qz, qw = rotation.as_quat().tolist()
    return Pose((x, y, z), (qx, qy, qz, qw))


def false_pairs(
    pairs: np.ndarray, positions_m: np.ndarray, share: float, seed: int = 0, least_m: float = 20.0
) -> tuple[np.ndarray, np.ndarray]:
    """Replace the older end of some pairs by a place that is somewhere else.

    Args:
        pairs: (C, 2) rows of places, the newer one first.
        positions_m: (N, 3), true ones.
        share: of the pairs to be replaced, in [0, 1].
        seed: which, and by what.
        least_m: a wrong place is this far from the newer end.

    Returns:
        Pairs (C, 2), and which are wrong, (C,) bool.

    Raises:
        ConfigError: the share is none.
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f'expected a share of wrong pairs from 0 to 1, found {share!r}')
    rng, pairs = np.random.default_rng(seed), np.array(pairs).reshape(-1, 2)
    wrong = np.zeros(len(pairs), bool)
    for number in rng.permutation(len(pairs))[: round(share * len(pairs))]:
        newer = pairs[number, 0]
        away = np.linalg.norm(positions_m[:newer] - positions_m[newer], axis=1) > least_m
        if away.any():
            pairs[number, 1] = rng.choice(np.flatnonzero(away))
            wrong[number] = True
    return pairs, wrong
