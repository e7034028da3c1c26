"""Live loop closing, in process: odometry that drifts and closures in, a corrected path out."""

import math
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from drifting import Ring
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
from waiting import WAIT_S, eventually

from vpr_msgs.msg import LoopClosure, LoopClosureAck
from vpr_msgs.srv import MovePlaces
from vpr_ros.nodes.sockets import loop_closing_node
from vpr_ros.nodes.sockets.loop_closing_node import KEPT, RELIABLE, LoopClosingNode
from vpr_ros.records import Pose

pytest.importorskip('gtsam')


class Robot:
    """Plays a drive to the node, and hears what it says."""

    def __init__(self, node):
        self.node = node
        self.odom = node.create_publisher(Odometry, 'odom', RELIABLE)
        self.closures = node.create_publisher(LoopClosure, 'loop_closure', RELIABLE)
        self.save = node.create_client(Trigger, 'loop_closing/save')
        self.heard = {}
        for topic, type_, qos in (
            ('loop_closure_ack', LoopClosureAck, RELIABLE),
            ('loop_closing/path', Path, KEPT),
            ('loop_closing/correction', PoseWithCovarianceStamped, KEPT),
            ('/diagnostics', DiagnosticArray, RELIABLE),
        ):
            self.heard[topic] = heard = []
            node.create_subscription(type_, topic, heard.append, qos)

    def connected(self):
        return (
            self.odom.get_subscription_count() and self.closures.get_subscription_count()
            and self.save.service_is_ready() and self.node.count_publishers('loop_closure_ack')
        )  # fmt: skip

    @property
    def acks(self):
        return self.heard['loop_closure_ack']

    def words(self):
        return [x.message for array in self.heard['/diagnostics'] for x in array.status]


@pytest.fixture
def start(context, spin):
    """A node with these settings, and a robot beside it."""
    stop, threads = threading.Event(), []

    def start(**settings):
        overrides = [Parameter(name, value=value) for name, value in settings.items()]
        node = LoopClosingNode(stop, context=context, parameter_overrides=overrides)
        threads.append((node, threading.Thread(target=node.carry_out)))
        threads[-1][1].start()
        robot = Robot(context_node(context))
        spin(node, robot.node)
        eventually(robot.connected)
        threads[-1] = (*threads[-1], robot.node)
        return node, robot

    yield start
    stop.set()
    for node, thread, robot in threads:
        thread.join()
        node.linger()
        node.destroy_node()
        robot.destroy_node()


def context_node(context):
    return rclpy.create_node('robot', context=context)


def play(robot, messages, node):
    """As much as the node takes: a drive of minutes in a second."""
    for number, message in enumerate(messages, 1):
        robot.odom.publish(message)
        if number % 40 == 0:
            eventually(lambda n=number: node.following.received >= n)
    eventually(lambda: node.following.received >= len(messages))


def test_a_closed_loop_moves_the_robot_to_where_it_is(start, tmp_path):
    ring = Ring()
    node, robot = start(output=str(tmp_path / 'out'), move_places=False, path_period_s=0.05)
    play(robot, ring.odometry(), node)
    robot.closures.publish(ring.closure(7))
    [ack] = eventually(lambda: robot.acks[:])
    assert (ack.status, ack.backend, ack.closure_id) == (ack.ACCEPTED, 'vpr_loop_closing', 7)
    told = eventually(lambda: [
        x for x in robot.heard['loop_closing/correction'] if x.pose.pose.position.x
    ])[-1]  # fmt: skip
    assert told.header.frame_id == 'map'
    covariance = np.array(told.pose.covariance).reshape(6, 6)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert ring.end_error(node.following.drive.correction) < 0.2 * ring.drift_m
    path = eventually(lambda: [
        x for x in robot.heard['loop_closing/path']
        if math.dist(ring.home, position(x.poses[-1])) < 0.2 * ring.drift_m
    ])[-1]  # fmt: skip
    assert math.dist(ring.start.position_m, position(path.poses[0])) < 0.01
    saved = robot.save.call_async(Trigger.Request())
    eventually(saved.done)
    assert saved.result().success, saved.result().message
    assert sorted(x.name for x in (tmp_path / 'out').iterdir()) == ['graph.g2o', 'trajectory.tum']


def position(pose):
    p = pose.pose.position
    return p.x, p.y, p.z


def test_a_false_closure_is_rejected_with_the_reason(start):
    ring = Ring()
    node, robot = start()
    play(robot, ring.odometry(), node)
    robot.closures.publish(ring.closure(1, to=0.5))
    [ack] = eventually(lambda: robot.acks[:])
    assert ack.status == ack.REJECTED
    assert 'chi2' in ack.reason
    assert node.following.drive.correction.distance_m(Pose((0.0, 0.0, 0.0))) < 1e-9


def test_without_odometry_the_node_says_so_and_refuses(start):
    node, robot = start(wait_s=0.1)
    robot.closures.publish(Ring().closure(3))
    [ack] = eventually(lambda: robot.acks[:])
    assert (ack.closure_id, ack.status) == (3, ack.REJECTED)
    assert 'there is none yet' in ack.reason
    eventually(lambda: any('no odometry on /odom' in x for x in robot.words()))


def test_nothing_can_be_saved_before_there_is_odometry(start):
    node, robot = start()
    saved = robot.save.call_async(Trigger.Request())
    eventually(saved.done)
    assert not saved.result().success
    assert 'no keyframe' in saved.result().message


def test_a_live_node_that_is_not_there_is_named(start):
    ring = Ring()
    node, robot = start()
    play(robot, ring.odometry()[:50], node)
    eventually(lambda: len(node.following.drive.graph) > 5)
    saved = robot.save.call_async(Trigger.Request())
    eventually(saved.done)
    assert not saved.result().success
    assert 'nobody serves' in saved.result().message, saved.result().message


@pytest.mark.skipif(loop_closing_node.TFMessage is None, reason='tf2_msgs is not installed')
def test_the_transform_is_published_only_where_it_is_asked_for(start):
    heard = []
    node, robot = start()
    robot.node.create_subscription(loop_closing_node.TFMessage, '/tf', heard.append, RELIABLE)
    play(robot, Ring().odometry()[:20], node)
    assert not robot.node.count_publishers('/tf')


@pytest.mark.skipif(loop_closing_node.TFMessage is None, reason='tf2_msgs is not installed')
def test_the_transform_is_of_the_odometry_frame_and_ahead_of_it(start):
    heard = []
    node, robot = start(publish_tf=True)
    robot.node.create_subscription(loop_closing_node.TFMessage, '/tf', heard.append, RELIABLE)
    messages = Ring().odometry()[:20]
    play(robot, messages, node)
    last = messages[-1].header.stamp
    [told] = eventually(lambda: [x.transforms[0] for x in heard if ahead(x, last)][:1])
    assert (told.header.frame_id, told.child_frame_id) == ('map', 'odom')
    assert told.transform.rotation.w == pytest.approx(1.0)


def ahead(message, stamp):
    told = message.transforms[0].header.stamp
    return told.sec + 1e-9 * told.nanosec == pytest.approx(stamp.sec + 1e-9 * stamp.nanosec + 0.1)


class LiveNode:
    """Serves move_places as the live node does."""

    def __init__(self, node, result=0, message='64 places of the live session moved'):
        self.asked = []
        self.said = MovePlaces.Response(result=result, message=message)
        node.create_service(MovePlaces, 'move_places', self.answer)

    def answer(self, request, response):
        self.asked.append(request)
        return self.said


def test_the_live_node_is_asked_to_move_its_places(start):
    ring = Ring()
    node, robot = start()
    live = LiveNode(robot.node)
    play(robot, ring.odometry(), node)
    robot.closures.publish(ring.closure(7))
    eventually(lambda: robot.acks[:])
    answer = saved(robot)
    assert (answer.success, answer.message) == (True, live.said.message)
    [asked] = live.asked
    assert len(asked.stamps) == len(asked.poses) > 64
    last = asked.poses[-1].position
    assert math.dist(ring.home, (last.x, last.y, last.z)) < 0.2 * ring.drift_m


def test_a_live_node_that_refuses_is_quoted_and_the_files_are_there(start, tmp_path):
    node, robot = start(output=str(tmp_path))
    LiveNode(robot.node, MovePlaces.Response.WRONG_MODE, 'in mode localize the map is only read')
    play(robot, Ring().odometry()[:50], node)
    eventually(lambda: len(node.following.drive.graph) > 5)
    answer = saved(robot)
    assert not answer.success
    assert 'only read' in answer.message
    assert str(tmp_path) in answer.message
    assert (tmp_path / 'trajectory.tum').exists()


def saved(robot):
    eventually(lambda: robot.node.count_services('move_places'))
    future = robot.save.call_async(Trigger.Request())
    eventually(future.done)
    return future.result()


def test_the_process_ends_with_zero_on_a_signal_and_two_on_a_wrong_setting(tmp_path):
    command = [sys.executable, '-m', 'vpr_ros.nodes.sockets.loop_closing', '--ros-args']
    wrong = subprocess.run(
        [*command, '-p', 'max_keyframes:=1'],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert wrong.returncode == 2
    assert 'max_keyframes: expected at least 64' in wrong.stderr
    with (tmp_path / 'log').open('w') as log:
        process = subprocess.Popen(command, stderr=log)
    eventually(lambda: 'listening' in (tmp_path / 'log').read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 0
    assert 'Traceback' not in (tmp_path / 'log').read_text()
