"""The motion between two calibrated images: rotation and direction, or rotation alone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from vpr_ros.recognition.geometry.motion import Motion, fitted, skew
from vpr_ros.recognition.geometry.rays import FEWEST, Explained, Rays, near, sampson, usac
from vpr_ros.records import PoseKind

PARALLAX_SHARE = 0.2  # of the inliers that a rotation must not explain, for a direction
PARALLAX = 2.0  # times the largest error: what is told from noise, and from behind
ROTATION_ROUNDS = 2
ALIGNMENTS = 4  # rounds of which each leaves out the worst of the one before
HOPELESS = 2.0  # times as much parallax in a first guess as a rotation may leave
EVERY = slice(None)


def essential(rays: Rays) -> Explained | None:
    """The motion that explains most matches up to scale; None where there is none."""
    camera = np.diag((rays.focal, rays.focal, 1.0))
    theirs, ours = rays.pixels(rays.place), rays.pixels(rays.query)
    try:
        matrix, _ = cv2.findEssentialMat(
            theirs, ours, camera, camera, None, None, usac(rays.error)
        )
        if matrix is None or matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            return _unmoved(rays)
        rotations = cv2.decomposeEssentialMat(matrix)
    except cv2.error:
        return None
    inlier = near(rays, matrix)
    if inlier.sum() < FEWEST:
        return None
    state = _facing(rays, inlier, *rotations)
    for _ in range(2):
        motion = _direction(rays, inlier, *state)
        state = motion.rotation, motion.translation
        inlier = near(rays, skew(motion.translation) @ motion.rotation) & ~_behind(rays, *state)
        if inlier.sum() < FEWEST:
            return None
    return Explained('essential', inlier, _turned(rays, inlier) or motion)


def _unmoved(rays: Rays) -> Explained | None:
    """A rotation alone: of images that are equal to the last bit OpenCV finds no matrix."""
    inlier = np.ones(len(rays.query), dtype=bool)
    guess = _aligned(rays, inlier)
    inlier = np.linalg.norm(_turning(rays, guess), axis=1) <= rays.error
    if inlier.sum() < FEWEST:
        return None
    return Explained('essential', inlier, _rotation(rays, inlier, guess))


def _facing(
    rays: Rays, inlier: np.ndarray, one: np.ndarray, other: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of an essential matrix's four motions that with most inliers ahead of both cameras."""
    motions = [(r, sign * t[:, 0]) for r in (one, other) for sign in (1.0, -1.0)]
    return min(motions, key=lambda motion: _behind(rays, *motion)[inlier].sum())


def _behind(rays: Rays, rotation: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Matches whose point in space lies behind a camera, (n,); not those too far to tell."""
    seen = rays.place @ rotation.T
    across = np.cross(rays.query, seen)
    far = rays.focal * np.linalg.norm(across, axis=1) <= PARALLAX * rays.error
    depths = [(np.cross(side, t) * across).sum(axis=1) for side in (rays.query, seen)]
    return ~far & (np.maximum(*depths) >= 0.0)  # both are depths times a negative number


def _direction(rays: Rays, inlier: np.ndarray, rotation: np.ndarray, t: np.ndarray) -> Motion:
    """Rotation and direction of the translation by the Sampson distances of inliers."""
    place, query = rays.place[inlier], rays.query[inlier]
    return fitted(
        lambda r, t: rays.focal * sampson(skew(t) @ r, place, query),
        PoseKind.UP_TO_SCALE, rotation, t,
    )  # fmt: skip


def _turned(rays: Rays, inlier: np.ndarray) -> Motion | None:
    """The motion as a rotation alone, where the inliers show too little parallax for more.

    Noise alone gives an essential matrix a direction, and a small variance, too: what counts is
    how many of its inliers a rotation explains as well.
    """
    guess = _aligned(rays, inlier)
    if _apart(rays, inlier, guess) > HOPELESS * PARALLAX_SHARE * inlier.sum():
        return None
    motion, apart = _rotated(rays, inlier, guess)
    return motion if apart <= max(1.0, PARALLAX_SHARE * inlier.sum()) else None


def _aligned(rays: Rays, inlier: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) that best takes the place's rays to the query's, the worst left out."""
    ours, theirs = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rays.query, rays.place))
    rows = inlier
    for _ in range(ALIGNMENTS):
        left, _, right = np.linalg.svd(ours[rows].T @ theirs[rows])
        rotation = left @ np.diag((1.0, 1.0, np.linalg.det(left @ right))) @ right
        left_over = np.linalg.norm(_turning(rays, rotation), axis=1)
        rows = inlier & (left_over <= np.quantile(left_over[inlier], 1.0 - PARALLAX_SHARE))
    return rotation


def _apart(rays: Rays, inlier: np.ndarray, rotation: np.ndarray) -> int:
    """How many inliers show parallax: a rotation does not explain them."""
    far = np.linalg.norm(_turning(rays, rotation), axis=1) > PARALLAX * rays.error
    return int((inlier & far).sum())


def _rotated(rays: Rays, inlier: np.ndarray, rotation: np.ndarray) -> tuple[Motion, int]:
    """The rotation near a first guess, and how many of the inliers it does not explain."""
    rows = inlier
    for _ in range(ROTATION_ROUNDS):
        motion = _rotation(rays, rows, rotation)
        rotation = motion.rotation
        close = inlier & (np.linalg.norm(_turning(rays, rotation), axis=1) <= rays.error)
        if close.sum() < FEWEST:
            break
        rows = close
    return motion, _apart(rays, inlier, rotation)


def _rotation(rays: Rays, rows: np.ndarray, rotation: np.ndarray) -> Motion:
    """Least squares; the parallax that is not told from it is an error that all points share."""
    motion = fitted(
        lambda r, _: _turning(rays, r, rows).reshape(*r.shape[:-2], -1),
        PoseKind.ROTATION_ONLY, rotation, np.zeros(3),
    )  # fmt: skip
    covariance = motion.covariance.copy()
    covariance[3:, 3:] += np.eye(3) * (PARALLAX * rays.error / rays.focal) ** 2 / 3
    return replace(motion, covariance=covariance)


def _turning(rays: Rays, rotation: np.ndarray, rows: slice | np.ndarray = EVERY) -> np.ndarray:
    """What rotations (..., 3, 3) leave of matches, (..., n, 2), in pixels."""
    turned = rays.place[rows] @ np.swapaxes(rotation, -1, -2)
    ahead = np.maximum(turned[..., 2:], 1e-3)
    return rays.focal * (turned[..., :2] / ahead - rays.query[rows, :2])
