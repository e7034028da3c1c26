"""Matches of two images as points and as rays, and the distance of a match from a motion.

All errors are in pixels of an image REFERENCE_WIDTH wide. OpenCV's USAC has a seed of its own
here, so that equal input gives equal output in whatever thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from vpr_ros.recognition.geometry.motion import Motion
from vpr_ros.records import Camera

REFERENCE_WIDTH = 320  # of the images whose pixels `error_px` counts
FEWEST = 8  # matches, or inliers, that are worth a model
CONFIDENCE, ITERATIONS = 0.999, 1000


@dataclass(frozen=True)
class View:
    """One side of n matches."""

    points: np.ndarray  # (n, 2) float32, x and y in pixels
    size: tuple[int, int]  # (height, width) of the image they lie in
    camera: Camera | None = None
    depth_m: np.ndarray | None = None  # (n,), of the points; nan or 0: not known

    @property
    def scale(self) -> float:
        """Pixels of this image to one of an image of REFERENCE_WIDTH."""
        return self.size[1] / REFERENCE_WIDTH


@dataclass(frozen=True)
class Explained:
    """The model, '' where there is none; which of the matches it explains; and the motion."""

    model: str
    inlier: np.ndarray = field(repr=False)  # (n,) bool
    motion: Motion | None = None


@dataclass(frozen=True)
class Rays:
    """Matches as seen by ideal cameras of one focal length."""

    place: np.ndarray  # (n, 3), z = 1
    query: np.ndarray  # (n, 3), z = 1
    focal: float  # pixels
    error: float  # pixels: largest distance of an inlier

    def pixels(self, rays: np.ndarray) -> np.ndarray:
        """(n, 2), float64."""
        return np.ascontiguousarray(rays[:, :2] * self.focal)


def near(rays: Rays, matrix: np.ndarray) -> np.ndarray:
    """Which matches an essential matrix explains, (n,) bool."""
    return rays.focal * np.abs(sampson(matrix, rays.place, rays.query)) <= rays.error


def sampson(matrix: np.ndarray, place: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Signed first-order distance of matches from `query^T M place = 0`, (..., n).

    Hartley and Zisserman, equation 11.9.

    Args:
        matrix: fundamental or essential, (..., 3, 3).
        place: homogeneous points (n, 3), z = 1.
        query: the same.
    """
    lines, back = place @ np.swapaxes(matrix, -1, -2), query @ matrix
    squares = np.square(lines[..., :2]).sum(axis=-1) + np.square(back[..., :2]).sum(axis=-1)
    return (query * lines).sum(axis=-1) / np.maximum(np.sqrt(squares), 1e-12)


def rays_of(query: View, place: View, error_px: float) -> Rays | None:
    """Undistorted matches; None where a camera is not calibrated, or for points it cannot see."""
    if not all(view.camera and min(view.camera.fx, view.camera.fy) > 0 for view in (query, place)):
        return None
    sides, focals = [], []
    for view in (place, query):
        assert view.camera is not None
        matrix = view.camera.matrix(view.size)
        distortion = np.asarray(view.camera.distortion, dtype=np.float64)
        points = np.ascontiguousarray(view.points, dtype=np.float64)[:, None]
        ideal = cv2.undistortPoints(points, matrix, distortion if distortion.size else None)
        sides.append(homogeneous(ideal[:, 0]))
        focals.append(np.sqrt(matrix[0, 0] * matrix[1, 1]) / view.scale)
    if not np.isfinite(np.concatenate(sides)).all():
        return None
    # Both sides in pixels of the reference width, in which the error is meant.
    return Rays(sides[0], sides[1], float(np.mean(focals)), error_px)


def homogeneous(points: np.ndarray) -> np.ndarray:
    return np.hstack([points, np.ones((len(points), 1))])


def usac(error: float) -> cv2.UsacParams:
    params = cv2.UsacParams()
    params.confidence, params.maxIterations, params.threshold = CONFIDENCE, ITERATIONS, error
    params.score, params.loMethod = cv2.SCORE_METHOD_MAGSAC, cv2.LOCAL_OPTIM_SIGMA
    params.sampler, params.randomGeneratorState = cv2.SAMPLING_UNIFORM, 0
    return params
