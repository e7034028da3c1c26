"""A recording over DDS: the same bytes, in time or in step, and never silently into the void."""

import threading

import pytest
from pictures import NS, image_message, pose_message, write_messages
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from waiting import WAIT_S, eventually

from vpr_msgs.msg import PlaceMatch
from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import BagError, ConfigError, RosError
from vpr_ros.nodes.playback.answers import TOPIC, Answers
from vpr_ros.nodes.playback.player import Player, message_type
from vpr_ros.nodes.playback.replay import Lockstep, OwnTiming, play, replay

COUNT = 5
STEP_S = 0.1


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """Five images and poses, a tenth of a second apart."""
    messages = []
    for k in range(COUNT):
        second = 10 + k * STEP_S
        messages.append(('/odom', pose_message(k, second), second))
        messages.append(('/camera/image_raw', image_message(k, second), second))
    return write_messages(tmp_path_factory.mktemp('bags') / 'drive', messages)


class Listener:
    """Takes images as they come, and answers them if it is asked to."""

    def __init__(self, node, topic='/camera/image_raw', answers=True):
        self.data = []
        self._answers = answers
        self._matches = node.create_publisher(PlaceMatch, TOPIC, 10)
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(Image, topic, self._take, qos, raw=True)

    def _take(self, data):
        self.data.append(data)
        if self._answers:
            header = deserialize_message(data, Image).header
            self._matches.publish(PlaceMatch(header=header))

    def stamps_s(self):
        stamps = [deserialize_message(x, Image).header.stamp for x in self.data]
        return [stamp.sec + stamp.nanosec / NS for stamp in stamps]


@pytest.fixture
def node(context):
    node = Node('follows', context=context)
    yield node
    node.destroy_node()


@pytest.fixture(autouse=True)
def spinning(node, spin):
    spin(node)


def test_the_bytes_are_those_of_the_recording(node, recording):
    listener = Listener(node)
    summary = replay(recording, lockstep=True)
    assert (summary.messages, summary.images, summary.unanswered) == (10, 5, 0)
    with open_bag(recording) as bag:
        assert listener.data == [m.cdr for m in bag.raw(['/camera/image_raw'])]


def test_other_names(node, recording):
    listener = Listener(node, '/front/image')
    summary = replay(
        recording,
        ['/camera/image_raw'],
        lockstep=True,
        remaps={'/camera/image_raw': '/front/image'},
    )
    assert (summary.messages, len(listener.data)) == (5, 5)


def test_own_timing(node, recording):
    listener = Listener(node)
    done = []
    summary = replay(recording, rate=2.0, progress=lambda *x: done.append(x))
    assert summary.duration_s >= (COUNT - 1) * STEP_S / 2.0
    eventually(lambda: len(listener.data) == COUNT)
    assert listener.stamps_s() == pytest.approx([10 + k * STEP_S for k in range(COUNT)])
    assert done[0] == (1, 10) and done[-1] == (10, 10)


def test_every_round_of_a_loop_keeps_time(node, recording):
    listener = Listener(node)
    with open_bag(recording) as bag:
        player = Player(node, bag)
        player.wait_for_subscriber(WAIT_S)
        summary = play(bag, player, OwnTiming(4.0), rounds=range(3))
    assert summary.messages == 30
    assert summary.duration_s >= 3 * (COUNT - 1) * STEP_S / 4.0
    eventually(lambda: len(listener.data) == 15)


def test_an_answer_that_does_not_come_is_counted(node, recording):
    Listener(node, answers=False)
    with open_bag(recording) as bag:
        player = Player(node, bag)
        player.wait_for_subscriber(WAIT_S)
        summary = play(bag, player, Lockstep(Answers(node), 0.01))
    assert (summary.images, summary.unanswered) == (5, 5)


def test_recording_time_on_clock(node, recording):
    Listener(node)
    seen = []
    node.create_subscription(Clock, '/clock', seen.append, 100)
    replay(recording, lockstep=True, clock=True)
    stamps = eventually(lambda: [c.clock.sec + c.clock.nanosec / NS for c in seen])
    assert stamps == sorted(stamps) and 10.0 <= stamps[0] <= stamps[-1] <= 10.4


def test_nobody_listens(recording):
    with pytest.raises(RosError, match='nobody subscribed to /camera/image_raw within 0.1 s'):
        replay(recording, discovery_timeout_s=0.1)


def test_waiting_ends_when_the_other_process_has(node, recording):
    def check():
        raise RosError('the node ended')

    with open_bag(recording) as bag, pytest.raises(RosError, match='the node ended'):
        Player(node, bag).wait_for_subscriber(WAIT_S, check)


def test_waiting_ends_as_soon_as_somebody_comes(node, recording):
    with open_bag(recording) as bag:
        player = Player(node, bag)
        somebody = threading.Timer(0.2, lambda: Listener(node))
        somebody.start()
        player.wait_for_subscriber(WAIT_S)
        somebody.join()


def test_no_images_no_replay(node, tmp_path):
    path = write_messages(tmp_path / 'poses', [('/odom', pose_message(0, 1), 1)])
    with open_bag(path) as bag, pytest.raises(BagError, match='no images among /odom'):
        Player(node, bag)


def test_a_topic_that_is_not_there(node, recording):
    with open_bag(recording) as bag, pytest.raises(BagError, match='/rear'):
        Player(node, bag, ['/rear'])


def test_what_is_not_installed_is_named(node, recording, monkeypatch):
    def installed(name):
        return None if name == 'geometry_msgs/msg/PoseStamped' else message_type(name)

    monkeypatch.setattr('vpr_ros.nodes.playback.player.message_type', installed)
    with open_bag(recording) as bag:
        player = Player(node, bag)
    assert player.skipped == {'/odom': 'geometry_msgs/msg/PoseStamped'}
    assert (player.topics, player.total) == (['/camera/image_raw'], 5)


def test_types_by_name():
    assert message_type('sensor_msgs/msg/Image') is Image
    assert message_type('sensor_msgs/msg/Nothing') is None
    assert message_type('not_installed_msgs/msg/Image') is None


@pytest.mark.parametrize('rate', [0.0, -1.0, float('nan')])
def test_a_rate_that_is_none(rate):
    with pytest.raises(ConfigError, match='rate above 0'):
        OwnTiming(rate)
