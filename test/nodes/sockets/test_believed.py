"""Which matches may be told to a localiser, and how many agree."""

import math

import numpy as np
import pytest
from localisers import a_match, covariance_of, own_pose
from scipy.spatial.transform import Rotation

from vpr_msgs.msg import PlaceMatch
from vpr_ros.config.sockets import BelievedMatchConfig
from vpr_ros.errors import RosError
from vpr_ros.nodes.sockets.believed import Agreement, fix_of, own_fix

CONFIG = BelievedMatchConfig()
SECOND = 10**9


def test_a_match_becomes_where_the_robot_was():
    fix = fix_of(a_match(12.5, 3.0, 4.0, 1.0), CONFIG, 13 * SECOND)
    assert fix.stamp_ns == 12_500_000_000
    assert fix.pose.position_m == (3.0, 4.0, 0.0)
    assert fix.yaw == pytest.approx(1.0)
    assert (fix.sigma_m, fix.sigma_rad) == pytest.approx((0.3, 0.1))


def broken(**changes):
    match = a_match(10.0)
    for name, value in changes.items():
        *path, last = name.split('__')
        target = match
        for part in path:
            target = getattr(target, part)
        setattr(target, last, value)
    return match


@pytest.mark.parametrize(
    ('match', 'words'),
    [
        (a_match(10.0, frame='odom'), "in frame 'odom'.*wants 'map'"),
        (broken(pose_valid=False), 'have no pose'),
        (broken(status=PlaceMatch.STATUS_AMBIGUOUS), 'no match was accepted'),
        (broken(pose__pose__position__x=math.nan), 'not finite'),
        (broken(pose__pose__position__y=math.inf), 'not finite'),
        (broken(pose__pose__orientation__w=0.0), 'not finite'),
        (broken(pose__covariance=np.full(36, np.nan)), 'not finite'),
        (broken(pose__covariance=-covariance_of(1.0, 1.0).ravel()), 'covariance is negative'),
        (a_match(10.0, covariance=covariance_of(20.0, 0.1)), 'not sure enough: 20.0 m'),
        (a_match(11.0), 'of the future, by 0.5 s'),
        (a_match(5.0), 'too late: it is 5.5 s old'),
    ],
)
def test_what_a_localiser_may_not_be_told(match, words):
    with pytest.raises(RosError, match=words):
        fix_of(match, CONFIG, round(10.5 * SECOND))


def test_poses_of_a_camera_are_known_for_what_they_are():
    for angles in ([-math.pi / 2, 0.0, -math.pi / 2], [0.0, -1.4, 0.0]):  # optical; looking up
        match = a_match(10.0)
        q = match.pose.pose.orientation
        q.x, q.y, q.z, q.w = Rotation.from_euler('ZYX', angles).as_quat()
        with pytest.raises(RosError, match='not upright'):
            fix_of(match, CONFIG, 0)


def test_without_a_clock_any_age_will_do():
    assert fix_of(a_match(5.0), CONFIG, 0).stamp_ns == 5 * SECOND


def test_a_localiser_in_another_frame_is_not_compared():
    with pytest.raises(RosError, match="'odom'.*global_frame is 'map'"):
        own_fix(own_pose(1.0, frame='odom'), 'map')


def test_headings_are_compared_round_the_circle():
    here = fix_of(a_match(1.0, yaw=3.1), CONFIG, 0)
    there = fix_of(a_match(1.0, yaw=-3.1), CONFIG, 0)
    assert here.turn_rad(there) == pytest.approx(2 * math.pi - 6.2)


def support(*matches):
    agreement = Agreement(CONFIG)
    for match in matches:
        agreement.add(fix_of(match, CONFIG, 0), match.consistent_frames)
    return agreement.support, agreement.enough


def test_matches_agree_when_each_is_near_the_one_before():
    assert support(a_match(1), a_match(2, 2.0), a_match(3, 4.0)) == (3, True)
    assert support(a_match(1), a_match(2, 2.0), a_match(3, 40.0)) == (1, False)
    assert support(a_match(1), a_match(2, 2.0), a_match(30, 4.0)) == (1, False)


def test_what_the_live_node_says_of_agreement_counts():
    assert support(a_match(1, frames=3)) == (3, True)
    assert support(a_match(1, frames=3), a_match(2, 50.0, frames=1)) == (1, False)
