"""The parameter file for robot_localization, against its sources, and the poses it is given.

Names and rules: `src/ros_filter.cpp`, `src/filter_base.cpp`, `src/ekf.cpp` of version 3.6.0.
"""

from pathlib import Path

import numpy as np
import pytest
import yaml
from std_msgs.msg import Header

from vpr_ros.config import NodeConfig
from vpr_ros.maps.place_map import MapInfo
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.nodes.outputs.messages import Signature, place_match, pose_of, to_time
from vpr_ros.records import (
    Candidate,
    Place,
    Pose,
    PoseKind,
    Recognition,
    RelativePose,
    Verdict,
    Verification,
)

FILE = Path(__file__).resolve().parents[3] / 'config' / 'robot_localization.yaml'
DECLARED = {
    'frequency', 'sensor_timeout', 'two_d_mode', 'publish_tf', 'print_diagnostics', 'map_frame',
    'odom_frame', 'base_link_frame', 'world_frame', 'smooth_lagged_data', 'history_length',
    'initial_estimate_covariance', 'process_noise_covariance',
}  # fmt: skip
OF_POSE = {'', '_config', '_differential', '_relative', '_rejection_threshold', '_queue_size'}
OF_ODOM = {'', '_config', '_differential', '_relative', '_queue_size'}
STATE_SIZE = 15
X, Y, YAW = 0, 1, 5
LIKE_ALONE = [X, Y, YAW]


@pytest.fixture(scope='module')
def settings():
    given = yaml.safe_load(FILE.read_text())
    assert list(given) == ['ekf_filter_node_map']
    return given['ekf_filter_node_map']['ros__parameters']


def test_every_name_is_one_that_the_filter_declares(settings):
    known = DECLARED | {f'pose0{x}' for x in OF_POSE} | {f'odom0{x}' for x in OF_ODOM}
    assert settings.keys() == known


def test_lengths_and_types_are_those_the_filter_takes(settings):
    for name in ('pose0_config', 'odom0_config'):
        assert [type(x) for x in settings[name]] == [bool] * STATE_SIZE
    for name in ('initial_estimate_covariance', 'process_noise_covariance'):
        # Another length than 15 or 225 is read past its end.
        assert [type(x) for x in settings[name]] == [float] * STATE_SIZE
        assert min(settings[name]) > 0.0
    for name in ('frequency', 'sensor_timeout', 'history_length', 'pose0_rejection_threshold'):
        assert isinstance(settings[name], float)


def test_a_pose_is_absolute_and_late(settings):
    assert [k for k, used in enumerate(settings['pose0_config']) if used] == LIKE_ALONE
    assert not settings['pose0_differential'] and not settings['pose0_relative']
    assert settings['smooth_lagged_data'] and settings['history_length'] >= 5.0
    assert settings['world_frame'] == settings['map_frame'] == NodeConfig().map_frame
    assert settings['base_link_frame'] == NodeConfig().base_frame
    assert settings['pose0'] == '/place_recognition/pose'
    frames = {settings[x] for x in ('map_frame', 'odom_frame', 'base_link_frame')}
    assert len(frames) == 3  # else the filter refuses them


def test_odometry_gives_velocities_only(settings):
    used = [k for k, used in enumerate(settings['odom0_config']) if used]
    assert used == [6, 7, 11]


def message(x_m, relative=None):
    """The pose that the live node publishes for a place at x."""
    place = Place(5, 1, 10**9, Pose((x_m, 2.0, 0.0)))
    points = np.zeros((50, 2), np.float32)
    found = relative and Verification(
        'sift', 'pnp_depth', points, points, np.ones(50, bool), relative=relative
    )
    candidate = Candidate(place, 0.9, verification=found)
    recognition = Recognition(
        4, 12 * 10**9, Verdict.ACCEPTED, '', (candidate,), assumed=Pose((0.0, 0.0, 0.0))
    )
    info = MapInfo('uuid', 7, 'sage_test', 'ab' * 32, 40, 'map', 1, '2026')
    header = Header(stamp=to_time(12 * 10**9), frame_id='camera')
    signature = Signature(NodeConfig(), 'sage_test:abab', 0.75, info)
    return pose_of(place_match(recognition, header, Arrival(b'', 0.0, 0), signature))


def measured(x_m, sigma_m=0.3, sigma_rad=0.05):
    covariance = np.diag([sigma_m**2] * 3 + [sigma_rad**2] * 3)
    return message(x_m, RelativePose(PoseKind.METRIC, Pose((0.0, 0.0, 0.0)), covariance))


def passes(settings, pose, state_variances, state=(0.0, 0.0, 0.0)):
    """checkMahalanobisThreshold of FilterBase, for x, y and yaw."""
    covariance = np.reshape(pose.pose.covariance, (6, 6))[np.ix_(LIKE_ALONE, LIKE_ALONE)]
    innovation = np.array([pose.pose.pose.position.x, pose.pose.pose.position.y, 0.0]) - state
    spread = np.linalg.inv(np.diag(state_variances) + covariance)
    return innovation @ spread @ innovation < settings['pose0_rejection_threshold'] ** 2


@pytest.mark.parametrize('pose', [message(100.0), measured(100.0)])
def test_our_pose_is_what_the_filter_needs(settings, pose):
    assert pose.header.frame_id == settings['world_frame']  # else it waits for a transform
    assert pose.header.stamp.sec == 12  # of the image
    covariance = np.reshape(pose.pose.covariance, (6, 6))
    assert np.isfinite(covariance).all()
    assert np.diag(covariance).min() > 1e-9  # less would be replaced
    assert np.linalg.eigvalsh(covariance).min() > 0.0
    q = pose.pose.pose.orientation
    assert abs(np.linalg.norm([q.x, q.y, q.z, q.w]) - 1.0) < 0.01


def test_the_first_match_is_taken_wherever_it_is(settings):
    start = np.take(settings['initial_estimate_covariance'], LIKE_ALONE)
    for x_m in (5.0, 100.0, 350.0):
        assert passes(settings, measured(x_m), start)
    assert not passes(settings, measured(5.0), [1e-9] * 3)  # with robot_localization's default


def test_later_a_false_match_is_refused_and_a_true_one_is_not(settings):
    localised = [0.2**2, 0.2**2, 0.05**2]
    here = (100.0, 2.0, 0.0)
    assert passes(settings, measured(100.8), localised, here)
    assert not passes(settings, measured(103.0), localised, here)
    assert passes(settings, message(115.0), localised, here)  # copied from the map: sure to 5 m
    assert not passes(settings, message(130.0), localised, here)
