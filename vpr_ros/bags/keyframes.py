"""Which images of a drive become places: by distance, by angle, or by time without a pose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vpr_ros.bags.trajectory import Trajectory
from vpr_ros.config import KeyframeConfig
from vpr_ros.records import Frame, Pose


@dataclass(frozen=True, slots=True)
class Keyframe:
    """An image that was taken, where it was taken, and how far the robot had come."""

    frame: Frame
    pose: Pose | None
    travelled_m: float | None


class KeyframeSelector:
    """Decides image by image; the same for recordings and for the live node.

    A keyframe is the first image, and each that lies `distance_m` or `angle_rad` from the last
    keyframe. Where a pose is unknown, or both limits are 0, `period_s` since the last keyframe
    decides instead. A stamp before the last keyframe starts anew: a recording began again.
    """

    def __init__(self, config: KeyframeConfig) -> None:
        self.config = config
        self._stamp_ns: int | None = None
        self._pose: Pose | None = None

    def take(self, stamp_ns: int, pose: Pose | None) -> bool:
        """Tell whether the image is a keyframe, and remember it as the last one if it is."""
        if not self._is_due(stamp_ns, pose):
            return False
        self._stamp_ns, self._pose = stamp_ns, pose
        return True

    def _is_due(self, stamp_ns: int, pose: Pose | None) -> bool:
        config = self.config
        if self._stamp_ns is None or stamp_ns < self._stamp_ns:
            return True
        if pose is None or self._pose is None or not (config.distance_m or config.angle_rad):
            return stamp_ns - self._stamp_ns >= config.period_s * 1e9
        moved = config.distance_m and pose.distance_m(self._pose) >= config.distance_m
        return bool(moved or config.angle_rad and pose.angle_rad(self._pose) >= config.angle_rad)


def keyframes(
    frames: Iterable[Frame],
    trajectory: Trajectory | None,
    config: KeyframeConfig,
    max_gap_s: float,
) -> Iterator[Keyframe]:
    """Yield the keyframes of a drive, with the pose of the trajectory at the image's stamp."""
    selector = KeyframeSelector(config)
    for frame in frames:
        pose = trajectory.at(frame.stamp_ns, max_gap_s) if trajectory else None
        if selector.take(frame.stamp_ns, pose):
            travelled_m = trajectory.travelled_m(frame.stamp_ns) if trajectory and pose else None
            yield Keyframe(frame, pose, travelled_m)
