"""Corners of a grey image and upright descriptors of them: points to match in a millisecond.

Corners by Shi and Tomasi (CVPR 1994). Descriptors are those of SIFT (Lowe 2004, section 6: 4 x 4
cells of 8 orientations, clipped) at one scale and without turning them, read from maps of the
oriented gradients of the whole image as DAISY does (Tola et al., PAMI 2010), and RootSIFT
(Arandjelovic and Zisserman, CVPR 2012). What stands upright needs no orientation, and is told
apart better without; a camera that rolls by more than some 15 degrees needs SIFT.
"""

from __future__ import annotations

import cv2
import numpy as np

from vpr_ros.recognition.geometry.keypoints import Keypoints, peak, root

MOST_CORNERS = 400
BLOCK = 3  # pixels whose gradients make a corner
LEAST_RESPONSE = 1e-4  # of a corner; smaller ones are noise
APERTURE = 3  # of the gradients of corners
EDGE = 10.0 / 121.0  # det / trace^2 of what is an edge, not a corner: 10 to 1, as Lowe has it
NEIGHBOURS = np.ones((3, 3), np.uint8)
BORDER = 4  # pixels without corners
ORIENTATIONS = 8
CELL = 4  # pixels from one of the 4 x 4 cells to the next
POOL = 5  # pixels a side over which a cell sums up gradients
SPREAD = 2.0  # of the Gaussian weight around a corner, in cells
CLIP = 0.2  # of the length of a descriptor, for what a single gradient may say


def corners(image: np.ndarray) -> Keypoints:
    """The strongest corners of a grey image (H, W), uint8, with their descriptors."""
    size = (image.shape[0], image.shape[1])
    points, at = _found(image)
    return Keypoints(points, _described(_gradients(image), at, size), size)


def _found(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners to a fraction of a pixel, (n, 2) float32, and the pixels (n, 2) as row, column."""
    response = cv2.cornerMinEigenVal(image, BLOCK)
    top = (response >= cv2.dilate(response, NEIGHBOURS)) & (response > LEAST_RESPONSE)
    top &= cv2.cornerHarris(image, BLOCK, APERTURE, EDGE) > 0.0
    top[:BORDER] = top[-BORDER:] = top[:, :BORDER] = top[:, -BORDER:] = False
    at = np.flatnonzero(top)
    if len(at) > MOST_CORNERS:
        at = at[np.argpartition(response.ravel()[at], -MOST_CORNERS)[-MOST_CORNERS:]]
    row, column = np.divmod(at, image.shape[1])
    shift = [
        peak(*(response.take(at + i * step) for i in (-1, 0, 1))) for step in (1, image.shape[1])
    ]
    points = np.stack([column + shift[0], row + shift[1]], axis=1).astype(np.float32)
    return points, np.stack([row, column], axis=1)


def _gradients(image: np.ndarray) -> np.ndarray:
    """Gradients of eight orientations, summed up around every pixel, (H * W, 8) uint8."""
    x = cv2.Sobel(image, cv2.CV_16S, 1, 0, ksize=1)
    y = cv2.Sobel(image, cv2.CV_16S, 0, 1, ksize=1)
    across = ((x, 1.0), (y, 1.0), (cv2.add(x, y), 0.5**0.5), (cv2.subtract(x, y), 0.5**0.5))
    halves = [
        cv2.convertScaleAbs(half, alpha=scale)
        for along, scale in across
        for half in (np.maximum(along, 0), np.minimum(along, 0))
    ]
    return cv2.blur(cv2.merge(halves), (POOL, POOL)).reshape(-1, ORIENTATIONS)


def _cells() -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the cells from a corner, (16, 2) pixels, and their weights, (16, 1) float32."""
    places = np.stack(np.meshgrid(*[np.arange(4) - 1.5] * 2, indexing='ij'), axis=-1)
    places = places.reshape(16, 2)
    weight = np.exp(-(places**2).sum(axis=1) / (2.0 * SPREAD**2))
    return np.round(places * CELL).astype(np.intp), weight[:, None].astype(np.float32)


OFFSETS, WEIGHTS = _cells()


def _described(gradients: np.ndarray, at: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Descriptors (n, 128) of corners; beyond the edge the image goes on as it ends."""
    cell = np.clip(at[:, None] + OFFSETS, 0, np.array(size) - 1)
    sums = gradients.take(cell[:, :, 0] * size[1] + cell[:, :, 1], axis=0) * WEIGHTS
    sums = sums.reshape(len(at), len(OFFSETS) * ORIENTATIONS)
    length = np.sqrt(np.einsum('ij,ij->i', sums, sums))[:, None]
    return root(np.minimum(sums, CLIP * length))
