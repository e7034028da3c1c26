"""Poses for images: by a topic or by tf, in the frame of the map where they are recorded."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.clock import ClockType
from rclpy.parameter import Parameter
from rclpy.time import Time
from waiting import eventually

from vpr_ros.config import NodeConfig
from vpr_ros.errors import ConfigError
from vpr_ros.nodes.inputs.pose_input import PoseInput, require_poses
from vpr_ros.nodes.outputs.messages import NS, POSE_TYPES, to_time
from vpr_ros.nodes.session import spinning_node
from vpr_ros.records import Pose

ODOMETRY = NodeConfig(pose_input='odometry')
TF = NodeConfig(pose_input='tf')


class Frames:
    """Transforms that know one pair of frames."""

    def __init__(self):
        self.asked, self.resets = [], 0

    def lookup(self, parent, child, stamp_ns):
        self.asked.append((parent, child, stamp_ns))
        return Pose((4.0, 5.0, 6.0))

    def reset(self):
        self.resets += 1


@pytest.fixture
def listen(context, spin):
    """Make a pose input on a node that spins, and a publisher to it."""
    with ExitStack() as stack:
        node = rclpy.create_node('poses', context=context)
        stack.callback(node.destroy_node)

        def make(config, map_frame='map'):
            poses = PoseInput(node, config, Frames(), lambda: map_frame, stack)
            type_ = POSE_TYPES.get(config.pose_input, Odometry)
            publisher = node.create_publisher(type_, 'odom', 10)
            spin(node)
            return poses, publisher

        yield make


def pose_message(type_, x, second, frame='map'):
    message = type_()
    message.header.frame_id, message.header.stamp = frame, to_time(int(second * NS))
    pose = message.pose if type_ is PoseStamped else message.pose.pose
    pose.position.x = x
    return message


@pytest.mark.parametrize(
    ('name', 'type_'),
    [
        ('odometry', Odometry),
        ('pose', PoseStamped),
        ('pose_with_covariance', PoseWithCovarianceStamped),
    ],
)
def test_every_type_is_heard(listen, name, type_):
    poses, publisher = listen(replace(ODOMETRY, pose_input=name))
    assert poses.at(NS) is None
    for second in (1.0, 1.2):
        publisher.publish(pose_message(type_, 10 * second, second))
    assert eventually(lambda: poses.at(int(1.15 * NS))).position_m[0] >= 10.0
    eventually(lambda: poses.at(int(1.1 * NS)).position_m[0] == pytest.approx(11.0))
    poses.reset()
    assert poses.at(int(1.1 * NS)) is None


def test_poses_that_are_not_finite_are_dropped_with_a_sentence(listen, capfd):
    poses, publisher = listen(ODOMETRY)
    publisher.publish(pose_message(Odometry, np.nan, 1.0))
    publisher.publish(pose_message(Odometry, 5.0, 1.1))
    assert eventually(lambda: poses.at(NS)).position_m[0] == 5.0
    assert 'a pose that is not finite was dropped' in capfd.readouterr().err


def test_a_map_is_not_extended_with_poses_of_another_frame(listen, capfd):
    poses, publisher = listen(replace(ODOMETRY, mode='both'))
    publisher.publish(pose_message(Odometry, 1.0, 1.0, 'odom'))
    publisher.publish(pose_message(Odometry, 2.0, 1.1, 'map'))
    assert eventually(lambda: poses.at(NS)).position_m[0] == 2.0
    assert "poses are in frame 'odom' and the map in 'map'" in capfd.readouterr().err


def why(poses, stamp_ns=NS):
    """Report after an image at a stamp, once every image has been without a pose for a while."""
    assert poses.at(stamp_ns) is None
    return poses.report(0.0)


def test_why_images_have_no_pose(listen):
    poses, publisher = listen(ODOMETRY)
    eventually(lambda: 'paused' in why(poses).trouble)  # the publisher of this test
    publisher.publish(pose_message(Odometry, 1.0, 5.0))
    assert eventually(lambda: poses.at(5 * NS))
    assert poses.report(0.0).trouble == ''
    late = why(poses).trouble
    assert late.startswith('the newest pose on /odom is 4.0 s newer than the image')
    assert 'no stamp' in why(poses, 0).trouble
    report = why(poses)
    assert (report.source, report.known) == ('/odom', 1) and report.unknown >= 4
    assert poses.report(60.0).trouble == ''  # not yet


def test_another_type_of_poses_is_named_with_the_remedy(context):
    node = rclpy.create_node('poses', context=context)
    with spinning_node('driver') as driver, ExitStack() as stack:
        stack.callback(node.destroy_node)
        poses = PoseInput(node, ODOMETRY, Frames(), lambda: 'map', stack)
        assert 'which nobody publishes: remap odom' in why(poses).trouble
        driver.create_publisher(PoseStamped, 'odom', 10)
        told = eventually(lambda: 'expected' in (x := why(poses).trouble) and x)
    assert 'publishes geometry_msgs/msg/PoseStamped, expected nav_msgs/msg/Odometry' in told
    assert told.endswith('set pose_input to pose')


def test_poses_of_another_frame_are_the_reason(listen):
    poses, publisher = listen(replace(ODOMETRY, mode='both'))
    publisher.publish(pose_message(Odometry, 1.0, 1.0, 'odom'))
    eventually(lambda: "poses are in frame 'odom'" in why(poses).trouble)


def test_why_tf_has_no_pose(listen):
    poses, _ = listen(TF)
    known = {None: None}
    poses._transforms.lookup = lambda parent, child, stamp_ns: known.get(stamp_ns)
    assert why(poses).trouble.startswith('tf does not lead from odom to base_link')
    known[None] = Pose((1.0, 2.0, 3.0))
    assert 'not at the moments of the images' in why(poses).trouble
    assert why(poses).source == 'odom to base_link'
    assert 'no stamp' in why(poses, 0).trouble


def test_none_is_deaf(listen):
    poses, publisher = listen(NodeConfig())
    assert not publisher.get_subscription_count()
    assert poses.at(NS) is None
    assert poses.report(0.0) is None


def test_tf_is_asked_for_the_moment_of_the_image(listen):
    poses, publisher = listen(replace(TF, base_frame='base', odom_frame='world'))
    assert not publisher.get_subscription_count()
    assert poses.at(123).position_m == (4.0, 5.0, 6.0)
    assert poses._transforms.asked == [('world', 'base', 123)]
    poses.reset()
    assert poses._transforms.resets == 1


def test_in_mode_both_tf_has_to_be_in_the_frame_of_the_map(listen, capfd):
    both = replace(TF, mode='both')
    with pytest.raises(ConfigError, match="odom_frame is 'odom' and the map is in 'map'"):
        require_poses(both, 'map')
    require_poses(both, 'odom')
    require_poses(TF, 'map')
    poses, _ = listen(both, 'another')  # the map was changed under way
    assert poses.at(123) is None
    assert "poses are in frame 'odom' and the map in 'another'" in capfd.readouterr().err


def test_a_clock_that_is_set_back_forgets_the_poses(context):
    node = rclpy.create_node(
        'simulated', context=context, parameter_overrides=[Parameter('use_sim_time', value=True)]
    )
    with ExitStack() as stack:
        stack.callback(node.destroy_node)
        poses = PoseInput(node, TF, Frames(), lambda: 'map', stack)
        clock = node.get_clock()
        for seconds, resets in ((10, 0), (20, 0), (5, 1)):
            clock.set_ros_time_override(Time(seconds=seconds, clock_type=ClockType.ROS_TIME))
            assert poses._transforms.resets == resets
