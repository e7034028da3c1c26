"""A drive around a ring, with odometry that drifts, as messages."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from geometry_msgs.msg import PoseWithCovariance
from nav_msgs.msg import Odometry
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from vpr_msgs.msg import LoopClosure
from vpr_ros.nodes.outputs.messages import NS, to_pose, to_time
from vpr_ros.records import Pose

UUID = 'a-map'


def yaw(angle):
    return tuple(Rotation.from_euler('z', angle).as_quat().tolist())


@dataclass
class Ring:
    """One lap and a bit, counter-clockwise; the heading of its odometry drifts to the left."""

    lap_m: float = 60.0
    step_m: float = 0.5
    drift_rad: float = 0.003  # for each metre
    began_s: int = 1000
    truth: list = field(init=False)
    odom: list = field(init=False)

    def __post_init__(self):
        radius = self.lap_m / (2 * math.pi)
        angles = np.arange(0.0, self.lap_m + 4.0, self.step_m) / radius
        self.truth = [
            Pose((radius * math.sin(a), radius * (1 - math.cos(a)), 0.0), yaw(a)) for a in angles
        ]
        slip = Pose((0.0, 0.0, 0.0), yaw(self.drift_rad * self.step_m))
        self.odom = [self.truth[0]]
        for before, after in pairwise(self.truth):
            self.odom.append(self.odom[-1] @ before.inverse() @ after @ slip)
        self.start = self.truth[0]
        self.home = self.truth[-1].position_m
        self.drift_m = self.odom[-1].distance_m(self.truth[-1])

    def stamp_ns(self, row):
        return self.began_s * NS + int(row * NS // 10)

    def odometry(self):
        """Messages, 10 Hz."""
        return [odometry(self.stamp_ns(row), pose) for row, pose in enumerate(self.odom)]

    def closure(self, id_, to=0.0, row=-1, sigma=0.05):
        """A metric closure; its older moment is claimed to lie `to` laps after where it is."""
        row %= len(self.truth)
        lap = round(self.lap_m / self.step_m)
        older = row - lap
        pose = self.truth[row].inverse() @ self.truth[older]
        stamps = self.stamp_ns(row), self.stamp_ns(older + round(to * lap))
        return closure(id_, *stamps, pose, sigma)

    def end_error(self, correction):
        return (correction @ self.odom[-1]).distance_m(self.truth[-1])


def odometry(stamp_ns, pose):
    header = Header(stamp=to_time(stamp_ns), frame_id='odom')
    return Odometry(
        header=header, child_frame_id='base_link', pose=PoseWithCovariance(pose=to_pose(pose))
    )


def closure(id_, from_ns, to_ns, pose, sigma=0.05):
    covariance = np.eye(6) * sigma**2
    return LoopClosure(
        header=Header(stamp=to_time(from_ns), frame_id='base_link'),
        closure_id=id_,
        kind=LoopClosure.KIND_INTRA_SESSION,
        from_stamp=to_time(from_ns),
        to_stamp=to_time(to_ns),
        map_uuid=UUID,
        pose_kind=LoopClosure.POSE_METRIC,
        relative_pose=PoseWithCovariance(pose=to_pose(pose), covariance=covariance.ravel()),
    )
