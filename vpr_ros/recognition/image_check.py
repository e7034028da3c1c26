"""Images that say nothing: covered, black or blinded lenses, and cameras that stand still."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpr_ros.records import Pose

STEP = 4  # every fourth pixel of every fourth row is looked at
DARK, BRIGHT = 12, 243  # of 255
BLIND_SHARE = 0.97  # of the pixels darker or brighter than these
LEAST_CONTRAST = 3.0  # standard deviation, of 255
MEAN = np.full(3, 1 / 3, np.float32)  # of the channels
FROZEN_M = 0.5  # on the way of which no image stays the same to the last bit


class Finding(NamedTuple):
    """What is wrong with an image in one sentence, or '', and whether it was seen just before."""

    fault: str
    repeated: bool


class ImageCheck:
    """Look at images one after the other."""

    def __init__(self) -> None:
        self._last = self._copy = np.empty((0, 0, 3), np.uint8)
        self._since: Pose | None = None  # pose at which the last image was first seen

    def look(self, image: np.ndarray, pose: Pose | None = None) -> Finding:
        """Judge an RGB image (H, W, 3), uint8, taken at a pose, where that is known."""
        repeated = self._repeats(image)
        if not repeated:
            self._keep(image)
            self._since = pose
        fault = blindness(image)
        if not fault and repeated and pose is not None and self._since is not None:
            moved_m = pose.distance_m(self._since)
            if moved_m > FROZEN_M:
                fault = f'the camera stands still: the same image for {moved_m:.1f} m of the way'
        return Finding(fault, repeated)

    def _repeats(self, image: np.ndarray) -> bool:
        last = self._last
        if image.shape != last.shape:
            return False
        middle = len(image) // 2  # one row tells nearly every image from the one before
        return np.array_equal(image[middle], last[middle]) and np.array_equal(image, last)

    def _keep(self, image: np.ndarray) -> None:
        """What cannot be written to, as the pixels of a message, stays as it is without a copy."""
        if not image.flags.writeable:
            self._last = image
            return
        if image.shape != self._copy.shape:  # fresh memory costs more than the pixels
            self._copy = np.empty_like(image)
        np.copyto(self._copy, image)
        self._last = self._copy


def blindness(image: np.ndarray) -> str:
    """Why nothing can be seen in an RGB image (H, W, 3), uint8, in one sentence; '' if it can."""
    some = np.ascontiguousarray(image[::STEP, ::STEP])  # what follows is slow on strided pixels
    dark = np.count_nonzero(some < DARK) / some.size
    bright = np.count_nonzero(some > BRIGHT) / some.size
    if dark > BLIND_SHARE:
        return f'the image is black: {dark:.0%} of it is darker than {DARK} of 255'
    if bright > BLIND_SHARE:
        return f'the image is over-exposed: {bright:.0%} of it is brighter than {BRIGHT} of 255'
    contrast = float((some.astype(np.float32) @ MEAN).std())
    if contrast < LEAST_CONTRAST:
        return f'the image is blank: its contrast is {contrast:.1f} of 255'
    return ''
