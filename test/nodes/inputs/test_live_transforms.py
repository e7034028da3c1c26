"""Where frames are: our own listener, and the strict stand-in of tf2_ros beside it."""

from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from tf2_msgs.msg import TFMessage
from waiting import eventually

from vpr_ros.bags.transforms import Edge
from vpr_ros.config import NodeConfig
from vpr_ros.errors import ConfigError
from vpr_ros.nodes.inputs import transforms
from vpr_ros.nodes.inputs.transforms import (
    FrameGraph,
    NoTransforms,
    Tf2Transforms,
    TopicTransforms,
    open_transforms,
    require_transforms,
)
from vpr_ros.nodes.outputs.messages import NS, stamp_ns, to_time
from vpr_ros.records import Pose

TF = NodeConfig(pose_input='tf')
QUARTER = (0.0, 0.0, float(np.sin(np.pi / 4)), float(np.cos(np.pi / 4)))  # 90 degrees about z
AHEAD = Pose((1.0, 0.0, 0.0))


def message(parent, child, second, pose):
    transform = TransformStamped(child_frame_id=child)
    transform.header.frame_id, transform.header.stamp = parent, to_time(int(second * NS))
    point, turn = transform.transform.translation, transform.transform.rotation
    point.x, point.y, point.z = pose.position_m
    turn.x, turn.y, turn.z, turn.w = pose.quaternion
    return transform


def graph(*edges, max_gap_s=0.5):
    """Parent, child, seconds (None: static), x."""
    made = FrameGraph(max_gap_s)
    made.lookup('map', 'base', 0)
    for parent, child, second, x in edges:
        pose = Pose((x, 0.0, 0.0))
        made.put(Edge(parent, child), int((second or 0) * NS), pose, second is None)
        made.lookup('map', 'base', 0)  # from now on the chain is remembered
    return made


def x_at(made, second, parent='map', child='base'):
    pose = made.lookup(parent, child, None if second is None else int(second * NS))
    return pose and pytest.approx(pose.position_m[0])


MOVING = [('map', 'odom', None, 100.0), ('odom', 'base', 1.0, 1.0), ('odom', 'base', 1.2, 2.0),
          ('odom', 'base', 5.0, 5.0)]  # fmt: skip


@pytest.mark.parametrize(
    ('second', 'x'),
    [(1.0, 101.0), (1.1, 101.5), (1.6, 102.0), (0.6, 101.0), (0.4, None), (4.0, None),
     (5.4, 105.0), (6.0, None), (None, 105.0)],
)  # fmt: skip
def test_the_moment_is_interpolated_or_the_nearest_near_enough(second, x):
    assert x_at(graph(*MOVING), second) == x


def test_a_chain_is_composed_in_both_directions():
    made = FrameGraph(0.5)
    made.put(Edge('base', 'mast'), 0, Pose((1.0, 2.0, 0.0), QUARTER), True)
    made.put(Edge('mast', 'camera'), 0, AHEAD, True)
    pose = made.lookup('base', 'camera', None)
    np.testing.assert_allclose(pose.position_m, (1.0, 3.0, 0.0), atol=1e-12)
    assert pose.angle_rad(Pose((0.0, 0.0, 0.0), QUARTER)) < 1e-6
    back = made.lookup('/camera', '/base', 12345)
    assert back.distance_m(pose.inverse()) < 1e-12
    assert made.lookup('base', 'base', 7) == Pose((0.0, 0.0, 0.0))


def test_what_is_not_connected_is_none():
    made = graph(*MOVING)
    assert made.lookup('map', 'moon', None) is None
    assert made.lookup('sun', 'moon', None) is None
    made.put(Edge('sun', 'moon'), 0, AHEAD, True)
    assert made.lookup('sun', 'moon', None) == AHEAD
    assert made.lookup('map', 'moon', None) is None


def test_a_frame_may_get_another_parent():
    made = graph(
        ('map', 'base', 1.0, 1.0), ('map', 'odom', None, 10.0), ('odom', 'base', 1.1, 2.0)
    )
    assert x_at(made, 1.1) == 12.0


def test_resetting_forgets_what_moves_and_keeps_what_is_static():
    made = graph(*MOVING)
    made.reset()
    assert x_at(made, 5.0) is None
    assert x_at(made, None) is None
    assert x_at(made, None, 'map', 'odom') == 100.0


def test_a_clock_that_jumps_back_begins_anew():
    made = graph(*MOVING, ('odom', 'base', 2.0, 7.0))
    assert x_at(made, 5.0) is None
    assert x_at(made, 2.0) == 107.0


def test_of_edges_nobody_asks_for_one_sample_is_kept():
    made = FrameGraph(0.5)
    for k in range(100):
        made.put(Edge('base', 'wheel'), k * NS // 100, AHEAD, False)
    assert made.lookup('base', 'wheel', NS // 2) == AHEAD  # the newest, 0.49 s away
    assert made.lookup('base', 'wheel', NS // 4) is None
    made.put(Edge('base', 'wheel'), NS, AHEAD, False)
    assert made.lookup('base', 'wheel', int(0.6 * NS)) == AHEAD


def test_without_packages_tf_is_refused_in_one_sentence(monkeypatch):
    require_transforms(TF)  # the wire type is here
    monkeypatch.setattr(transforms, 'TFMessage', None)
    require_transforms(NodeConfig())
    with pytest.raises(ConfigError, match='pose_input is tf, but neither tf2_ros nor tf2_msgs'):
        require_transforms(TF)
    with ExitStack() as stack:
        nothing = open_transforms(None, NodeConfig(), stack)
    assert isinstance(nothing, NoTransforms)
    assert nothing.lookup('base', 'base', None) == Pose((0.0, 0.0, 0.0))
    assert nothing.lookup('base', 'camera', None) is None


@pytest.fixture
def node(context):
    node = rclpy.create_node('listener', context=context)
    yield node
    node.destroy_node()


def test_topics_are_heard(node, spin):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = node.create_publisher(TFMessage, '/tf_static', latched)
    static.publish(TFMessage(transforms=[message('/base', '/camera', 0.0, AHEAD)]))
    moving = node.create_publisher(TFMessage, '/tf', 10)
    with ExitStack() as stack:
        heard = open_transforms(node, TF, stack)
        assert isinstance(heard, TopicTransforms)
        spin(node)
        assert eventually(lambda: heard.lookup('base', 'camera', 5)) == AHEAD
        eventually(moving.get_subscription_count)
        nowhere = message('odom', 'base', 3.0, Pose((float('nan'), 0.0, 0.0)))
        moving.publish(TFMessage(transforms=[nowhere, message('odom', 'base', 3.0, AHEAD)]))
        pose = eventually(lambda: heard.lookup('odom', 'camera', 3 * NS))
        assert pose.position_m == (2.0, 0.0, 0.0)
    eventually(lambda: not moving.get_subscription_count())


@pytest.mark.parametrize(
    ('config', 'topics'),
    [
        (TF, {'/tf', '/tf_static'}),
        (NodeConfig(), {'/tf_static'}),
        (NodeConfig(camera_info=False), set()),
    ],
)
def test_only_what_is_needed_is_heard(node, config, topics):
    with ExitStack() as stack:
        open_transforms(node, config, stack)
        assert {x.topic_name for x in node.subscriptions} & {'/tf', '/tf_static'} == topics
    assert not {x.topic_name for x in node.subscriptions} & {'/tf', '/tf_static'}


class TransformException(Exception):
    """As in tf2_py: the base of the others."""


class Refusal:
    """The exceptions of tf2_ros, by name."""

    LookupException = type('LookupException', (TransformException,), {})
    ConnectivityException = type('ConnectivityException', (TransformException,), {})
    ExtrapolationException = type('ExtrapolationException', (TransformException,), {})
    InvalidArgumentException = type('InvalidArgumentException', (TransformException,), {})


class Buffer:
    """A buffer as strict as that of tf2: one edge, interpolated, and an exception elsewhere."""

    def __init__(self, cache_time=None, node=None):
        assert isinstance(cache_time, Duration)
        self.known = {}
        self.static = set()

    def set(self, transform, static=False):
        pair = transform.header.frame_id, transform.child_frame_id
        self.known.setdefault(pair, []).append(transform)
        self.static |= {pair} if static else set()

    def clear(self):
        self.known = {pair: x for pair, x in self.known.items() if pair in self.static}

    def lookup_transform(self, target_frame, source_frame, time, timeout=None):
        assert isinstance(time, Time)
        if not target_frame or '/' in (target_frame + source_frame)[:1]:
            raise Refusal.InvalidArgumentException('frame ids cannot start with a slash')
        frames = {frame for pair in self.known for frame in pair}
        if not {target_frame, source_frame} <= frames:
            raise Refusal.LookupException('frame does not exist')
        samples = self.known.get((target_frame, source_frame))
        if samples is None:
            raise Refusal.ConnectivityException('frames are in two trees')
        if (target_frame, source_frame) in self.static or time.nanoseconds == 0:
            return samples[-1]
        stamps = [stamp_ns(x.header.stamp) for x in samples]
        if not stamps[0] <= time.nanoseconds <= stamps[-1]:
            raise Refusal.ExtrapolationException('into the future or the past')
        xs = [x.transform.translation.x for x in samples]
        x = float(np.interp(time.nanoseconds, stamps, xs))
        return message(target_frame, source_frame, time.nanoseconds / NS, Pose((x, 0.0, 0.0)))


@pytest.fixture
def tf2(monkeypatch):
    """The stand-in in place of tf2_ros; gives what was made of it."""
    made = SimpleNamespace(listeners=[])

    class TransformListener:
        def __init__(self, buffer, node, *, spin_thread=False, qos=None, static_qos=None):
            assert not spin_thread
            self.buffer, self.open = buffer, True
            made.listeners.append(self)

        def unregister(self):
            assert self.open
            self.open = False

    module = SimpleNamespace(
        Buffer=Buffer, TransformListener=TransformListener, TransformException=TransformException,
        ExtrapolationException=Refusal.ExtrapolationException,
    )  # fmt: skip
    monkeypatch.setattr(transforms, 'tf2_ros', module)
    return made


def test_tf2_is_asked_where_it_is_installed(tf2):
    with ExitStack() as stack:
        found = open_transforms(None, TF, stack)
        assert isinstance(found, Tf2Transforms)
        [listener] = tf2.listeners
        assert found.lookup('odom', 'base', NS) is None  # LookupException
        listener.buffer.set(message('base', 'camera', 0.0, AHEAD), static=True)
        for second, x in ((1.0, 1.0), (1.2, 2.0)):
            listener.buffer.set(message('odom', 'base', second, Pose((x, 0.0, 0.0))))
        assert found.lookup('/base', '/camera', None) == AHEAD
        assert found.lookup('odom', 'camera', NS) is None  # ConnectivityException
        assert found.lookup('', 'base', NS) is None  # InvalidArgumentException
        assert x_at(found, 1.1, 'odom') == 1.5
        assert x_at(found, 1.6, 'odom') == 2.0  # ExtrapolationException, near enough
        assert x_at(found, 1.8, 'odom') is None
        assert x_at(found, 0.2, 'odom') is None
        assert x_at(found, 0.0, 'odom') is None  # to tf2 it would mean the latest
        found.reset()
        assert x_at(found, 1.1, 'odom') is None
        assert found.lookup('base', 'camera', None) == AHEAD
        assert listener.open
    assert not listener.open


def test_tf2_is_not_troubled_for_mountings(tf2, node):
    with ExitStack() as stack:
        assert isinstance(open_transforms(node, replace(TF, pose_input='none'), stack),
                          TopicTransforms)  # fmt: skip
    assert not tf2.listeners
