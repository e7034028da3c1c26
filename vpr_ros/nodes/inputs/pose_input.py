"""Where the robot is at the moment of an image: by a topic of odometry, or by tf."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from vpr_ros.config import NodeConfig
from vpr_ros.errors import ConfigError
from vpr_ros.nodes.inputs.odometry import PoseBuffer
from vpr_ros.nodes.inputs.pose_cdr import read_pose
from vpr_ros.nodes.inputs.pose_watch import PoseReport, PoseWatch, explain_frames, explain_gap
from vpr_ros.nodes.inputs.transforms import Transforms, require_transforms
from vpr_ros.nodes.outputs.messages import POSE_TYPES, type_name
from vpr_ros.nodes.transport import explain_no_pose
from vpr_ros.records import Pose

LOG_PERIOD_S = 5.0
TOPIC = 'odom'
BACK = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1))


def require_poses(config: NodeConfig, map_frame: str) -> None:
    """Refuse a source of poses that cannot be read, or would spoil the map.

    Args:
        config: settings of the node.
        map_frame: frame of the map.

    Raises:
        ConfigError: nothing can read tf, or a map is to be extended in another frame.
    """
    require_transforms(config)
    tf_extends = config.pose_input == 'tf' and config.mode == 'both'
    if tf_extends and config.odom_frame != map_frame:
        raise ConfigError(
            f'odom_frame is {config.odom_frame!r} and the map is in {map_frame!r}: mode both adds '
            'places with their poses, so set odom_frame to the frame of the map'
        )


class PoseInput:
    """Filled by the thread of the subscriptions, asked by another."""

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        transforms: Transforms,
        map_frame: Callable[[], str],
        stack: ExitStack,
    ) -> None:
        """Listen to what the settings ask for, until the stack is closed.

        Args:
            node: active.
            config: its settings.
            transforms: asked where poses come from tf.
            map_frame: gives the frame of the map that is in use.
            stack: of the node's activity.
        """
        self._config, self._transforms, self._map_frame = config, transforms, map_frame
        self._node, self._logger = node, node.get_logger()
        self._topic = node.resolve_topic_name(TOPIC)
        self._watch = PoseWatch()
        self._refused = ''  # why the newest pose was not taken; empty: it was
        self._poses = PoseBuffer(config.pose.max_gap_s)
        if config.pose_input in POSE_TYPES:
            self._type = POSE_TYPES[config.pose_input]
            subscription = node.create_subscription(
                self._type, TOPIC, self._take, qos_profile_sensor_data, raw=True
            )
            stack.callback(node.destroy_subscription, subscription)
        clock = node.get_clock()
        jump = clock.create_jump_callback(BACK, post_callback=lambda _: self.reset())
        stack.callback(jump.unregister)

    def at(self, stamp_ns: int) -> Pose | None:
        """Pose of the base at the stamp of an image, or None where none is known near enough."""
        pose = self._at(stamp_ns)
        self._watch.saw(stamp_ns, pose)
        return pose

    def report(self, timeout_s: float) -> PoseReport | None:
        """How many images had a pose, and why none has had one for `timeout_s`.

        None where no poses were asked for.
        """
        config, watch = self._config, self._watch
        if config.pose_input == 'none':
            return None
        from_tf = config.pose_input == 'tf'
        source = f'{config.odom_frame} to {config.base_frame}' if from_tf else self._topic
        trouble = self._why() if watch.missing(timeout_s) else ''
        return PoseReport(source, watch.known, watch.unknown, trouble)

    def _why(self) -> str:
        config, stamp_ns = self._config, self._watch.stamp_ns
        if self._refused:
            return self._refused
        if config.pose_input == 'tf':
            parent, child = config.odom_frame, config.base_frame
            connected = self._transforms.lookup(parent, child, None) is not None
            return explain_frames(stamp_ns, parent, child, connected)
        latest = self._poses.latest()
        if latest is None:
            wanted = {type_name(type_): name for name, type_ in POSE_TYPES.items()}
            return explain_no_pose(self._node, self._topic, type_name(self._type), wanted)
        return explain_gap(stamp_ns, latest[0], self._topic, config.pose.max_gap_s)

    def _at(self, stamp_ns: int) -> Pose | None:
        config = self._config
        if config.pose_input != 'tf':
            return self._poses.at(stamp_ns)
        if not self._fits(config.odom_frame):
            return None
        return self._transforms.lookup(config.odom_frame, config.base_frame, stamp_ns)

    def reset(self) -> None:
        """Forget every pose: the clock was set back."""
        self._poses.clear()
        self._transforms.reset()

    def _take(self, data: bytes) -> None:
        self._refused = ''
        stamped = read_pose(data, self._type)
        if stamped is None:
            self._warn(f'{len(data)} bytes that are no {type_name(self._type)} were dropped')
            return
        if not self._fits(stamped.frame):
            return
        pose = stamped.pose()
        if pose is None:
            self._warn('a pose that is not finite was dropped')
            return
        self._poses.put(stamped.stamp_ns, pose)

    def _fits(self, frame: str) -> bool:
        """Whether places with poses in a frame may be recorded, if they are recorded."""
        mode = self._config.mode
        self._refused = ''
        if mode == 'localize' or frame == (map_frame := self._map_frame()):
            return True
        if mode == 'map':
            self._logger.warning(
                f'poses are in frame {frame!r} and the new map says {map_frame!r}: set map_frame '
                f'to {frame!r}, unless loop_closing moves the places to {map_frame!r} in the end',
                once=True,
            )
            return True
        self._warn(
            f'poses are in frame {frame!r} and the map in {map_frame!r}: places are recorded '
            'without a pose; give poses in the frame of the map'
        )
        return False

    def _warn(self, text: str) -> None:
        self._refused = text
        self._logger.warning(text, throttle_duration_sec=LOG_PERIOD_S)
