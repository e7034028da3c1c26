"""Matches of two images: SIFT of their thumbnails, or local features of the model, refined."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros.recognition.matching import LEAST_COSINE, nearest_neighbours
from vpr_ros.records import LocalFeatures

WIDTH = 320  # of the images that are matched; thumbnails have it
LEAST_SIDE = 16  # of an image, in pixels, that has anything to match
MOST_KEYPOINTS = 600
LEAST_CONTRAST = 0.01  # of a keypoint; OpenCV's 0.04 leaves plain walls empty
RATIO = 0.85  # nearest to second nearest descriptor, of a match (Lowe 2004)
LEAST_DEVIATION = 2.0  # of grey levels, of an image that shows something
LEAST_CORRELATION = 0.5  # of two patches that are aligned by it


@dataclass(frozen=True)
class Keypoints:
    """SIFT keypoints of one image."""

    points: np.ndarray  # (n, 2) float32, x and y in pixels
    descriptors: np.ndarray  # (n, 128) float32, RootSIFT, unit length
    size: tuple[int, int]  # (height, width) of the image


def grey(image: np.ndarray | None) -> np.ndarray | None:
    """An RGB uint8 image (H, W, 3) in grey, WIDTH wide; None for what is no usable image.

    Smaller images are enlarged, so that keypoints and errors mean the same in all.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        return None
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 1:
        return None
    return _resized(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY))


def grey_thumbnail(jpeg: bytes | None) -> np.ndarray | None:
    """The same of a thumbnail; None for one that is missing or damaged."""
    if not jpeg:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        return None
    return None if image is None else _resized(image)


def _resized(image: np.ndarray) -> np.ndarray | None:
    height, width = image.shape
    height = round(height * WIDTH / width)
    if not LEAST_SIDE <= height <= 4 * WIDTH:
        return None
    if width == WIDTH:
        return image
    way = cv2.INTER_AREA if width > WIDTH else cv2.INTER_LINEAR
    return cv2.resize(image, (WIDTH, height), interpolation=way)


def sift(image: np.ndarray) -> Keypoints:
    """SIFT keypoints (Lowe 2004) of a grey image, with RootSIFT descriptors.

    RootSIFT: Arandjelovic and Zisserman, CVPR 2012.
    """
    detector = cv2.SIFT.create(nfeatures=MOST_KEYPOINTS, contrastThreshold=LEAST_CONTRAST)
    found, descriptors = detector.detectAndCompute(image, None)
    size = (image.shape[0], image.shape[1])
    if descriptors is None or not len(found):
        return Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32), size)
    points = np.array([x.pt for x in found], np.float32)
    sums = descriptors.sum(axis=1, keepdims=True)
    return Keypoints(points, np.sqrt(descriptors / np.maximum(sums, 1e-6)), size)


def match_sift(query: Keypoints, place: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Mutual nearest neighbours that pass the ratio test on both sides, (n, 2) float32 each."""
    if min(len(query.points), len(place.points)) < 2:
        return _none()
    cosine = query.descriptors @ place.descriptors.T
    nearest, back = cosine.argmax(axis=1), cosine.argmax(axis=0)
    rows = np.flatnonzero(back[nearest] == np.arange(len(nearest)))
    keep = _distinct(cosine[rows]) & _distinct(cosine.T[nearest[rows]])
    ours, theirs = query.points[rows[keep]], place.points[nearest[rows[keep]]]
    # A keypoint with two orientations can match twice, which is no second piece of evidence.
    pairs = np.hstack([ours, theirs]).round()
    once = np.sort(np.unique(pairs, axis=0, return_index=True)[1])
    return ours[once], theirs[once]


def _distinct(cosine: np.ndarray) -> np.ndarray:
    """Whether the nearest of each row (n, m) is nearer than RATIO times the second, (n,)."""
    first = np.partition(cosine, -2, axis=1)[:, -2:]
    distance = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * first))
    return distance[:, 1] < RATIO * distance[:, 0]


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
    """Offset of the top of the parabola through a maximum and its neighbours, -0.5 to 0.5."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, top, after = (float(x) for x in line[at - 1 : at + 2])
    bend = before - 2.0 * top + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _none() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
