"""Poses out of the bytes of a message are those that rclpy reads."""

import math
import struct

import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from tf2_msgs.msg import TFMessage

from vpr_ros.nodes.inputs.pose_cdr import Stamped, read_pose, read_transforms
from vpr_ros.nodes.outputs.messages import to_time

STAMP = 1_234_567_890_987_654_321
POINT, TURN = (1.5, -2.0, 3.25), (0.0, 0.6, 0.0, 0.8)


def fill(point, turn):
    point.x, point.y, point.z = POINT
    turn.x, turn.y, turn.z, turn.w = TURN


def pose_message(type_, frame, child=''):
    message = type_()
    message.header.stamp, message.header.frame_id = to_time(STAMP), frame
    if child:
        message.child_frame_id = child
    pose = message.pose if type_ is PoseStamped else message.pose.pose
    fill(pose.position, pose.orientation)
    return message


def transform(frame, child):
    message = TransformStamped(child_frame_id=child)
    message.header.stamp, message.header.frame_id = to_time(STAMP), frame
    fill(message.transform.translation, message.transform.rotation)
    return message


@pytest.mark.parametrize('type_', [PoseStamped, PoseWithCovarianceStamped])
@pytest.mark.parametrize('frame', ['', 'm', 'map', 'a_map', 'maps/fünf'])
def test_poses_behind_names_of_any_length(type_, frame):
    data = serialize_message(pose_message(type_, frame))
    assert read_pose(data, type_) == Stamped(STAMP, frame, '', POINT, TURN)


@pytest.mark.parametrize('frame', ['', 'odom', 'odom1', 'odom12', 'odom123'])
@pytest.mark.parametrize('child', ['b', 'base', 'base_link', 'base_links'])
def test_odometry(frame, child):
    data = serialize_message(pose_message(Odometry, frame, child))
    assert read_pose(data, Odometry) == Stamped(STAMP, frame, child, POINT, TURN)


@pytest.mark.parametrize('count', [0, 1, 7])
def test_transforms(count):
    names = [('f' * k, 'c' * (2 * k + 1)) for k in range(count)]
    data = serialize_message(TFMessage(transforms=[transform(*pair) for pair in names]))
    wanted = [Stamped(STAMP, *pair, POINT, TURN) for pair in names]
    assert read_transforms(data, TFMessage) == wanted


def test_big_endian_is_read():
    data = bytes(4) + struct.pack('>iII4s7d', 1, 2, 4, b'map', *POINT, *TURN)
    assert read_pose(data, PoseStamped) == Stamped(1_000_000_002, 'map', '', POINT, TURN)


def test_every_cut_is_noticed():
    odometry = serialize_message(pose_message(Odometry, 'odom', 'base_link'))
    end = 4 + 8 + 9 + 3 + 4 + 10 + 2 + 56  # encapsulation ... to the last number of the pose
    assert all(read_pose(odometry[:k], Odometry) is None for k in range(0, end, 3))
    transforms = serialize_message(TFMessage(transforms=[transform('a', 'b')] * 2))
    assert all(read_transforms(transforms[:k], TFMessage) is None for k in range(len(transforms)))


@pytest.mark.parametrize('type_', [Odometry, PoseStamped])
def test_bytes_of_another_kind_are_none(type_):
    assert read_pose(b'\xff\xff\xff\xff' + bytes(10), type_) is None
    assert read_pose(b'\0\1\0\0' + b'\xff' * 200, type_) is None
    assert read_transforms(b'\0\1\0\0' + b'\xff' * 200, TFMessage) is None


@pytest.mark.parametrize(
    'changed', [{'position_m': (math.nan, 0.0, 0.0)}, {'position_m': (0.0, math.inf, 0.0)},
                {'quaternion': (0.0, 0.0, 0.0, 0.0)}, {'quaternion': (0.0, math.nan, 0.0, 1.0)}],
)  # fmt: skip
def test_what_is_not_finite_is_no_pose(changed):
    assert Stamped(0, '', '', POINT, TURN)._replace(**changed).pose() is None


def test_a_quaternion_of_another_length_is_put_right():
    pose = Stamped(0, '', '', POINT, (0.0, 1.2, 0.0, 1.6)).pose()
    assert pose.quaternion == pytest.approx(TURN)
