"""Which matches are believed when a localiser is told where the robot is. No node is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovariance, PoseWithCovarianceStamped

from vpr_msgs.msg import PlaceMatch
from vpr_ros.bags.message_types import stamp_ns_of
from vpr_ros.config.sockets import BelievedMatchConfig
from vpr_ros.errors import RosError
from vpr_ros.records import Pose

FUTURE_S = 0.1  # AMCL adds no odometry to a pose of the future; clocks of one robot agree better
UPRIGHT = 0.5  # least cosine between the base's z axis and the map's
LEVEL = 0.9  # greatest one between the base's x axis and the map's z axis


@dataclass(frozen=True)
class Fix:
    """Where the robot was at one moment, and how sure that is."""

    stamp: Time
    pose: Pose
    covariance: np.ndarray = field(repr=False, compare=False)  # (6, 6), x y z rx ry rz

    @property
    def stamp_ns(self) -> int:
        return stamp_ns_of(self)

    @property
    def sigma_m(self) -> float:
        """Standard deviation on the ground, along its worse axis."""
        return math.sqrt(max(self.covariance[0, 0], self.covariance[1, 1]))

    @property
    def sigma_rad(self) -> float:
        return math.sqrt(self.covariance[5, 5])

    @property
    def yaw(self) -> float:
        x, y, z, w = self.pose.quaternion
        return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))

    def distance_m(self, other: Fix) -> float:
        """Distance on the ground."""
        here, there = self.pose.position_m, other.pose.position_m
        return math.hypot(here[0] - there[0], here[1] - there[1])

    def turn_rad(self, other: Fix) -> float:
        """Angle between the headings, in [0, pi]."""
        return abs(math.remainder(self.yaw - other.yaw, 2.0 * math.pi))


def fix_of(match: PlaceMatch, config: BelievedMatchConfig, now_ns: int) -> Fix:
    """What a match says of the robot, in the localiser's frame.

    Args:
        match: any.
        config: what is believed.
        now_ns: time of the node's clock; 0: not known yet.

    Raises:
        RosError: it says nothing that a localiser may be told.
    """
    if match.status != PlaceMatch.STATUS_ACCEPTED:
        raise RosError('no match was accepted yet')
    if not match.pose_valid:
        raise RosError('the matched places have no pose: record a map with odometry or poses')
    if match.map_frame != config.global_frame:
        raise RosError(
            f'poses of the map are in frame {match.map_frame!r}, and the localiser wants '
            f'{config.global_frame!r}: record the map in that frame, or set global_frame'
        )
    fix = Fix(match.header.stamp, *_values(match.pose))
    _require_upright(fix)
    if fix.sigma_m > config.max_sigma_m:
        raise RosError(
            f'the match is not sure enough: {fix.sigma_m:.1f} m, max_sigma_m is '
            f'{config.max_sigma_m:g}; give the live node depth images, or raise max_sigma_m'
        )
    if now_ns:
        _require_timely(now_ns - fix.stamp_ns, config.max_age_s)
    return fix


def own_fix(message: PoseWithCovarianceStamped, frame: str) -> Fix:
    """What a localiser says of itself.

    Raises:
        RosError: the pose is in another frame, or no pose.
    """
    if message.header.frame_id != frame:
        raise RosError(
            f'the localiser gives its pose in frame {message.header.frame_id!r}, and global_frame '
            f'is {frame!r}: make them the same'
        )
    return Fix(message.header.stamp, *_values(message.pose))


def _values(message: PoseWithCovariance) -> tuple[Pose, np.ndarray]:
    point, q = message.pose.position, message.pose.orientation
    position, quaternion = (point.x, point.y, point.z), np.array([q.x, q.y, q.z, q.w])
    covariance = np.array(message.covariance, float).reshape(6, 6)
    norm = float(np.linalg.norm(quaternion))
    finite = np.isfinite([*position, norm, *covariance.ravel()]).all()
    if not finite or norm < 1e-3 or (np.diag(covariance) < 0.0).any():
        raise RosError('a pose is not finite, or its covariance is negative: it is ignored')
    x, y, z, w = (quaternion / norm).tolist()
    return Pose(position, (x, y, z, w)), covariance


def _require_upright(fix: Fix) -> None:
    x, y, z, w = fix.pose.quaternion
    up, nose = 1.0 - 2.0 * (x * x + y * y), 2.0 * (x * z - w * y)
    if up < UPRIGHT or abs(nose) > LEVEL:
        raise RosError(
            'the base of the map is not upright (x ahead, z up): its poses seem to be those of a '
            'camera; set base_frame and record the map anew'
        )


def _require_timely(age_ns: int, max_age_s: float) -> None:
    age_s = age_ns / 1e9
    if age_s < -FUTURE_S:
        raise RosError(
            f'the image is of the future, by {-age_s:.1f} s: set use_sim_time as for the camera, '
            'or synchronise the clocks'
        )
    if 0.0 < max_age_s < age_s:
        raise RosError(
            f'the image comes too late: it is {age_s:.1f} s old, max_age_s is {max_age_s:g}; see '
            'queue_ms and inference_ms of the matches'
        )


class Agreement:
    """How many matches in a row agree on where the robot is.

    A robot that drives is elsewhere at each: each is compared with the one before. What the live
    node says itself of the queries in a row that agree counts as well.
    """

    def __init__(self, config: BelievedMatchConfig) -> None:
        self._config = config
        self._last: Fix | None = None
        self._count = self._frames = 0

    @property
    def support(self) -> int:
        return max(self._count, self._frames)

    @property
    def enough(self) -> bool:
        return self.support >= self._config.matches

    def add(self, fix: Fix, consistent_frames: int) -> None:
        """Take one more match, newer than the last one."""
        if self._last is None or not self._follows(fix, self._last):
            self._count = 0
        self._last, self._frames = fix, consistent_frames
        self._count += 1

    def clear(self) -> None:
        self._last, self._count, self._frames = None, 0, 0

    def _follows(self, fix: Fix, last: Fix) -> bool:
        gap_s = (fix.stamp_ns - last.stamp_ns) / 1e9
        near = fix.distance_m(last) <= self._config.match_distance_m
        return near and gap_s <= self._config.match_gap_s
