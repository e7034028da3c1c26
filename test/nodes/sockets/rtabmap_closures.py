"""Loop closures for the tests of RTAB-Map's socket."""

import numpy as np

from vpr_msgs.msg import LoopClosure
from vpr_ros.nodes.outputs.messages import NS, to_pose, to_time
from vpr_ros.records import Pose

BASE = 'base_link'
AHEAD = Pose((1.0, 0.5, 0.0), (0.0, 0.0, 0.0995037902, 0.9950372))
SIGMA = (0.1, 0.2, 0.3, 0.01, 0.02, 0.03)


def closure(number, from_s, to_s, pose=AHEAD, kind=LoopClosure.POSE_METRIC, covariance=None):
    """Between images at two seconds."""
    message = LoopClosure(
        closure_id=number,
        from_stamp=to_time(round(from_s * NS)),
        to_stamp=to_time(round(to_s * NS)),
        pose_kind=kind,
    )
    message.header.stamp = message.from_stamp
    message.header.frame_id = BASE
    message.relative_pose.pose = to_pose(pose)
    if covariance is None:
        covariance = np.diag(np.square(SIGMA))
    message.relative_pose.covariance = np.asarray(covariance, np.float64).ravel()
    return message
