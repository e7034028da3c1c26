"""Small pictures of places, kept in the map: for people, and for geometry."""

from __future__ import annotations

import cv2
import numpy as np

from vpr_ros.errors import ImageError

THUMBNAIL_WIDTH = 320  # enough for people, and for geometry


def encode_thumbnail(image: np.ndarray, width: int = THUMBNAIL_WIDTH) -> bytes:
    """JPEG of an RGB image (H, W, 3), uint8, scaled to a width in pixels unless it is smaller."""
    width = min(width, image.shape[1])
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', small[:, :, ::-1])[1].tobytes()


def decode_thumbnail(jpeg: bytes) -> np.ndarray:
    """The inverse of `encode_thumbnail`: RGB (H, W, 3), uint8.

    Raises:
        ImageError: it is no JPEG.
    """
    pixels = np.frombuffer(jpeg, np.uint8)
    image = cv2.imdecode(pixels, cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError('the thumbnail is no JPEG')
    return np.ascontiguousarray(image[:, :, ::-1])
