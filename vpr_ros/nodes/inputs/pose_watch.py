"""Whether images have a pose where poses were asked for, and why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from vpr_ros.records import Pose

NS = 1_000_000_000
NO_STAMP = 'the images have no stamp, so no pose belongs to them: let the camera driver set it'


@dataclass(frozen=True, slots=True)
class PoseReport:
    """How the poses of the images are doing."""

    source: str  # topic, or the frames of tf
    known: int = 0  # images with a pose
    unknown: int = 0  # images without
    trouble: str = ''  # one sentence on why no image has one lately; empty: some have


class PoseWatch:
    """Counts images with and without a pose; one thread counts, any other may read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin at zero.

        Args:
            clock: seconds, never going back.
        """
        self.known = self.unknown = 0
        self.stamp_ns = 0  # of the newest image
        self._clock = clock
        self._missing_s: float | None = None  # since when every image has been without

    def saw(self, stamp_ns: int, pose: Pose | None) -> None:
        """Count an image."""
        self.stamp_ns = stamp_ns
        if pose is not None:
            self.known += 1
            self._missing_s = None
            return
        self.unknown += 1
        if self._missing_s is None:
            self._missing_s = self._clock()

    def missing(self, timeout_s: float) -> bool:
        """Whether images came without a pose, and none with one, for so long."""
        since_s = self._missing_s
        return since_s is not None and self._clock() - since_s >= timeout_s


def explain_gap(stamp_ns: int, newest_ns: int, topic: str, max_gap_s: float) -> str:
    """Why poses that arrive belong to no image.

    Args:
        stamp_ns: of an image; 0: it has none.
        newest_ns: stamp of the newest pose.
        topic: of the poses.
        max_gap_s: that is allowed between the two.
    """
    if not stamp_ns:
        return NO_STAMP
    gap_s = (newest_ns - stamp_ns) / NS
    return (
        f'the newest pose on {topic} is {abs(gap_s):.1f} s {"newer" if gap_s > 0 else "older"} '
        f'than the image and pose.max_gap_s allows {max_gap_s:g}: both need one clock, and poses '
        'have to go on'
    )


def explain_frames(stamp_ns: int, parent: str, child: str, connected: bool) -> str:
    """Why tf has no pose of a moment.

    Args:
        stamp_ns: of an image; 0: it has none.
        parent: odom_frame.
        child: base_frame.
        connected: whether tf leads from one to the other at any moment.
    """
    if not connected:
        return (
            f'tf does not lead from {parent} to {child}: publish it, or set odom_frame and '
            'base_frame'
        )
    if not stamp_ns:
        return NO_STAMP
    return (
        f'tf leads from {parent} to {child}, but not at the moments of the images: both need one '
        'clock, and transforms have to go on (pose.max_gap_s)'
    )
