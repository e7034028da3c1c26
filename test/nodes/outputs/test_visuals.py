"""What a person sees is published to those who look, not too often, and never breaks an answer."""

from contextlib import ExitStack

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, PointCloud2
from showing import HEADER, match_of, recognition, small_map, thumbnail, view
from visualization_msgs.msg import Marker, MarkerArray
from waiting import eventually

from vpr_ros.nodes.outputs import visuals as module
from vpr_ros.nodes.outputs.visuals import Visuals
from vpr_ros.records import Verdict

TOPICS = {'markers': MarkerArray, 'map_cloud': PointCloud2, 'debug_image': Image}


class Clock:
    """The time module, at our command."""

    now_s = 1000.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, 'time', clock)
    return clock


@pytest.fixture
def node(context):
    node = Node('place_recognition', context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def visuals(node):
    with ExitStack() as stack:
        yield Visuals(node, stack)
    assert not [p for p in node.publishers if p.topic_name.endswith('debug_image')]


@pytest.fixture
def place_map():
    with small_map() as place_map:
        yield place_map


@pytest.fixture
def heard(context, spin, visuals):
    """Listen to all topics; what came, by topic."""
    listener = Node('listener', context=context)
    came = {name: [] for name in TOPICS}
    for name, type_ in TOPICS.items():
        topic = f'/place_recognition/{name}'
        listener.create_subscription(type_, topic, came[name].append, qos_profile_sensor_data)
    spin(listener)
    outlets = (visuals._markers, visuals._cloud, visuals._image)
    eventually(lambda: all(outlet.watched for outlet in outlets))
    yield came
    listener.destroy_node()


class Counted:
    """A publisher that keeps what it is given."""

    def __init__(self, watchers=1):
        self.watchers, self.said = watchers, []

    def get_subscription_count(self):
        return self.watchers

    def publish(self, message):
        self.said.append(message)


def counted(visuals, watchers=1):
    """Publishers without DDS, in the order of TOPICS."""
    outlets = (visuals._markers, visuals._cloud, visuals._image)
    for outlet in outlets:
        outlet.publisher = Counted(watchers)
    return [outlet.publisher for outlet in outlets]


def show(visuals, place_map, verdict=Verdict.ACCEPTED, found=True, **other):
    similarities = np.linspace(0, 1, len(place_map)).astype(np.float32) if found else None
    answer = recognition(place_map, verdict, similarities=similarities, **other)
    visuals.show(answer, match_of(answer, place_map), [view()], place_map, None)


def test_all_three_arrive(visuals, heard, place_map):
    show(visuals, place_map)
    eventually(lambda: all(heard.values()))
    [markers], [cloud], [image] = heard.values()
    assert {m.ns for m in markers.markers} >= {'paths', 'candidates', 'pose', 'verdict'}
    assert cloud.header == HEADER and cloud.width == 6
    assert image.header.frame_id == 'camera' and image.header.stamp == HEADER.stamp


def test_nothing_is_done_when_nobody_looks(visuals, place_map, monkeypatch):
    for name in ('answer', 'map_cloud', 'debug_image'):
        monkeypatch.setattr(module, name, pytest.fail)
    publishers = counted(visuals, watchers=0)
    show(visuals, place_map)
    visuals.idle(place_map)
    assert not visuals.wants_similarities
    assert not any(publisher.said for publisher in publishers)


def test_the_rates_are_limited(visuals, place_map, clock):
    publishers = counted(visuals)
    for _ in range(30):  # one second at 30 Hz
        show(visuals, place_map)
        clock.now_s += 1 / 30
    markers, cloud, image = (len(publisher.said) for publisher in publishers)
    assert 4 <= markers == cloud <= 6 and 8 <= image <= 11


def test_paths_come_again_for_those_who_are_late(visuals, place_map, clock):
    publisher = counted(visuals)[0]

    def paths_come():
        clock.now_s += 0.5
        show(visuals, place_map)
        return any(m.ns == 'paths' for m in publisher.said[-1].markers)

    assert [paths_come() for _ in range(9)] == [True, *3 * [False], True, *3 * [False], True]


def test_another_map_is_drawn_at_once(visuals, place_map, clock):
    publisher = counted(visuals)[0]
    show(visuals, place_map)
    clock.now_s += 0.5
    with small_map(sessions=(1,) * 6) as other:
        show(visuals, other)
    gone = [m for m in publisher.said[-1].markers if m.action == Marker.DELETE]
    assert [(m.ns, m.id) for m in gone] == [('paths', 2)]


def test_without_queries_the_map_is_shown_by_itself(visuals, place_map, clock):
    markers, cloud, _ = counted(visuals)
    visuals.idle(place_map)
    assert [m.ns for m in markers.said[0].markers] == ['paths', 'paths']
    assert cloud.said[0].width == 6 and cloud.said[0].header.frame_id == 'map'
    clock.now_s += 10.0
    show(visuals, place_map)
    clock.now_s += 1.0
    visuals.idle(place_map)  # the answer's colours are left alone
    assert len(cloud.said) == 2
    clock.now_s += 2.0
    visuals.idle(place_map)
    assert len(cloud.said) == 3


def test_an_answer_without_similarities_does_not_take_the_colours_away(visuals, place_map, clock):
    cloud = counted(visuals)[1]
    assert visuals.wants_similarities
    show(visuals, place_map)
    clock.now_s += 0.5
    show(visuals, place_map, Verdict.BAD_IMAGE, found=False, rows=())
    assert len(cloud.said) == 1
    clock.now_s += 2.0
    show(visuals, place_map, Verdict.BAD_IMAGE, found=False, rows=())
    assert len(cloud.said) == 2


def test_a_failure_is_logged_and_not_raised(visuals, place_map, monkeypatch, clock):
    said = []
    monkeypatch.setattr(
        visuals,
        '_logger',
        type('Logger', (), {'error': lambda _, text, **__: said.append(text)})(),
    )
    counted(visuals)

    def broken(*_):
        raise ValueError('no such colour')

    monkeypatch.setattr(module, 'map_cloud', broken)
    show(visuals, place_map)
    clock.now_s += 10.0
    visuals.idle(place_map)
    assert len(said) == 2 and 'no such colour' in said[0]


def test_the_thumbnail_is_the_best_places(visuals, place_map, monkeypatch):
    given = []
    monkeypatch.setattr(
        module, 'debug_image', lambda *a: given.append(a) or np.zeros((2, 2, 3), np.uint8)
    )
    counted(visuals)
    show(visuals, place_map)
    assert given[0][2] == thumbnail() and given[0][3] == pytest.approx(0.75)
