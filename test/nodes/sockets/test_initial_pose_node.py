"""The socket over DDS, beside a stand-in of AMCL that refuses as AMCL does."""

import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from localisers import Amcl, a_match, own_pose
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger
from waiting import WAIT_S, eventually

from vpr_msgs.msg import PlaceMatch
from vpr_ros.errors import ConfigError
from vpr_ros.nodes import session
from vpr_ros.nodes.sockets import socket_node
from vpr_ros.nodes.sockets.initial_pose_node import InitialPoseNode

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class AmclNode:
    """AMCL's topics with its QoS: it says where it is after it was told, or from the start."""

    def __init__(self, context, own=None, answers=True):
        self.amcl, self.answers = Amcl(), answers
        self.received = []
        self.node = rclpy.create_node('amcl', context=context)
        self.publisher = self.node.create_publisher(
            PoseWithCovarianceStamped, 'amcl_pose', LATCHED
        )
        self.node.create_subscription(PoseWithCovarianceStamped, 'initialpose', self._hear, 10)
        if own is not None:
            self.publisher.publish(own_pose(time.time(), own))

    def _hear(self, message):
        self.received.append(message)
        self.amcl.now_s = time.time()
        self.amcl.receive(message)
        if self.answers and not self.amcl.refusals:
            self.publisher.publish(self.amcl.says())


class Bench:
    """The socket, a neighbour, and a live node that only says what the test wants."""

    def __init__(self, context, spin, stack):
        self.context, self.spin, self.stack = context, spin, stack
        self.stop = threading.Event()
        self.said = []
        self.live = rclpy.create_node('live', context=context)
        self.matches = self.live.create_publisher(PlaceMatch, 'place_match', 10)
        self.live.create_subscription(
            DiagnosticArray, '/diagnostics', lambda x: self.said.extend(x.status), 10
        )
        self.client = self.live.create_client(Trigger, 'initial_pose/send')
        stack.callback(self.live.destroy_node)
        spin(self.live)

    def amcl(self, **settings):
        made = AmclNode(self.context, **settings)
        self.stack.callback(made.node.destroy_node)
        self.spin(made.node)
        return made

    def start(self, **settings):
        overrides = [Parameter(key, value=value) for key, value in settings.items()]
        node = InitialPoseNode(self.stop, context=self.context, parameter_overrides=overrides)
        self.stack.callback(node.destroy_node)
        self.spin(node)
        living = threading.Thread(target=node.carry_out, daemon=True)
        living.start()
        self.stack.callback(living.join)
        self.stack.callback(self.stop.set)
        eventually(lambda: node._begun and self.matches.get_subscription_count())
        return node

    def match(self, x, **changes):
        self.matches.publish(a_match(time.time(), x, **changes))

    def words(self):
        return [x.message for x in self.said if x.name == 'initial_pose: socket']

    def values(self):
        return {x.key: x.value for status in self.said[-1:] for x in status.values}


@pytest.fixture
def bench(context, spin, monkeypatch):
    monkeypatch.setattr(socket_node, 'PERIOD_S', 0.1)
    monkeypatch.setattr(socket_node, 'LOOK_UP_S', 0.02)
    monkeypatch.setattr(session, 'LOOK_UP_S', 0.05)
    with ExitStack() as stack:
        yield Bench(context, spin, stack)


def test_a_silent_amcl_is_told_and_follows(bench):
    amcl = bench.amcl()
    node = bench.start(silent_s=0.1)
    eventually(lambda: bench.match(7.0, frames=3) or amcl.received)
    assert amcl.amcl.refusals == []
    assert amcl.amcl.pose[0] == 7.0
    assert amcl.amcl.integrated
    eventually(lambda: node._rules.counts['confirmed'])
    eventually(lambda: 'has followed' in bench.values().get('last outcome', ''))
    before = len(amcl.received)
    for _ in range(10):
        bench.match(7.1)
    eventually(lambda: any('agrees with the matches' in words for words in bench.words()))
    assert len(amcl.received) == before


def test_what_amcl_said_before_we_came_is_heard(bench):
    amcl = bench.amcl(own=7.0)
    node = bench.start(silent_s=0.5)
    eventually(lambda: node._rules._own)
    eventually(lambda: bench.match(7.1, frames=9) or node._rules.settled)
    assert amcl.received == []


def call(bench):
    assert bench.client.wait_for_service(WAIT_S)
    return bench.client.call_async(Trigger.Request())


def test_the_service_answers_with_what_came_of_it(bench):
    amcl = bench.amcl(own=0.0)
    bench.start(lost_when='asked')
    answer = call(bench)
    eventually(lambda: bench.match(30.0) or answer.done())
    assert answer.result().success
    assert '0.0 m from what it was told' in answer.result().message
    assert len(amcl.received) == 1


def test_the_service_says_that_amcl_did_not_follow(bench):
    bench.amcl(answers=False)
    bench.start(lost_when='asked', confirm_s=0.5)
    answer = call(bench)
    eventually(lambda: bench.match(30.0, frames=3) or answer.done())
    assert not answer.result().success
    assert 'has not followed' in answer.result().message


def test_who_asks_is_answered_when_the_node_ends(bench):
    node = bench.start(lost_when='asked')
    answer = call(bench)
    eventually(lambda: node._waiting.count)
    node.linger()
    eventually(answer.done)
    assert answer.result().message == 'nothing was sent: the node ends'


def test_a_neighbour_that_is_absent_is_stated(bench):
    bench.start(silent_s=0.1)
    silent = 'nobody listens to initialpose'
    eventually(
        lambda: bench.match(7.0, frames=3) or any(silent in words for words in bench.words())
    )
    entry = next(x for x in bench.said if silent in x.message)
    assert entry.level == DiagnosticStatus.WARN
    assert {x.key: x.value for x in entry.values}['listeners to initialpose'] == '0'
    bench.live.destroy_publisher(bench.matches)
    del bench.said[:]
    eventually(lambda: any('nobody publishes /place_match' in words for words in bench.words()))


def test_whatever_comes_the_node_lives(bench):
    node = bench.start()
    node._rules.hear_match = lambda *_: 1 / 0
    bench.match(0.0)
    eventually(lambda: 'ZeroDivisionError: division by zero'[:24] in node._told)
    eventually(lambda: len(bench.words()) > 1)


def test_wrong_settings_are_refused(context):
    node = InitialPoseNode(
        threading.Event(), context=context,
        parameter_overrides=[Parameter('lost_when', value='never')],
    )  # fmt: skip
    with pytest.raises(ConfigError, match='lost_when'):
        node.carry_out()
    node.report()
    node.destroy_node()


@pytest.mark.parametrize('executable', ['initial_pose', 'slam_toolbox_start'])
def test_the_process_ends_as_launch_ends_it(executable, tmp_path):
    arguments = ['--ros-args', '-r', 'place_match:=place_recognition/place_match']
    if executable == 'slam_toolbox_start':
        arguments += ['-p', 'map_file:=office']
    log = tmp_path / 'log'
    with log.open('w') as file:
        process = subprocess.Popen(
            [sys.executable, '-m', f'vpr_ros.nodes.sockets.{executable}', *arguments],
            stderr=file, stdout=file,
        )  # fmt: skip
    eventually(lambda: 'started' in log.read_text())
    process.terminate()
    assert process.wait(WAIT_S) == 0
    assert 'Traceback' not in log.read_text()
