"""The motion in metres from a query with depth to a place without."""

from __future__ import annotations

import cv2
import numpy as np

from vpr_ros.recognition.geometry.motion import Motion, fitted, skew
from vpr_ros.recognition.geometry.rays import Explained, Rays, near, sampson, usac
from vpr_ros.records import PoseKind

FEWEST_DEPTHS = 9  # inliers with depth: fewer have been seen to be wrong by more than a metre
LEAST_M = 0.01  # a shorter translation has no epipolar lines to speak of
DEPTH_M = (0.05, 100.0)  # what a depth camera's reading may be


def pnp(rays: Rays, depth_m: np.ndarray) -> Explained | None:
    """Motion in metres from the query's points in space and their images in the place.

    Matches without depth are judged by their distance from the epipolar lines of that motion, and
    those near them have a say in it: they know less of the translation, but often far more of the
    rotation than the few near points that a depth camera measures.
    """
    with np.errstate(invalid='ignore'):
        known = np.isfinite(depth_m) & (depth_m > DEPTH_M[0]) & (depth_m < DEPTH_M[1])
    if known.sum() < FEWEST_DEPTHS:
        return None
    points = np.where(known, depth_m, 1.0)[:, None] * rays.query
    motion = _from_space(rays, points, known)
    if motion is None:
        return None
    for _ in range(3):
        inlier = known & (np.linalg.norm(_images(rays, points, motion), axis=1) <= rays.error)
        if inlier.sum() < FEWEST_DEPTHS:
            return None
        aside = ~known & _on_lines(rays, motion)
        motion = _metric(rays, points, inlier, aside, motion)
    return Explained('pnp_depth', inlier | (~known & _on_lines(rays, motion)), motion)


def _on_lines(rays: Rays, motion: Motion) -> np.ndarray:
    """Which matches lie near their epipolar lines, (n,) bool; none where nothing moved."""
    if np.linalg.norm(motion.translation) < LEAST_M:
        return np.zeros(len(rays.query), dtype=bool)
    return near(rays, skew(motion.translation) @ motion.rotation)


def _from_space(rays: Rays, points: np.ndarray, known: np.ndarray) -> Motion | None:
    """First guess by P3P within USAC."""
    camera = np.diag((rays.focal, rays.focal, 1.0))
    images = rays.pixels(rays.place)[known]
    try:
        done, _, turn, t, found = cv2.solvePnPRansac(
            np.ascontiguousarray(points[known]), images, camera, None, params=usac(rays.error)
        )
        if not done or found is None or len(found) < FEWEST_DEPTHS:
            return None
        rotation = cv2.Rodrigues(turn)[0]
    except cv2.error:
        return None
    if not (np.isfinite(rotation).all() and np.isfinite(t).all()):
        return None
    rows = np.zeros(len(points), dtype=bool)
    rows[np.flatnonzero(known)[found.ravel()]] = True
    guess = Motion(PoseKind.METRIC, rotation.T, -rotation.T @ t[:, 0], np.eye(6))
    return _metric(rays, points, rows, np.zeros(len(points), dtype=bool), guess)


def _metric(
    rays: Rays, points: np.ndarray, rows: np.ndarray, aside: np.ndarray, guess: Motion
) -> Motion:
    """The motion that fits points in space, `rows`, and epipolar lines of the others, `aside`."""
    place, space = rays.place[rows], points[rows]
    theirs, ours = rays.place[aside], rays.query[aside]

    def residuals(r: np.ndarray, t: np.ndarray) -> np.ndarray:
        errors = _reprojected(space, place, r, t, rays.focal)
        errors = errors.reshape(*errors.shape[:-2], -1)
        if not len(ours):
            return errors
        off_lines = rays.focal * sampson(skew(t) @ r, theirs, ours)
        return np.concatenate([errors, off_lines], axis=-1)

    return fitted(residuals, PoseKind.METRIC, guess.rotation, guess.translation)


def _images(rays: Rays, points: np.ndarray, motion: Motion) -> np.ndarray:
    """Reprojection errors in the place's image, (n, 2), in pixels."""
    return _reprojected(points, rays.place, motion.rotation, motion.translation, rays.focal)


def _reprojected(
    points: np.ndarray, images: np.ndarray, r: np.ndarray, t: np.ndarray, focal: float
) -> np.ndarray:
    """Reprojection errors of motions (..., 3, 3) and (..., 3), (..., n, 2)."""
    seen = (points - t[..., None, :]) @ r
    return focal * (seen[..., :2] / np.maximum(seen[..., 2:], 1e-3) - images[:, :2])
