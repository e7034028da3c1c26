"""Which images are looked at, where not all of them are needed. Pure; no ROS is needed."""

from __future__ import annotations

from collections import deque
from statistics import median

from vpr_ros.config import NodeConfig
from vpr_ros.records import Pose

NS = 1_000_000_000
INTERVALS = 9  # between images, whose median is the period of the camera


class QueryGate:
    """Lets an image pass when its time has come and the robot has moved since the last one.

    Time: `query_rate` images per second by their stamps, 0 for all. The moments at which an image
    is due lie evenly, and the image nearest to one of them is taken (half a period of the camera
    before or after), so that neither the camera's jitter nor a rate that does not divide the
    camera's lowers the mean. After a pause, or while the robot stood still, the next image is due
    at once, and no missed one is made up for.

    Motion: `query_min_distance_m` away from the pose of the last image that passed, 0 for always;
    or turned by `query_min_angle_rad`, where 0 means that a turn does not count. An image whose
    pose is not known passes.

    When stamps go back everything starts anew: the image passes. One without a stamp (0) cannot
    be early and is judged by motion alone.
    """

    def __init__(self, config: NodeConfig) -> None:
        self.skipped = 0
        self._config = config
        self.reset()

    def takes(self, stamp_ns: int, pose: Pose | None) -> bool:
        """Decide on an image, given in the order of arrival, and remember it when it passes.

        Args:
            stamp_ns: of its header; 0: it has none.
            pose: of the robot at that moment; None: not known.
        """
        if stamp_ns:
            self._watch(stamp_ns)
        if not (self._in_time(stamp_ns) and self._moved(pose)):
            self.skipped += 1
            return False
        if stamp_ns:
            self._plan(stamp_ns)
        self._pose = pose or self._pose
        return True

    def retune(self, config: NodeConfig) -> None:
        """Take over changed settings; with another rate the next image is due at once."""
        if config.query_rate != self._config.query_rate:
            self._due_ns = None
        self._config = config

    def reset(self) -> None:
        """Forget the images before; `skipped` counts on."""
        self._newest_ns: int | None = None
        self._due_ns: int | None = None
        self._pose: Pose | None = None
        self._intervals_ns: deque[int] = deque(maxlen=INTERVALS)

    def _watch(self, stamp_ns: int) -> None:
        """Follow the camera's clock."""
        if self._newest_ns is not None:
            if stamp_ns < self._newest_ns:
                self.reset()
            else:
                self._intervals_ns.append(stamp_ns - self._newest_ns)
        self._newest_ns = stamp_ns

    def _in_time(self, stamp_ns: int) -> bool:
        if not stamp_ns or self._due_ns is None or not self._config.query_rate:
            return True
        return stamp_ns >= self._due_ns - self._tolerance_ns()

    def _plan(self, stamp_ns: int) -> None:
        """Set the next moment: a period after the last one, or after an image far behind it."""
        if not self._config.query_rate:
            return
        period_ns = self._period_ns()
        if self._due_ns is None or stamp_ns > self._due_ns + period_ns + self._tolerance_ns():
            self._due_ns = stamp_ns
        self._due_ns += period_ns

    def _tolerance_ns(self) -> float:
        """Half a period of the camera, or of the queries where that is shorter."""
        return min(self._period_ns(), median(self._intervals_ns or (0,))) / 2

    def _period_ns(self) -> int:
        return round(NS / self._config.query_rate)

    def _moved(self, pose: Pose | None) -> bool:
        least_m, least_rad = self._config.query_min_distance_m, self._config.query_min_angle_rad
        if not least_m or pose is None or self._pose is None:
            return True
        turned = 0.0 < least_rad <= pose.angle_rad(self._pose)
        return turned or pose.distance_m(self._pose) >= least_m
