"""Which matches of two images one rigid motion explains, and that motion where cameras are known.

Fundamental matrix, essential matrix or camera pose from depth, each by OpenCV's USAC with
MAGSAC++ (Barath et al., CVPR 2020). An inlier is a match within `error_px` by Sampson's distance,
or by reprojection where depth is known.
"""

from __future__ import annotations

import cv2
import numpy as np

from vpr_ros.recognition.geometry.depth_pose import pnp
from vpr_ros.recognition.geometry.rays import (
    FEWEST,
    Explained,
    View,
    homogeneous,
    rays_of,
    sampson,
    usac,
)
from vpr_ros.recognition.geometry.two_views import essential

FARTHEST = 1e5  # pixels: coordinates of no image


def explain(query: View, place: View, error_px: float) -> Explained:
    """Find the motion that explains most matches; poor or degenerate input has no inliers.

    With both cameras and depth of the query: PnP; with both cameras: essential matrix; else:
    fundamental matrix.

    Args:
        query: one side of n matches.
        place: the other side.
        error_px: largest distance of an inlier, in pixels of an image REFERENCE_WIDTH wide.
    """
    nothing = Explained('', np.zeros(len(query.points), dtype=bool))
    if _degenerate(query) or _degenerate(place):
        return nothing
    rays = rays_of(query, place, error_px)
    if rays is None:
        found = _fundamental(query, place, error_px)
    else:
        found = None if query.depth_m is None else pnp(rays, query.depth_m)
        found = found or essential(rays)
    if found is None:
        return nothing
    left = [View(view.points[found.inlier], view.size) for view in (query, place)]
    return nothing if any(_degenerate(view) for view in left) else found


def _degenerate(view: View) -> bool:
    """Whether there are fewer than FEWEST different points, or all of them on a line."""
    points = view.points.astype(np.float64)
    if len(points) < FEWEST or not (np.abs(points) < FARTHEST).all():
        return True
    if len(set(zip(*points.round().T.tolist(), strict=True))) < FEWEST:
        return True
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[1]
    return bool(spread / np.sqrt(len(points)) < view.scale)


def _fundamental(query: View, place: View, error_px: float) -> Explained | None:
    """Both images are brought to the reference width, in which the error is meant."""
    ours, theirs = (view.points.astype(np.float64) / view.scale for view in (query, place))
    try:
        matrix, _ = cv2.findFundamentalMat(theirs, ours, usac(error_px))
    except cv2.error:
        return None
    if matrix is None or matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        # OpenCV 4 finds none for images that are equal to the last bit.
        still = np.linalg.norm(ours - theirs, axis=1) <= error_px
        return Explained('fundamental', still) if still.sum() >= FEWEST else None
    distance = sampson(matrix, homogeneous(theirs), homogeneous(ours))
    return Explained('fundamental', np.abs(distance) <= error_px)
