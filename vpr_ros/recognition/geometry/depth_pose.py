"""The motion in metres from a query with depth to a place without."""

from __future__ import annotations

import cv2
import numpy as np

from vpr_ros.recognition.geometry.motion import Motion, fitted, skew
from vpr_ros.recognition.geometry.rays import Explained, Rays, near, usac
from vpr_ros.records import PoseKind

FEWEST_DEPTHS = 6  # matches with depth that are worth a motion
DEPTH_M = (0.05, 100.0)  # what a depth camera's reading may be


def pnp(rays: Rays, depth_m: np.ndarray) -> Explained | None:
    """Motion in metres from the query's points in space and their images in the place.

    Matches without depth are judged by their distance from the epipolar lines of that motion.
    """
    with np.errstate(invalid='ignore'):
        known = np.isfinite(depth_m) & (depth_m > DEPTH_M[0]) & (depth_m < DEPTH_M[1])
    if known.sum() < FEWEST_DEPTHS:
        return None
    points = np.where(known, depth_m, 1.0)[:, None] * rays.query
    motion = _from_space(rays, points, known)
    if motion is None:
        return None
    for _ in range(2):
        inlier = known & (np.linalg.norm(_images(rays, points, motion), axis=1) <= rays.error)
        if inlier.sum() < FEWEST_DEPTHS:
            return None
        motion = _metric(rays, points, inlier, motion.rotation, motion.translation)
    matrix = skew(motion.translation) @ motion.rotation
    if np.linalg.norm(motion.translation) > 1e-6:
        inlier = inlier | (~known & near(rays, matrix))
    return Explained('pnp_depth', inlier, motion)


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
    return _metric(rays, points, rows, rotation.T, -rotation.T @ t[:, 0])


def _metric(
    rays: Rays, points: np.ndarray, rows: np.ndarray, rotation: np.ndarray, t: np.ndarray
) -> Motion:
    place, space = rays.place[rows], points[rows]

    def residuals(r: np.ndarray, t: np.ndarray) -> np.ndarray:
        return _reprojected(space, place, r, t, rays.focal).ravel()

    return fitted(residuals, PoseKind.METRIC, rotation, t)


def _images(rays: Rays, points: np.ndarray, motion: Motion) -> np.ndarray:
    """Reprojection errors in the place's image, (n, 2), in pixels."""
    return _reprojected(points, rays.place, motion.rotation, motion.translation, rays.focal)


def _reprojected(
    points: np.ndarray, images: np.ndarray, r: np.ndarray, t: np.ndarray, focal: float
) -> np.ndarray:
    seen = (points - t) @ r
    return focal * (seen[:, :2] / np.maximum(seen[:, 2:], 1e-3) - images[:, :2])
