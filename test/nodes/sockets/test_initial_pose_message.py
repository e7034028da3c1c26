"""What is put on initialpose, against the rules of those who hear it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from localisers import Amcl, a_match, malformed
from nav_msgs.msg import OccupancyGrid
from scipy.spatial.transform import Rotation

from vpr_ros.config.sockets import InitialPoseConfig
from vpr_ros.errors import RosError
from vpr_ros.nodes.sockets.believed import fix_of
from vpr_ros.nodes.sockets.initial_pose_message import initial_pose, require_inside

CONFIG = InitialPoseConfig(max_sigma_m=3e4)


def sent(match, config=CONFIG):
    return initial_pose(fix_of(match, config, 0), config)


def matrix(message):
    return np.asarray(message.pose.covariance).reshape(6, 6)


def random_covariance(rng, scale):
    root = rng.normal(size=(6, 6)) * scale
    return root @ root.T + 1e-12 * np.eye(6)


@pytest.mark.parametrize('two_d', [True, False])
@pytest.mark.parametrize('scale', [1e-8, 0.1, 3.0, 5e3])
def test_amcl_takes_it_whatever_the_covariance(two_d, scale):
    rng = np.random.default_rng(int(scale * 10) + two_d)
    config = replace(CONFIG, two_d=two_d)
    refused_raw = 0
    for _ in range(50):
        covariance = random_covariance(rng, scale)
        match = a_match(99.0, *rng.uniform(-50, 50, 2), rng.uniform(-7, 7), covariance)
        message = sent(match, config)
        amcl = Amcl()
        amcl.receive(message)
        assert amcl.refusals == []
        assert np.isfinite(amcl.particles).all()
        made = matrix(message)
        assert (made == made.T).all()
        assert np.linalg.eigvalsh(made).min() > 0.0
        assert made[0, 0] >= max(CONFIG.min_sigma_m**2, covariance[0, 0] * (1 - 1e-12))
        message.pose.covariance = covariance.ravel()
        refused_raw += malformed(message) == 'covariance'
    assert refused_raw > 40  # the rules are needed


def test_the_stamp_is_the_images_and_the_frame_the_localisers():
    message = sent(a_match(1234.000000567))
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1234, 567)
    assert message.header.frame_id == 'map'


def test_amcl_adds_the_way_since_the_image():
    amcl = Amcl()
    amcl.moved = lambda seconds: (2.0 * (seconds - 99.0), 0.0)
    amcl.receive(sent(a_match(99.0, 5.0, 1.0, math.pi / 2)))
    assert amcl.pose == pytest.approx((5.0, 3.0, math.pi / 2))
    amcl.receive(sent(a_match(101.0, 5.0, 1.0, math.pi / 2)))  # why the future is refused
    assert not amcl.integrated
    assert amcl.pose == pytest.approx((5.0, 1.0, math.pi / 2))


def test_on_the_floor_only_x_y_and_yaw_are_left():
    match = a_match(99.0, 1.0, 2.0)
    match.pose.pose.position.z = 0.7
    x, y, z, w = Rotation.from_euler('ZYX', [1.2, 0.1, -0.2]).as_quat()
    q = match.pose.pose.orientation
    q.x, q.y, q.z, q.w = 3 * x, 3 * y, 3 * z, 3 * w  # not of unit length, either
    pose = sent(match).pose.pose
    assert (pose.position.x, pose.position.y, pose.position.z) == (1.0, 2.0, 0.0)
    assert (pose.orientation.x, pose.orientation.y) == (0.0, 0.0)
    assert 2 * math.atan2(pose.orientation.z, pose.orientation.w) == pytest.approx(1.2)
    assert 0.0 < matrix(sent(match))[2, 2] <= 1e-5
    full = sent(match, replace(CONFIG, two_d=False)).pose.pose
    assert full.position.z == pytest.approx(0.7)
    assert np.linalg.norm([full.orientation.x, full.orientation.y]) > 0.05


def grid(width, height, x=0.0, y=0.0, yaw=0.0, resolution=0.05):
    made = OccupancyGrid()
    made.info.width, made.info.height, made.info.resolution = width, height, resolution
    made.info.origin.position.x, made.info.origin.position.y = x, y
    made.info.origin.orientation.z = math.sin(yaw / 2)
    made.info.origin.orientation.w = math.cos(yaw / 2)
    return made


@pytest.mark.parametrize(
    ('x', 'y', 'where', 'inside'),
    [
        (5.0, 4.0, grid(200, 100), True),
        (5.0, 6.0, grid(200, 100), False),
        (-1.0, 1.0, grid(200, 100), False),
        (-1.0, 1.0, grid(200, 100, -5.0, -1.0), True),
        (-2.0, 5.0, grid(200, 100, yaw=math.pi / 2), True),
        (2.0, 5.0, grid(200, 100, yaw=math.pi / 2), False),
        (60.0, 1.0, grid(50, 50, 50.0, 0.0, resolution=1.0), False),  # on it; AMCL refuses it
    ],
)
def test_what_is_not_on_the_map_is_refused(x, y, where, inside):
    fix = fix_of(a_match(1.0, x, y), CONFIG, 0)
    if inside:
        require_inside(fix, where)
    else:
        with pytest.raises(RosError, match='not on the map'):
            require_inside(fix, where)
