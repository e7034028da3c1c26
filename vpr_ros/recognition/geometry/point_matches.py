"""Matches of two images: of their points, or of local features of the model, refined."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vpr_ros.recognition.geometry.keypoints import Keypoints, peak
from vpr_ros.recognition.matching import LEAST_COSINE, nearest_neighbours
from vpr_ros.records import LocalFeatures

RATIO = 0.85  # nearest to second nearest descriptor, of a match (Lowe 2004)
LEAST_DEVIATION = 2.0  # of grey levels, of an image that shows something
LEAST_CORRELATION = 0.5  # of two patches that are aligned by it


def match_points(query: Keypoints, place: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Mutual nearest neighbours that pass the ratio test on both sides, (n, 2) float32 each."""
    if min(len(query.points), len(place.points)) < 2:
        return _none()
    cosine = _cosines(query.descriptors, place.descriptors)
    nearest = cosine.argmax(axis=1)
    # The columns' largest values are found much faster than where they are.
    rows = np.flatnonzero(cosine[np.arange(len(nearest)), nearest] == cosine.max(axis=0)[nearest])
    rows = rows[_distinct(cosine[rows], nearest[rows])]
    rows = rows[_distinct(np.ascontiguousarray(cosine[:, nearest[rows]].T), rows)]
    ours, theirs = query.points[rows], place.points[nearest[rows]]
    # A keypoint with two orientations can match twice, which is no second piece of evidence.
    pairs = np.hstack([ours, theirs]).round().astype(np.int16).view(np.int64)[:, 0]
    once = np.sort(np.unique(pairs, return_index=True)[1])
    return ours[once], theirs[once]


def _cosines(query: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(n, m) of descriptors (n, C) and (m, C); by torch, for whose threads it need not wait.

    Now and then OpenBLAS's take ten milliseconds to come, just after those of the model.
    """
    return torch.mm(torch.from_numpy(query), torch.from_numpy(place).T).numpy()


def _distinct(cosine: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Whether the nearest of each row (n, m) is nearer than RATIO times the second, (n,)."""
    rows = np.arange(len(nearest))
    first = cosine[rows, nearest]
    cosine[rows, nearest] = -1.0
    ahead = 1.0 - np.minimum(first, 1.0)  # half the squared distance
    return ahead < RATIO**2 * (1.0 - cosine.max(axis=1, initial=-1.0))


def match_local(
    query: LocalFeatures, places: LocalFeatures, least_cosine: float = LEAST_COSINE
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mutual nearest neighbours of one image and K others, at the centres of their patches.

    Returns:
        For each of the K: x, y of both sides, (n, 2) float32, in pixels of the model's input from
        the corner of the image.
    """
    found = nearest_neighbours(query, places)
    good = (found.mutual & (found.cosine > least_cosine)).cpu().numpy()
    partner = found.place.cpu().numpy()
    ours = query.position[0].cpu().numpy()[:, ::-1].astype(np.float32)
    theirs = places.position.cpu().numpy()[:, :, ::-1].astype(np.float32)
    return [(ours[good[k]], theirs[k][partner[k][good[k]]]) for k in range(len(theirs))]


def scaled(points: np.ndarray, source: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """From the corner of an image of one size to centres of pixels in another, (n, 2) float32."""
    factor = np.array((size[1] / source[1], size[0] / source[0]), np.float32)
    return points * factor - np.float32(0.5)


def aligned(
    query: np.ndarray, place: np.ndarray, ours: np.ndarray, theirs: np.ndarray, patch: int
) -> np.ndarray:
    """Move the places' points so that the patches around both look alike, (n, 2) float32.

    The query's patch is searched for within one patch around the place's point, by normalised
    correlation, to a fraction of a pixel by parabolas. Points whose patch is not found, or
    reaches over the edge, stay.

    Args:
        query: grey image.
        place: grey image.
        ours: (n, 2) x, y in the query.
        theirs: (n, 2) x, y in the place.
        patch: side of a patch in pixels of both.
    """
    moved = theirs.copy()
    half, reach = patch // 2, patch
    for row, ((x, y), (u, v)) in enumerate(zip(ours.round(), theirs.round(), strict=True)):
        template = _window(query, int(x), int(y), half)
        window = _window(place, int(u), int(v), half + reach)
        if template is None or window is None or template.std() < LEAST_DEVIATION:
            continue
        scores = cv2.matchTemplate(window, template, cv2.TM_CCOEFF_NORMED)
        _, best, _, (i, j) = cv2.minMaxLoc(scores)
        if best < LEAST_CORRELATION:
            continue
        shift = (i + _peak(scores[j], i) - reach, j + _peak(scores[:, i], j) - reach)
        moved[row] = (u + shift[0] + ours[row, 0] - x, v + shift[1] + ours[row, 1] - y)
    return moved


def _window(image: np.ndarray, x: int, y: int, half: int) -> np.ndarray | None:
    height, width = image.shape
    if x < half or y < half or x + half >= width or y + half >= height:
        return None
    return image[y - half : y + half + 1, x - half : x + half + 1]


def _peak(line: np.ndarray, at: int) -> float:
    """Offset of the top from the largest entry of a line; at its ends 0."""
    return float(peak(*line[at - 1 : at + 2])) if 0 < at < len(line) - 1 else 0.0


def _none() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
