"""Closures to links and back to answers, against a graph that keeps RTAB-Map's rules. No ROS."""

import numpy as np
import pytest
from rtabmap_closures import closure
from stub_rtabmap import Graph

from vpr_msgs.msg import LoopClosure
from vpr_ros.config import updated
from vpr_ros.config.sockets import RtabmapConfig
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.odometry_track import OdometryTrack
from vpr_ros.nodes.sockets.rtabmap_links import (
    ACCEPTED,
    PENDING,
    REJECTED,
    REMEMBERED,
    UNKNOWN,
    WAITING,
    Links,
)
from vpr_ros.nodes.sockets.rtabmap_node import _message
from vpr_ros.records import Pose


class Robot:
    """RTAB-Map's graph, the socket's logic, and a clock for both."""

    def __init__(self, localizing=False, **settings):
        self.graph = Graph(localizing)
        self.config = updated(RtabmapConfig(), settings)
        self.track = OdometryTrack()
        self.links = Links(self.config, self.track)
        self.s = 0.0
        self.sent, self.told = [], {}
        self.answering = self.there = True

    def image(self, at_s):
        """RTAB-Map went through an image, and tells."""
        self.s = max(self.s, at_s)
        number = self.graph.add_node(round(at_s * NS))
        self.tell(number)
        return number

    def drive(self, seconds):
        for at_s in range(seconds):
            self.image(float(at_s))

    def tell(self, number):
        graph = self.graph
        memory = [*graph.memory, *graph.cache]
        self.links.nodes.processed(number, graph.stamps[number], memory)
        self.links.graph(graph.cache, list(graph.cache_links))
        self.publish_graph()
        self.work()

    def publish_graph(self):
        numbers, ends = self.graph.optimized, list(self.graph.links)
        self.links.nodes.graph(numbers, ends)
        self.links.graph(list(numbers), ends)
        self.collect()

    def take(self, message):
        self.links.take(message, self.now_ns)
        self.work()

    def wait(self, seconds):
        self.s += seconds
        self.work()

    @property
    def now_ns(self):
        return round(self.s * NS)

    def work(self):
        self.links.look(self.now_ns, self.s, self.there)
        while self.there and (link := self.links.next(self.now_ns, self.s)):
            self.sent.append(link)
            self.graph.add_link(_message(link))  # raises where RTAB-Map would end
            if not self.answering:
                break
            self.links.called(self.s)
        self.collect()

    def collect(self):
        for answer in self.links.answers():
            assert self.told.get(answer.closure_id, PENDING) == PENDING, 'answered twice'
            self.told[answer.closure_id] = answer.status
            assert answer.reason
            self.reason = answer.reason


def test_a_closure_becomes_a_link_from_new_to_old_and_the_graph_tells():
    robot = Robot()
    robot.drive(31)
    robot.take(closure(7, from_s=30.0, to_s=3.0))
    [link] = robot.sent
    assert (link.from_id, link.to_id) == (31, 4)
    assert link.pose.position_m == pytest.approx((1.0, 0.5, 0.0))
    assert robot.told == {7: PENDING}
    robot.image(31.0)
    assert robot.told == {7: ACCEPTED}
    assert robot.links.counts[ACCEPTED] == 1


def test_a_refused_link_is_noticed_and_not_asked_for_again():
    robot = Robot()
    robot.drive(31)
    robot.graph.refused_ids = {4}
    robot.take(closure(1, 30.0, 3.0))
    robot.image(31.0)
    robot.image(32.0)
    assert robot.told == {1: PENDING}
    robot.image(33.0)
    assert robot.told == {1: REJECTED}
    robot.take(closure(2, 30.0, 3.0))
    assert robot.told[2] == REJECTED
    assert 'before' in robot.reason
    assert len(robot.sent) == 1


def test_without_a_graph_nobody_knows():
    robot = Robot()
    robot.drive(31)
    robot.take(closure(1, 30.0, 3.0))
    robot.wait(14.0)
    assert robot.told == {1: PENDING}
    robot.wait(2.0)
    assert robot.told == {1: UNKNOWN}


def test_closures_of_the_same_two_nodes_share_one_request_and_its_answer():
    robot = Robot()
    robot.drive(31)
    for number, late_s in enumerate((0.0, 0.1, 0.2)):
        robot.take(closure(number, 29.8 + late_s, 3.0))
    assert len(robot.sent) == 1
    robot.image(31.0)
    assert robot.told == dict.fromkeys(range(3), ACCEPTED)
    robot.take(closure(9, 30.1, 3.0))
    assert robot.told[9] == ACCEPTED  # linked already
    assert len(robot.sent) == 1


def test_it_waits_for_the_node_of_the_image():
    robot = Robot()
    robot.drive(31)
    robot.s = 30.9
    robot.take(closure(1, 30.8, 3.0))
    assert not robot.sent
    robot.image(31.0)
    assert [(x.from_id, x.to_id) for x in robot.sent] == [(32, 4)]


@pytest.mark.parametrize(
    ('kind', 'least', 'sent'),
    [
        (LoopClosure.POSE_NONE, 'from_map', 0),
        (LoopClosure.POSE_FROM_MAP, 'metric', 0),
        (LoopClosure.POSE_UP_TO_SCALE, 'metric', 0),
        (LoopClosure.POSE_UP_TO_SCALE, 'up_to_scale', 1),
        (LoopClosure.POSE_ROTATION_ONLY, 'rotation_only', 1),
        (LoopClosure.POSE_ROTATION_ONLY, 'up_to_scale', 0),
        (LoopClosure.POSE_FROM_MAP, 'from_map', 1),
        (LoopClosure.POSE_METRIC, 'metric', 1),
        (77, 'from_map', 0),
    ],
)
def test_what_is_known_of_the_pose_decides(kind, least, sent):
    robot = Robot(least_kind=least)
    robot.drive(31)
    robot.take(closure(1, 30.0, 3.0, kind=kind))
    assert len(robot.sent) == sent
    assert robot.told == {1: PENDING if sent else REJECTED}


def test_a_direction_is_worth_its_direction_only():
    robot = Robot(least_kind='up_to_scale')
    robot.drive(31)
    pose = Pose((1.0, 0.0, 0.0))
    robot.take(closure(1, 30.0, 3.0, pose, LoopClosure.POSE_UP_TO_SCALE))
    [link] = robot.sent
    assert link.pose.position_m == (0.0, 0.0, 0.0)
    sigmas = np.sqrt(np.diag(np.linalg.inv(link.information)))
    assert sigmas[:3] == pytest.approx([2.0, 0.5, 0.5], rel=1e-3)


BAD = {
    'zero': np.zeros((6, 6)),
    'negative': -np.eye(6),
    'one negative': np.diag([1.0, 1.0, -1.0, 1.0, 1.0, 1.0]),
    'not a number': np.full((6, 6), np.nan),
    'infinite': np.diag([np.inf] * 6),
    'indefinite': np.eye(6) + np.kron([[0, 1], [1, 0]], 5 * np.eye(3)),
}


@pytest.mark.parametrize('covariance', BAD.values(), ids=BAD)
def test_an_unsound_covariance_never_reaches_rtabmap(covariance):
    robot = Robot()
    robot.drive(31)
    robot.take(closure(1, 30.0, 3.0, covariance=covariance))
    assert robot.told == {1: REJECTED}
    assert not robot.sent


@pytest.mark.parametrize('scale', [1e-300, 1e-12, 1e9, 1e300])
def test_an_extreme_covariance_becomes_information_that_rtabmap_survives(scale):
    robot = Robot()
    robot.drive(31)
    robot.take(closure(1, 30.0, 3.0, covariance=scale * np.eye(6)))
    [link] = robot.sent  # the graph has asserted
    assert 1e-4 < np.diag(link.information).min()


@pytest.mark.parametrize(
    'pose',
    [
        Pose((np.nan, 0.0, 0.0)),
        Pose((0.0, np.inf, 0.0)),
        Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
        Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 2.0)),
    ],
)
def test_what_is_no_pose_never_reaches_rtabmap(pose):
    robot = Robot()
    robot.drive(31)
    robot.take(closure(1, 30.0, 3.0, pose))
    assert robot.told == {1: REJECTED}
    assert not robot.sent


def test_an_old_image_is_dropped_and_said():
    robot = Robot()
    robot.drive(31)
    robot.take(closure(1, 19.9, 3.0))
    assert robot.told == {1: REJECTED}
    assert '10.1 s old' in robot.reason
    assert not robot.sent


def test_silence_of_rtabmap_is_no_refusal():
    robot = Robot()
    robot.take(closure(1, 0.0, -20.0))
    robot.wait(10.1)
    assert robot.told == {1: UNKNOWN}
    assert '/rtabmap/info' in robot.reason
    robot.drive(12)
    robot.there = False
    robot.take(closure(2, 11.0, 3.0))
    robot.wait(10.1)
    assert robot.told[2] == UNKNOWN
    assert 'add_link is not there' in robot.reason


def test_images_that_rtabmap_never_comes_to_are_told():
    robot = Robot()
    robot.drive(12)
    robot.s = 13.0
    robot.take(closure(1, 12.5, 3.0))
    robot.wait(11.0)
    assert robot.told == {1: UNKNOWN}
    assert 'as new as' in robot.reason


def test_stamps_that_rtabmap_does_not_know_are_refused_and_asked_for():
    robot = Robot()
    robot.drive(31)
    robot.take(closure(1, 30.0, -3600.0))
    assert robot.links.wants_map
    robot.wait(10.1)
    assert robot.told == {1: REJECTED}
    assert 'older image' in robot.reason
    assert not robot.sent
    robot.image(41.0)
    robot.take(closure(2, 41.0, 5000.0))
    robot.wait(10.1)
    assert robot.told[2] == REJECTED


def test_nodes_of_before_can_be_learnt():
    robot = Robot()
    graph = robot.graph
    for at_s in (10.0, 11.0, 12.0):
        graph.add_node(round(at_s * NS))
    graph.transfer(1, 2, 3)  # another session, not linked yet
    graph.weights[2] = -1  # an intermediate node: a link to it would end RTAB-Map
    for at_s in range(100, 113):
        robot.image(float(at_s))
    robot.take(closure(1, 112.0, 11.9))
    assert robot.links.wants_map
    told = [(number, stamp / NS, graph.weights[number]) for number, stamp in graph.stamps.items()]
    assert robot.links.nodes.learn([*told, (99, float('nan'), 0), (98, 1e308, 0)]) == 2
    robot.take(closure(2, 112.0, 11.1))
    robot.work()
    assert [link.to_id for link in robot.sent] == [3]
    robot.image(113.0)
    assert robot.told == {1: ACCEPTED}
    robot.wait(10.0)
    assert robot.told[2] == REJECTED  # the node that is near to it must not be linked


def test_a_node_that_left_working_memory_is_not_linked():
    robot = Robot()
    robot.drive(30)
    robot.graph.forget(4)
    robot.image(30.0)
    robot.take(closure(1, 30.0, 3.0))
    assert not robot.sent  # the next nodes are a second away
    robot.wait(10.1)
    assert robot.told == {1: REJECTED}
    assert not robot.graph.log


def test_images_of_one_node_are_no_link():
    robot = Robot()
    robot.drive(31)
    robot.take(closure(1, 30.0, 29.9))
    assert robot.told == {1: REJECTED}
    assert 'node 31' in robot.reason


def test_a_link_the_wrong_way_round_is_not_asked_for():
    robot = Robot()
    robot.drive(31)
    robot.take(closure(1, 25.0, 30.0))
    assert robot.told == {1: REJECTED}
    assert not robot.sent


def test_while_localising_the_link_is_seen_in_the_cache():
    robot = Robot()
    robot.drive(20)
    robot.graph.localizing = True
    for at_s in range(20, 26):
        robot.image(float(at_s))
    robot.take(closure(1, 25.0, 3.0))
    assert [(x.from_id, x.to_id) for x in robot.sent] == [(26, 4)]
    robot.image(26.0)
    assert robot.told == {1: ACCEPTED}
    robot.graph.refused_ids = {4, 27}
    robot.take(closure(2, 26.0, 3.0))
    for at_s in (27.0, 28.0, 29.0):
        robot.image(at_s)
    assert robot.told[2] == REJECTED


def test_one_request_at_a_time_and_none_is_waited_for_for_ever():
    robot = Robot()
    robot.drive(31)
    robot.answering = False
    robot.take(closure(1, 30.0, 3.0))
    robot.take(closure(2, 30.0, 6.0))
    assert len(robot.sent) == 1
    robot.wait(5.1)
    assert robot.told == {1: UNKNOWN, 2: PENDING}
    assert len(robot.sent) == 2
    robot.wait(5.1)
    assert robot.told == {1: UNKNOWN, 2: UNKNOWN}
    robot.image(41.0)  # both are in the graph, which nobody waits for any more
    assert robot.told == {1: UNKNOWN, 2: UNKNOWN}


def test_the_graph_may_be_quicker_than_the_service():
    robot = Robot()
    robot.drive(31)
    robot.answering = False
    robot.take(closure(1, 30.0, 3.0))
    robot.image(31.0)
    assert robot.told == {1: ACCEPTED}
    robot.wait(6.0)
    assert not robot.links.calling


def test_what_waits_is_bounded():
    robot = Robot()
    for number in range(WAITING + 3):
        robot.take(closure(number, 0.0, -20.0))
    assert robot.links.waiting == WAITING
    assert robot.told == {0: UNKNOWN, 1: UNKNOWN, 2: UNKNOWN}


def test_what_is_remembered_is_bounded():
    robot = Robot(refused_after_graphs=1)
    robot.drive(3)
    for number in range(REMEMBERED + 2):
        robot.links._refused[number, number + 1] = None
    robot.graph.refused_ids = {3}
    robot.take(closure(1, 2.0, 0.0))
    robot.image(3.0)
    assert robot.told == {1: REJECTED}
    assert len(robot.links._refused) == REMEMBERED


def test_a_restart_of_rtabmap_makes_numbers_mean_other_nodes():
    robot = Robot()
    robot.drive(31)
    robot.take(closure(1, 30.0, 3.0))
    links, fresh = robot.links, Graph()
    robot.graph = fresh
    number = fresh.add_node(32 * NS)
    assert not links.nodes.processed(number, 32 * NS, [number])
    links.forget()
    robot.collect()
    assert robot.told == {1: UNKNOWN}
    robot.s = 33.0
    robot.take(closure(2, 32.0, 3.0))
    robot.wait(11.0)
    assert robot.told[2] == REJECTED
    assert len(robot.sent) == 1
