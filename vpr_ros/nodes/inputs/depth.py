"""Depth images, kept until the image of the same moment is answered."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from vpr_ros.errors import ImageError
from vpr_ros.nodes.inputs.cdr import AnyImage, image_message, stamp_of
from vpr_ros.nodes.outputs.messages import NS

KEPT = 8
TYPES = {'16UC1': ('u2', 1e-3), 'mono16': ('u2', 1e-3), '32FC1': ('f4', 1.0)}  # to metres


class DepthBuffer:
    """The newest depth images, serialised; filled by one thread, asked by another."""

    def __init__(self, max_gap_s: float) -> None:
        self._max_gap_ns = int(max_gap_s * NS)
        self._kept: deque[bytes] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def put(self, data: bytes) -> None:
        """Take a serialised sensor_msgs/Image."""
        with self._lock:
            self._kept.append(data)

    def at(self, stamp: int) -> np.ndarray | None:
        """Depth (H, W), float32, metres, of the image at a stamp in nanoseconds, or None."""
        with self._lock:
            kept = list(self._kept)
        if not kept:
            return None
        nearest = min(kept, key=lambda data: abs(stamp_of(data) - stamp))
        if abs(stamp_of(nearest) - stamp) > self._max_gap_ns:
            return None
        try:
            return depth_from_message(image_message(nearest, 'raw'))
        except ImageError:
            return None


def depth_from_message(message: AnyImage) -> np.ndarray | None:
    """Depth (H, W), float32, metres, 0 where not known; None for what is no depth image.

    16UC1 counts millimetres, 32FC1 metres (REP 118).
    """
    if message.encoding not in TYPES:
        return None
    kind, unit = TYPES[message.encoding]
    dtype = np.dtype(('>' if message.is_bigendian else '<') + kind)
    row = message.step // dtype.itemsize
    data = np.frombuffer(message.data, np.uint8)
    size = message.height * message.step
    if (
        not message.width
        or row < message.width
        or data.size < size
        or message.step % dtype.itemsize
    ):
        return None
    metres = data[:size].view(dtype).reshape(message.height, row)[:, : message.width] * unit
    return np.nan_to_num(metres.astype(np.float32), posinf=0.0, neginf=0.0)
