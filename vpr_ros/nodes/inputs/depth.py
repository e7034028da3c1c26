"""Depth images, kept until the image of the same moment is answered."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger

from vpr_ros.bags.depth_images import depth_from_message, nearest
from vpr_ros.config import NodeConfig
from vpr_ros.errors import ImageError
from vpr_ros.nodes.inputs.cdr import image_message, stamp_of

KEPT = 8
LOG_PERIOD_S = 5.0


class DepthBuffer:
    """The newest depth images, serialised; filled by one thread, asked by another."""

    def __init__(
        self,
        max_gap_s: float,
        transport: str = 'raw',
        warn: Callable[[str], None] = lambda fault: None,
    ) -> None:
        """Begin with nothing.

        Args:
            max_gap_s: largest time between an image and its depth image.
            transport: 'raw' or 'compressed', which decides on the type of the messages.
            warn: told, in one sentence, why a message is no depth image.
        """
        self._max_gap_s, self._transport, self._warn = max_gap_s, transport, warn
        self._kept: deque[bytes] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def put(self, data: bytes) -> None:
        """Take a serialised sensor_msgs/Image or CompressedImage."""
        with self._lock:
            self._kept.append(data)

    def at(self, stamp: int) -> np.ndarray | None:
        """Depth (H, W), float32, metres, of the image at a stamp in nanoseconds, or None."""
        with self._lock:
            kept = list(self._kept)
        index = nearest([stamp_of(data) for data in kept], stamp, self._max_gap_s)
        if index is None:
            return None
        try:
            return depth_from_message(image_message(kept[index], self._transport))
        except ImageError as error:
            self._warn(str(error))
            return None


def depth_buffers(config: NodeConfig, logger: RcutilsLogger) -> dict[str, DepthBuffer]:
    """One for each camera, by its name."""

    def warn(fault: str) -> None:
        logger.warning(
            f'a depth image was not used, poses are not in metres: {fault}',
            throttle_duration_sec=LOG_PERIOD_S,
        )

    transport = 'raw' if config.depth_transport == 'raw' else 'compressed'
    return {name: DepthBuffer(config.depth_gap_s, transport, warn) for name in config.cameras}
