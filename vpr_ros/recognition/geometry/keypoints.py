"""Points of one image that can be found again in another: SIFT of its grey thumbnail."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

WIDTH = 320  # of the images that are matched; thumbnails have it
LEAST_SIDE = 16  # of an image, in pixels, that has anything to match
MOST_KEYPOINTS = 600
LEAST_CONTRAST = 0.01  # of a keypoint; OpenCV's 0.04 leaves plain walls empty


@dataclass(frozen=True)
class Keypoints:
    """Points of one image."""

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
    return Keypoints(points, root(descriptors), size)


def peak(before: np.ndarray, top: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Offset of the tops of the parabolas through three values, -0.5 to 0.5; 0: there is none."""
    bend = 2.0 * top - before - after
    offset = 0.5 * (after - before) / np.where(bend > 0, bend, 1.0)
    return np.clip(np.where(bend > 0, offset, 0.0), -0.5, 0.5)


def root(histograms: np.ndarray) -> np.ndarray:
    """Square roots of shares: RootSIFT of SIFT's histograms (n, 128), unit length."""
    sums = histograms.sum(axis=1, keepdims=True)
    return np.sqrt(histograms / np.maximum(sums, 1e-6))
