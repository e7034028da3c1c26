"""The motion between two cameras by least squares, how well it is known, and that of their bases.

A motion takes points from the place's optical frame to the query's: `x_q = R x_p + t`. A small
change (dt, dw) of it is `R <- exp(dw) R, t <- t + dt`, both in the query's optical frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.records import Pose, PoseKind, RelativePose

UNKNOWN_M = 100.0  # standard deviation of a translation that was not measured
UNKNOWN_RAD = np.pi
NOISE_PX = 0.3  # keypoints are not better than this, however well a motion fits a few of them
FLOOR_RAD, FLOOR_M = 1e-3, 5e-3  # calibrations are not better than these
ROUNDS, STEP, DAMPING, LEAST_DAMPING = 12, 1e-6, 1e-3, 1e-9
INFLATION = 2.0  # of sigma: on EuRoC's real images residuals alone promise 1.7 times too much
TAIL = 2.0  # residuals beyond so many standard deviations count for less and less

State = tuple[np.ndarray, np.ndarray]  # rotation (3, 3) and translation (3,)
# (R, t), (..., 3, 3) and (..., 3), to (..., n) in pixels: of many motions in one call
Residuals = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Motion:
    """The place's optical frame in the query's, and its covariance (6, 6): translation first."""

    kind: PoseKind  # ROTATION_ONLY: t is zero; UP_TO_SCALE: t is of length one; or METRIC
    rotation: np.ndarray  # (3, 3)
    translation: np.ndarray  # (3,)
    covariance: np.ndarray = field(repr=False)


def fitted(
    residuals: Residuals, kind: PoseKind, rotation: np.ndarray, translation: np.ndarray
) -> Motion:
    """Levenberg-Marquardt with Cauchy's loss from a first guess, and the covariance there.

    This is `sigma^2 (J^T J)^-1` with sigma from the residuals, at least NOISE_PX, times
    INFLATION; what the data leave open is as wide as UNKNOWN_M and UNKNOWN_RAD.

    Args:
        residuals: of rotations (..., 3, 3) and translations (..., 3), in pixels, (..., n).
        kind: what is varied: the rotation, and the direction of t or all of it.
        rotation: first guess.
        translation: first guess; ignored for ROTATION_ONLY, made of length one for UP_TO_SCALE.
    """
    state = (rotation, _normal(kind, translation))
    for _ in range(2):  # the second time with the width that the first fit shows
        robust = _robust(residuals, state)
        state = _descended(robust, kind, state)
    free = _free(kind, state[1])
    errors, jacobian = _linear(robust, state, free, kind)
    variance = max(NOISE_PX**2, float(errors @ errors) / max(1, len(errors) - free.shape[1]))
    variance *= INFLATION**2
    return Motion(kind, *state, _covariance(kind, jacobian, variance, free, state[1]))


def _robust(residuals: Residuals, state: State) -> Residuals:
    """Residuals whose squares are Cauchy's loss, its width from their median."""
    width = TAIL * max(NOISE_PX, 1.4826 * float(np.median(np.abs(residuals(*state)))))

    def robust(r: np.ndarray, t: np.ndarray) -> np.ndarray:
        plain = residuals(r, t)
        return width * np.sign(plain) * np.sqrt(np.log1p((plain / width) ** 2))

    return robust


def _descended(residuals: Residuals, kind: PoseKind, state: State) -> State:
    damping = DAMPING
    for _ in range(ROUNDS):
        free = _free(kind, state[1])
        errors, jacobian = _linear(residuals, state, free, kind)
        normal = jacobian.T @ jacobian
        damped = normal + damping * np.diag(np.diag(normal) + 1e-9)
        step = free @ np.linalg.solve(damped, -jacobian.T @ errors)
        trial = _moved(state, step, kind)
        new = residuals(*trial)
        before, after = float(errors @ errors), float(new @ new)
        if not after < before:
            damping *= 10.0
            continue
        state, damping = trial, max(LEAST_DAMPING, damping * 0.1)
        if before - after < 1e-6 * before:
            break
    return state


def _covariance(
    kind: PoseKind, jacobian: np.ndarray, variance: float, free: np.ndarray, t: np.ndarray
) -> np.ndarray:
    """Covariance (6, 6) of the free directions, wide in the others, symmetric and positive."""
    prior = np.full(free.shape[1], UNKNOWN_RAD**-2)
    if kind is PoseKind.METRIC:
        prior[:3] = UNKNOWN_M**-2
    known = np.linalg.inv(jacobian.T @ jacobian / variance + np.diag(prior))
    covariance = free @ known @ free.T
    if kind is PoseKind.UP_TO_SCALE:
        covariance[:3, :3] += UNKNOWN_M**2 * np.outer(t, t)
    if kind is PoseKind.ROTATION_ONLY:
        covariance[:3, :3] += UNKNOWN_M**2 * np.eye(3)
    floors = np.repeat((FLOOR_M**2, FLOOR_RAD**2), 3)
    return (covariance + covariance.T) / 2 + np.diag(floors)


def _free(kind: PoseKind, t: np.ndarray) -> np.ndarray:
    """The changes (6, k) of a motion that the data can speak of."""
    if kind is PoseKind.METRIC:
        return np.eye(6)
    turns = np.eye(6)[:, 3:]
    if kind is PoseKind.ROTATION_ONLY:
        return turns
    across = np.zeros((6, 2))
    across[:3] = np.linalg.svd(t[None])[2][1:].T  # the two directions across t
    return np.hstack([across, turns])


def _linear(
    residuals: Residuals, state: State, free: np.ndarray, kind: PoseKind
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (n,), and their forward differences along the free directions, (n, k)."""
    steps = np.vstack([np.zeros(6), STEP * free.T])
    here, *there = residuals(*_moved(state, steps, kind))
    return here, (np.stack(there, axis=1) - here[:, None]) / STEP


def _moved(state: State, step: np.ndarray, kind: PoseKind) -> State:
    """A motion changed by one step (6,) or by several (k, 6)."""
    turned = Rotation.from_rotvec(step[..., 3:]).as_matrix() @ state[0]
    return turned, _normal(kind, state[1] + step[..., :3])


def _normal(kind: PoseKind, t: np.ndarray) -> np.ndarray:
    if kind is PoseKind.ROTATION_ONLY:
        return np.zeros_like(t)
    if kind is PoseKind.UP_TO_SCALE:
        return t / np.linalg.norm(t, axis=-1, keepdims=True)
    return t


def relative_pose(motion: Motion, query_base: Pose, place_base: Pose) -> RelativePose:
    """The place's base in the query's, from the motion of the cameras mounted on them.

    Up to scale it is the translation of the *cameras* that is one metre long; the line of all
    scales is that along which the covariance is wide, also where the cameras are off their bases.

    Args:
        motion: of the cameras.
        query_base: the query camera's optical frame in its base.
        place_base: the place camera's optical frame in its base.
    """
    mounted = query_base.rotation().as_matrix()
    base_in_place = place_base.inverse()
    cameras = np.eye(4)
    cameras[:3, :3], cameras[:3, 3] = motion.rotation, motion.translation
    matrix = query_base.matrix() @ cameras @ base_in_place.matrix()
    lever = skew(motion.rotation @ np.asarray(base_in_place.position_m))
    jacobian = np.zeros((6, 6))  # of the bases' (dt, dw) by the cameras'
    jacobian[:3, :3] = jacobian[3:, 3:] = mounted
    jacobian[:3, 3:] = -mounted @ lever
    covariance = jacobian @ motion.covariance @ jacobian.T
    return RelativePose(motion.kind, Pose.from_matrix(matrix), (covariance + covariance.T) / 2)


def skew(v: np.ndarray) -> np.ndarray:
    """The matrices (..., 3, 3) of the cross products with v (..., 3)."""
    x, y, z = np.moveaxis(v, -1, 0)
    o = np.zeros_like(x)
    return np.stack([o, -z, y, z, o, -x, -y, x, o], axis=-1).reshape(*x.shape, 3, 3)
