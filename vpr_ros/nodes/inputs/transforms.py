"""Where one frame is in another, at the moment of an image: tf2 where it is installed, or ours.

`/tf` is heard only where poses come from it: 20 transforms at 200 Hz cost 6 % of a core, and 10 %
as messages of rclpy. Cameras are otherwise mounted by what `/tf_static` says alone.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Protocol

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from scipy.spatial.transform import Rotation

from vpr_ros.bags.transforms import Edge, compose, find_chain
from vpr_ros.config import NodeConfig
from vpr_ros.errors import ConfigError
from vpr_ros.nodes.inputs.odometry import KEPT_S, PoseBuffer
from vpr_ros.nodes.inputs.pose_cdr import read_transforms
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.outputs.messages import stamp_ns as nanoseconds
from vpr_ros.records import Pose

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # a part of every robot's installation, but not of the wheels
    TFMessage = None
try:
    import tf2_ros
except ImportError:
    tf2_ros = None

STATIC = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Matches every publisher of /tf, and none has to wait for us.
MOVING = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
HERE = Pose((0.0, 0.0, 0.0))
LOG_PERIOD_S = 5.0


class Transforms(Protocol):
    """Asked by any thread."""

    def lookup(self, parent: str, child: str, stamp_ns: int | None) -> Pose | None:
        """Pose of one frame in another.

        Args:
            parent: frame in which the pose is wanted.
            child: frame whose pose is wanted.
            stamp_ns: moment; None: the latest that is known.

        Returns:
            Interpolated where the moment lies between what is known, else the nearest that is
            known, as for odometry. None where the frames are not connected, or nothing is known
            near enough.
        """
        ...

    def reset(self) -> None:
        """Forget what moves: the clock was set back."""
        ...


def require_transforms(config: NodeConfig) -> None:
    """Refuse poses from tf where nothing can read it.

    Raises:
        ConfigError: neither tf2_ros nor tf2_msgs is installed.
    """
    if config.pose_input == 'tf' and tf2_ros is None and TFMessage is None:
        raise ConfigError(
            'pose_input is tf, but neither tf2_ros nor tf2_msgs can be imported: install tf2_ros, '
            'or set pose_input to odometry'
        )


def open_transforms(node: Node, config: NodeConfig, stack: ExitStack) -> Transforms:
    """Listen to the transforms that the settings need, until the stack is closed.

    Args:
        node: active.
        config: its settings.
        stack: of the node's activity.

    Raises:
        ConfigError: as `require_transforms`.
    """
    require_transforms(config)
    moving = config.pose_input == 'tf'
    if moving and tf2_ros is not None:
        return Tf2Transforms(node, config.pose.max_gap_s, stack)
    if TFMessage is not None and (moving or config.camera_info):
        return TopicTransforms(node, moving, config.pose.max_gap_s, stack)
    return NoTransforms()


class NoTransforms:
    """Nothing is known but that a frame is at itself."""

    def lookup(self, parent: str, child: str, stamp_ns: int | None) -> Pose | None:
        return HERE if parent == child else None

    def reset(self) -> None:
        pass


class Tf2Transforms:
    """The buffer of tf2_ros; unlike ours it interpolates over gaps of any length."""

    def __init__(self, node: Node, max_gap_s: float, stack: ExitStack) -> None:
        self._max_gap_ns = int(max_gap_s * NS)
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=KEPT_S))
        # No thread of its own: the call-backs run where all the others of the node do.
        listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
        stack.callback(listener.unregister)

    def lookup(self, parent: str, child: str, stamp_ns: int | None) -> Pose | None:
        parent, child = parent.lstrip('/'), child.lstrip('/')
        try:
            if stamp_ns is None:
                return _pose(self._buffer.lookup_transform(parent, child, Time()))
            if stamp_ns <= 0:  # tf2 takes time 0 for the latest
                return None
            return self._at(parent, child, stamp_ns)
        except tf2_ros.TransformException:
            return None

    def reset(self) -> None:
        self._buffer.clear()  # keeps what is static

    def _at(self, parent: str, child: str, stamp_ns: int) -> Pose | None:
        try:
            moment = Time(nanoseconds=stamp_ns)
            return _pose(self._buffer.lookup_transform(parent, child, moment))
        except tf2_ros.ExtrapolationException:
            latest = self._buffer.lookup_transform(parent, child, Time())
        near = abs(nanoseconds(latest.header.stamp) - stamp_ns) <= self._max_gap_ns
        return _pose(latest) if near else None


class TopicTransforms:
    """Our own listener to `/tf_static` and, where it is wanted, `/tf`."""

    def __init__(self, node: Node, moving: bool, max_gap_s: float, stack: ExitStack) -> None:
        self._graph = FrameGraph(max_gap_s)
        self._logger = node.get_logger()
        topics = [('/tf_static', STATIC, True)]
        if moving:
            topics.append(('/tf', MOVING, False))
        for topic, qos, static in topics:
            subscription = node.create_subscription(
                TFMessage, topic, lambda data, static=static: self._take(data, static), qos,
                raw=True,
            )  # fmt: skip
            stack.callback(node.destroy_subscription, subscription)

    def lookup(self, parent: str, child: str, stamp_ns: int | None) -> Pose | None:
        return self._graph.lookup(parent, child, stamp_ns)

    def reset(self) -> None:
        self._graph.reset()

    def _take(self, data: bytes, static: bool) -> None:
        found = read_transforms(data, TFMessage)
        if found is None:
            self._warn(f'{len(data)} bytes that are no transforms were dropped')
            return
        for stamped in found:
            pose = stamped.pose()
            # tf of ROS 1 wrote frames with a slash in front.
            edge = Edge(stamped.frame.lstrip('/'), stamped.child.lstrip('/'))
            if pose is None or edge.parent == edge.child:
                self._warn(f'a transform from {edge.parent!r} to {edge.child!r} was dropped')
            else:
                self._graph.put(edge, stamped.stamp_ns, pose, static)

    def _warn(self, text: str) -> None:
        self._logger.warning(text, throttle_duration_sec=LOG_PERIOD_S)


class FrameGraph:
    """The edges of tf. Only those that lookups go along are remembered for longer than a sample.

    So a robot with many joints costs one sample for each of them.
    """

    def __init__(self, max_gap_s: float) -> None:
        self._max_gap_s = max_gap_s
        self._edges: dict[str, Edge] = {}  # by child: a frame has one parent
        self._static: dict[Edge, Pose] = {}
        self._newest: dict[Edge, tuple[int, Pose]] = {}  # of edges that move
        self._history: dict[Edge, PoseBuffer] = {}  # of those among them that are asked for
        self._chains: dict[tuple[str, str], list[Edge] | None] = {}
        self._lock = threading.Lock()

    def put(self, edge: Edge, stamp_ns: int, pose: Pose, static: bool) -> None:
        """Take the pose of an edge's child in its parent."""
        with self._lock:
            before = self._edges.get(edge.child)
            if before != edge:
                self._edges[edge.child] = edge
                self._chains.clear()
                for known in (self._static, self._newest, self._history):
                    known.pop(before, None)
            if static:
                self._static[edge] = pose
                return
            self._static.pop(edge, None)
            self._newest[edge] = stamp_ns, pose
            if edge in self._history:
                self._history[edge].put(stamp_ns, pose)

    def lookup(self, parent: str, child: str, stamp_ns: int | None) -> Pose | None:
        """As `Transforms.lookup`."""
        parent, child = parent.lstrip('/'), child.lstrip('/')
        if parent == child:
            return HERE
        with self._lock:
            chain = self._chain(parent, child)
            poses = [self._pose(edge, stamp_ns) for edge in chain or ()]
        known = [pose for pose in poses if pose is not None]
        if chain is None or len(known) < len(chain):
            return None
        steps = [
            (edge, np.array(pose.position_m), Rotation.from_quat(pose.quaternion))
            for edge, pose in zip(chain, known, strict=True)
        ]
        position, rotation = compose(parent, steps)
        return Pose(tuple(position.tolist()), tuple(rotation.as_quat().tolist()))

    def reset(self) -> None:
        """Forget the poses of what moves."""
        with self._lock:
            self._newest.clear()
            for history in self._history.values():
                history.clear()

    def _chain(self, parent: str, child: str) -> list[Edge] | None:
        asked = parent, child
        if asked not in self._chains:
            self._chains[asked] = find_chain(set(self._edges.values()), parent, child)
        return self._chains[asked]

    def _pose(self, edge: Edge, stamp_ns: int | None) -> Pose | None:
        if edge in self._static:
            return self._static[edge]
        newest = self._newest.get(edge)
        if edge not in self._history:
            self._history[edge] = PoseBuffer(self._max_gap_s)
            if newest:
                self._history[edge].put(*newest)
        if stamp_ns is None:
            return newest and newest[1]
        return self._history[edge].at(stamp_ns)


def _pose(transform) -> Pose:
    """Pose of a geometry_msgs/TransformStamped."""
    point, q = transform.transform.translation, transform.transform.rotation
    return Pose((point.x, point.y, point.z), (q.x, q.y, q.z, q.w))
