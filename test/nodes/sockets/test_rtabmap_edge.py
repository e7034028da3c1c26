"""Frames, order and size of what RTAB-Map's optimisers are told."""

import gtsam
import numpy as np
import pytest
from rtabmap_closures import BASE
from scipy.spatial.transform import Rotation

from vpr_ros.config import updated
from vpr_ros.config.sockets import RtabmapConfig
from vpr_ros.maps.dead_reckoning import Uncertain
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.odometry_track import OdometryTrack
from vpr_ros.nodes.sockets.rtabmap_edge import LEAST_SIGMA, MOST_SIGMA, Motion, information
from vpr_ros.records import Pose

QUARTER = Pose((2.0, 0.0, 0.0), tuple(Rotation.from_euler('z', 90, degrees=True).as_quat()))


def turned(pose):
    return np.kron(np.eye(2), pose.rotation().as_matrix())


def test_information_is_along_the_axes_of_the_older_node():
    sigmas = np.array([1.0, 0.1, 0.2, 0.01, 0.02, 0.03])
    matrix = information(Uncertain(QUARTER, np.diag(sigmas**2)))
    # The newer base's y axis is the older one's x axis.
    expected = 1 / np.array([0.1, 1.0, 0.2, 0.02, 0.01, 0.03]) ** 2
    assert np.diag(matrix) == pytest.approx(expected, rel=1e-6)
    assert matrix == pytest.approx(np.diag(expected), abs=1e-6)


def test_a_pose_off_by_what_we_state_costs_the_optimiser_as_much():
    """GTSAM, fed as RTAB-Map feeds it: rotation first, the rest as the message has it."""
    generator = np.random.default_rng(0)
    root = generator.normal(size=(6, 6)) * 0.01
    covariance = root @ root.T + 1e-6 * np.eye(6)
    pose = Pose((3.0, -1.0, 0.5), tuple(Rotation.from_rotvec([0.3, -0.5, 1.2]).as_quat()))
    matrix = information(Uncertain(pose, covariance))
    order = [3, 4, 5, 0, 1, 2]
    noise = gtsam.noiseModel.Gaussian.Information(matrix[np.ix_(order, order)])
    factor = gtsam.BetweenFactorPose3(0, 1, gtsam.Pose3(pose.matrix()), noise)
    error = generator.normal(size=6) * 1e-4
    off = pose.matrix()
    off[:3, 3] += error[:3]
    off[:3, :3] = Rotation.from_rotvec(error[3:]).as_matrix() @ off[:3, :3]
    values = gtsam.Values()
    values.insert(0, gtsam.Pose3())
    values.insert(1, gtsam.Pose3(off))
    stated = 0.5 * error @ np.linalg.solve(covariance, error)
    assert factor.error(values) == pytest.approx(stated, rel=1e-2)


def test_information_stays_within_what_rtabmap_counts():
    for size, sigma in ((1e-30, LEAST_SIGMA), (1e30, MOST_SIGMA)):
        matrix = information(Uncertain(QUARTER, size * np.eye(6)))
        assert matrix == pytest.approx(np.eye(6) / sigma**2, rel=1e-6, abs=1e-9)
    assert np.diag(matrix).min() > 1e-4  # less is left out of RGBD/OptimizeMaxError


@pytest.fixture
def track():
    """Two metres a second along x, for five seconds."""
    made = OdometryTrack()
    for tenth in range(51):
        made.put(tenth * NS // 10, Pose((0.2 * tenth, 0.0, 0.0)))
    return made


def test_odometry_tells_the_motion_between_image_and_node(track):
    motion = Motion(RtabmapConfig(), track)
    found = motion.between(1 * NS, 2 * NS, BASE)
    assert found.pose.position_m == pytest.approx((2.0, 0.0, 0.0))
    assert 0 < found.covariance[0, 0] < 0.1
    assert motion.between(2 * NS, 1 * NS, BASE).pose.position_m == pytest.approx((-2.0, 0.0, 0.0))
    assert motion.between(1 * NS, 3 * NS, BASE) is None  # further than node_gap_s


@pytest.mark.parametrize('frame', ['', 'camera_link'])
def test_without_odometry_the_covariance_grows_with_the_time(track, frame):
    if frame:  # odometry of something else
        motion = Motion(updated(RtabmapConfig(), {'speed_m': 2.0}), track)
        motion.frame = frame
    else:
        motion = Motion(updated(RtabmapConfig(), {'speed_m': 2.0}), OdometryTrack())
    found = motion.between(1 * NS, 14 * NS // 10, BASE)
    assert found.pose == Pose((0.0, 0.0, 0.0))
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx([0.8] * 3 + [0.2] * 3)
    assert motion.between(1 * NS, 2 * NS, BASE) is None  # further than bare_gap_s


def test_a_whole_link_is_right(track):
    """Node, image, place's image, its node: every pose is known, so the link is, too."""
    motion = Motion(RtabmapConfig(), track)
    at = track.at
    stated = Uncertain(at(4 * NS).inverse() @ at(NS), 1e-4 * np.eye(6))
    link = (
        motion.between(35 * NS // 10, 4 * NS, BASE)
        @ stated
        @ motion.between(NS, 15 * NS // 10, BASE)
    )
    wanted = at(35 * NS // 10).inverse() @ at(15 * NS // 10)
    assert link.pose.position_m == pytest.approx(wanted.position_m)
