"""Pictures that nobody mistakes for each other, as messages."""

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image

from vpr_ros.nodes.outputs.messages import to_time, type_name

NS = 1_000_000_000


def texture(number):
    """RGB picture (60, 80, 3), uint8: coarse random blocks, the same for the same number."""
    blocks = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return blocks.repeat(10, axis=0).repeat(10, axis=1)


def image_message(number, stamp_s=0.0, frame_id='camera_optical_frame'):
    """The picture as sensor_msgs/Image, rgb8."""
    rgb = texture(number)
    message = Image(height=60, width=80, step=240, encoding='rgb8', data=rgb.tobytes())
    message.header.frame_id = frame_id
    message.header.stamp = to_time(round(stamp_s * NS))
    return message


def pose_message(x, stamp_s, frame_id='map', type_=PoseStamped):
    """A pose at x metres; its quaternion is the identity."""
    message = type_()
    pose = message.pose if type_ is PoseStamped else message.pose.pose
    pose.position.x = x
    pose.orientation.w = 1.0
    message.header.frame_id = frame_id
    message.header.stamp = to_time(round(stamp_s * NS))
    return message


def odometry_message(x, stamp_s, frame_id='odom'):
    return pose_message(x, stamp_s, frame_id, Odometry)


def write_messages(path, messages):
    """Write (topic, message, stamp_s) as a rosbag2 in mcap."""
    store = get_typestore(Stores.LATEST)
    connections = {}
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, message, stamp_s in messages:
            if topic not in connections:
                name = type_name(type(message))
                connections[topic] = writer.add_connection(topic, name, typestore=store)
            stamp_ns = round(stamp_s * NS)
            writer.write(connections[topic], stamp_ns, serialize_message(message))
    return path
