"""Stand-ins for those who hear us, with the rules of their sources, and matches to tell."""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped

from vpr_msgs.msg import PlaceMatch

SECOND = 10**9
METRIC = (0.3, 0.1)  # standard deviations of a measured match, metres and radians
TF_CACHE_NS = 10 * SECOND


def time_of(seconds):
    whole, rest = divmod(round(seconds * SECOND), SECOND)
    return Time(sec=whole, nanosec=rest)


def covariance_of(sigma_m, sigma_rad):
    return np.diag([sigma_m**2] * 3 + [sigma_rad**2] * 3)


def placed(message, x, y, yaw=0.0, covariance=None):
    """Write a pose on the floor into a PoseWithCovariance."""
    message.pose.position.x, message.pose.position.y = x, y
    message.pose.orientation.z, message.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    message.covariance = (covariance_of(*METRIC) if covariance is None else covariance).ravel()


def a_match(at_s, x=0.0, y=0.0, yaw=0.0, covariance=None, frames=1, frame='map', **changes):
    match = PlaceMatch(pose_valid=True, map_frame=frame, consistent_frames=frames, **changes)
    match.header.stamp = time_of(at_s)
    match.header.frame_id = 'camera'
    placed(match.pose, x, y, yaw, covariance)
    return match


def own_pose(at_s, x=0.0, y=0.0, yaw=0.0, covariance=None, frame='map'):
    message = PoseWithCovarianceStamped()
    message.header.stamp, message.header.frame_id = time_of(at_s), frame
    placed(message.pose, x, y, yaw, covariance)
    return message


def malformed(message):
    """What nav2's validateMsg refuses; '' when nothing."""
    pose = message.pose.pose
    if message.header.stamp.nanosec >= SECOND or not message.header.frame_id:
        return 'header'
    position = [pose.position.x, pose.position.y, pose.position.z]
    q = pose.orientation
    quaternion = np.array([q.x, q.y, q.z, q.w])
    if not np.isfinite([*position, *quaternion, *message.pose.covariance]).all():
        return 'not finite'
    if abs(float(quaternion @ quaternion) - 1.0) >= 1e-4:
        return 'quaternion'
    if any(abs(value) > 1e9 or value < 0.0 for value in message.pose.covariance):
        return 'covariance'
    return ''


class Amcl:
    """nav2's AMCL as far as initialpose goes: amcl_node.cpp, initialPoseReceived and after.

    `now_s` and `moved` (x, y in the odometry frame, by seconds) are the test's to set.
    """

    def __init__(self, frame='map', cells=(1000, 1000)):
        self.frame, self.cells, self.now_s = frame, cells, 100.0
        self.moved = lambda seconds: (0.0, 0.0)
        self.pose = None  # x, y, yaw
        self.particles = None
        self.refusals = []
        self.integrated = None

    def receive(self, message):
        if wrong := malformed(message):
            self.refusals.append(wrong)
            return
        if message.header.frame_id != self.frame:
            self.refusals.append('frame')
            return
        point = message.pose.pose.position
        if abs(point.x) > self.cells[0] or abs(point.y) > self.cells[1]:
            self.refusals.append('out of the map')
            return
        self._handle(message)

    def _handle(self, message):
        stamp_s = message.header.stamp.sec + message.header.stamp.nanosec / SECOND
        age_s = self.now_s - stamp_s
        # The look-up in the tf buffer throws, and the identity is taken in its place.
        self.integrated = 0.0 <= age_s <= TF_CACHE_NS / SECOND
        then, now = self.moved(stamp_s), self.moved(self.now_s)
        step = np.subtract(now, then) if self.integrated else (0.0, 0.0)
        q = message.pose.pose.orientation
        yaw = 2.0 * math.atan2(q.z, q.w)
        c, s = math.cos(yaw), math.sin(yaw)
        point = message.pose.pose.position
        x, y = point.x + c * step[0] - s * step[1], point.y + s * step[0] + c * step[1]
        self.pose = (x, y, yaw)
        covariance = np.asarray(message.pose.covariance).reshape(6, 6)
        seed = np.zeros((3, 3))
        seed[:2, :2], seed[2, 2] = covariance[:2, :2], covariance[5, 5]
        self.particles = np.sqrt(np.linalg.eigvalsh(seed))  # NaN where it is not positive

    def says(self):
        """Its amcl_pose after the next scan."""
        return own_pose(self.now_s, *self.pose)
