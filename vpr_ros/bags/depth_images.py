"""Depth images to metres, and which of them belongs to an image: for recordings and live alike.

Messages are duck-typed, as in `images`. REP 118: 16UC1 counts millimetres, 32FC1 metres. A
compressed depth image is what compressed_depth_image_transport makes of one of these: twelve bytes
ahead (a kind, and two numbers that inverse depth was quantised by), then a PNG of 16 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from vpr_ros.bags.images import ENCODINGS, is_cut, pixels_of
from vpr_ros.errors import ImageError
from vpr_ros.imagefile import check_encoded

UNITS_M = {'16UC1': 1e-3, 'mono16': 1e-3, '32FC1': 1.0}
COMPRESSED = 'compressedDepth'
HEADER_BYTES = 12
EXPECTED = 'expected 16UC1 in millimetres or 32FC1 in metres, or either as compressedDepth in PNG'


def depth_from_message(message: Any) -> np.ndarray:
    """Depth (H, W), float32, metres, 0 where not known, of an Image or CompressedImage.

    Raises:
        ImageError: the message is no depth image, or a damaged one.
    """
    metres = _decompressed(message) if hasattr(message, 'format') else _converted(message)
    return np.nan_to_num(metres, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def is_depth(message: Any) -> bool:
    """Whether a message says that it is depth, as 16-bit grey pictures do not."""
    if hasattr(message, 'format'):
        return COMPRESSED in message.format
    return message.encoding in UNITS_M and message.encoding != 'mono16'


def nearest(stamps_ns: Sequence[int], stamp_ns: int, max_gap_s: float) -> int | None:
    """Which of some depth images belongs to an image: the nearest in time, if it is near enough.

    Args:
        stamps_ns: of their headers.
        stamp_ns: of the image.
        max_gap_s: largest time between the two.

    Returns:
        Index into `stamps_ns`; None: none of them.
    """
    if not len(stamps_ns):
        return None
    gaps = [abs(stamp - stamp_ns) for stamp in stamps_ns]
    index = gaps.index(min(gaps))
    return index if gaps[index] <= max_gap_s * 1e9 else None


def _converted(message: Any) -> np.ndarray:
    if message.encoding not in UNITS_M:
        raise ImageError(f'image encoding {message.encoding!r} is no depth: {EXPECTED}')
    pixels = pixels_of(message, ENCODINGS[message.encoding])
    return pixels.astype(np.float32) * np.float32(UNITS_M[message.encoding])


def _decompressed(message: Any) -> np.ndarray:
    encoding, data = message.format.partition(';')[0].strip(), bytes(message.data)
    if COMPRESSED not in message.format or encoding not in UNITS_M or 'rvl' in message.format:
        raise ImageError(f'picture of format {message.format!r} is no depth: {EXPECTED}')
    stored = _picture(data[HEADER_BYTES:])
    if stored is None:
        raise ImageError(
            f'{len(data)} bytes of format {message.format!r} are no depth image that is whole: '
            f'expected {HEADER_BYTES} bytes ahead of a PNG of 16 bits'
        )
    if encoding != '32FC1':
        return stored.astype(np.float32) * np.float32(UNITS_M[encoding])
    scale, offset = struct.unpack_from('<ff', data, 4)
    with np.errstate(divide='ignore', invalid='ignore'):
        metres = np.float32(scale) / (stored.astype(np.float32) - np.float32(offset))
    return np.where(stored > 0, metres, np.float32(0.0))


def _picture(data: bytes) -> np.ndarray | None:
    """The (H, W), uint16, in a PNG; None where it is none, or was cut."""
    if not data or is_cut(data):
        return None
    check_encoded('the PNG of a depth image', data)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return pixels if pixels is not None and (pixels.ndim, pixels.dtype) == (2, np.uint16) else None
