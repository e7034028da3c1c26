"""Images over DDS: the newest one wins, and every one that is taken is answered."""

import threading

import pytest
from pictures import image_message, pose_message
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from shared_data import shared_data
from waiting import WAIT_S, eventually

from vpr_msgs.msg import LoopClosure, PlaceMatch
from vpr_ros.bags.images import image_from_message
from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import ImageError
from vpr_ros.nodes.playback.answers import Answers
from vpr_ros.nodes.playback.player import Player
from vpr_ros.nodes.playback.replay import Lockstep, play
from vpr_ros.recognition.image_check import blindness
from vpr_ros.records import Verdict


@pytest.fixture
def outside(context):
    node = Node('outside', context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def start(make_node, outside, spin):
    """A live node that is active and spins, together with the node outside."""

    def active(**settings):
        node = make_node(mode='map', **settings)
        assert node.start()
        spin(node, outside)
        return node

    return active


class Camera:
    """Publishes to the node and hears its answers."""

    def __init__(self, outside, node):
        self.matches, self.closures = [], []
        deep = QoSProfile(depth=100)
        self._images = outside.create_publisher(Image, '/image', deep)
        outside.create_subscription(
            PlaceMatch, '/place_recognition/place_match', self.matches.append, deep
        )
        outside.create_subscription(
            LoopClosure, '/place_recognition/loop_closure', self.closures.append, deep
        )
        self.node = node
        eventually(self._images.get_subscription_count)
        eventually(lambda: is_heard(node, 'place_match', 'loop_closure'))

    def send(self, number, stamp_s):
        """Publish an image and wait until the node has it."""
        before = received(self.node)
        self._images.publish(image_message(number, stamp_s))
        eventually(lambda: received(self.node) > before)

    def burst(self, stamps_s):
        """Publish images as fast as it goes."""
        for stamp_s in stamps_s:
            self._images.publish(image_message(0, stamp_s))

    def stamps(self):
        return [match.header.stamp.sec for match in self.matches]


def received(node):
    return sum(flow.received for flow in node.flows.values())


def is_heard(node, *topics):
    """Whether somebody subscribes to each of these topics of the node."""
    wanted = {f'/place_recognition/{topic}' for topic in topics}
    heard = {p.topic_name for p in node.publishers if p.get_subscription_count()}
    return wanted <= heard


class Held:
    """Holds the recogniser until it is let go."""

    def __init__(self, recognizer):
        self.busy, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self._recognize = recognizer.recognize_views
        recognizer.recognize_views = self.recognize

    def recognize(self, *arguments, **settings):
        self.busy.release()
        assert self.go_on.acquire(timeout=WAIT_S)
        return self._recognize(*arguments, **settings)


def test_the_newest_image_wins_and_drops_are_counted(start, outside):
    node = start()
    camera, held = Camera(outside, node), Held(node.responder.recognizer)
    camera.send(0, 0)
    assert held.busy.acquire(timeout=WAIT_S)
    for second in range(1, 5):
        camera.send(second, second)
    held.go_on.release(2)
    eventually(lambda: len(camera.matches) == 2)
    assert camera.stamps() == [0, 4]
    assert [match.images_dropped for match in camera.matches] == [0, 3]
    figures = node.responder.statistics.figures()
    assert (received(node), figures.answered, figures.dropped) == (5, 2, 3)


def test_every_image_of_a_burst_is_answered_or_counted(start, outside):
    node = start()
    camera = Camera(outside, node)
    camera.burst(range(5))
    eventually(lambda: camera.stamps()[-1:] == [4])
    assert len(camera.matches) + sum(match.images_dropped for match in camera.matches) == 5


def test_deactivation_answers_the_image_in_work_and_no_other(start, outside):
    node = start()
    camera, held = Camera(outside, node), Held(node.responder.recognizer)
    camera.send(0, 0)
    assert held.busy.acquire(timeout=WAIT_S)
    camera.send(1, 1)
    threading.Timer(0.2, held.go_on.release).start()  # while the node is being deactivated
    node.trigger_deactivate()
    eventually(lambda: camera.matches)
    assert camera.stamps() == [0]
    assert node.responder.statistics.figures().answered == 1
    held.go_on.release(2)
    node.trigger_activate()
    eventually(camera._images.get_subscription_count)
    camera.send(2, 2)
    eventually(lambda: camera.stamps() == [0, 2])


def test_images_of_two_cameras_are_one_query(start, outside):
    node = start(cameras=['front', 'rear'])
    matches, deep = [], QoSProfile(depth=100)
    outside.create_subscription(PlaceMatch, '/place_recognition/place_match', matches.append, deep)
    front, rear = (outside.create_publisher(Image, f'/{x}/image', deep) for x in node.flows)
    eventually(lambda: front.get_subscription_count() and rear.get_subscription_count())
    eventually(lambda: is_heard(node, 'place_match'))
    rear.publish(image_message(1, 5.02, 'rear_lens'))
    front.publish(image_message(0, 5.0, 'front_lens'))
    (match,) = eventually(lambda: matches)
    assert (match.header.frame_id, match.header.stamp.sec) == ('front_lens', 5)
    rear.publish(image_message(1, 6.0, 'rear_lens'))
    rear.publish(image_message(1, 7.0, 'rear_lens'))
    eventually(lambda: len(matches) == 2)  # without the camera in front, a period later
    assert (matches[1].header.frame_id, matches[1].header.stamp.sec) == ('rear_lens', 6)
    assert {name: flow.received for name, flow in node.flows.items()} == {'front': 1, 'rear': 3}


def test_loops_are_closed_over_dds(start, outside):
    settings = {'decision.consistent_frames': 1, 'decision.exclude_recent_s': 2.0}
    node = start(pose_input='pose', **settings)
    camera = Camera(outside, node)
    poses = outside.create_publisher(type(pose_message(0, 0)), '/odom', 10)
    eventually(poses.get_subscription_count)
    for second, number in enumerate([0, 1, 2, 3, 4, 1]):
        poses.publish(pose_message(10.0 * number, second))
        eventually(lambda second=second: node.responder.poses(second * 10**9))
        camera.send(number, second)
        eventually(lambda second=second: camera.stamps()[-1:] == [second])
    (closure,) = eventually(lambda: camera.closures)
    assert (closure.from_stamp.sec, closure.to_stamp.sec) == (5, 1)
    assert closure.pose_kind == LoopClosure.POSE_FROM_MAP
    assert camera.matches[-1].pose.pose.position.x == 10.0
    assert [m.recorded for m in camera.matches] == [True] * 6


def pictures_in(bag, topic):
    """For each message of a topic whether it holds a picture in which something can be seen."""
    for _, _, message in bag.messages([topic]):
        try:
            image = image_from_message(message)
        except ImageError:
            yield False
        else:
            yield not blindness(image)


@pytest.mark.parametrize(
    ('topic', 'transport'),
    [('/camera/image_raw', 'raw'), ('/camera/image_raw/compressed', 'compressed')],
)
def test_every_broken_message_is_answered(start, outside, topic, transport):
    node = start(image_transport=transport)
    matches = []
    answers = Answers(outside, keep=matches.append)
    with open_bag(shared_data('nasty', 'bags', 'broken_messages_mcap')) as bag:
        listened = topic.replace('/camera/image_raw', '/image')
        player = Player(outside, bag, [topic], {topic: listened})
        player.wait_for_subscriber(WAIT_S)
        eventually(lambda: is_heard(node, 'place_match'))
        summary = play(bag, player, Lockstep(answers, WAIT_S))
        sound = list(pictures_in(bag, topic))
    assert (summary.images, summary.unanswered) == (len(sound), 0)
    refused = [match.status == Verdict.BAD_IMAGE for match in matches]
    assert refused == [not x for x in sound] and any(sound) and any(refused)
    assert all(match.status_text and match.header.frame_id for match in matches)
    assert Verdict.ERROR not in {match.status for match in matches}
