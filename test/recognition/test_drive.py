"""Poses of a recorded drive, also where tf alone has them."""

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from small_drive import IMAGE, START_NS, STORE, texture

from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import BagError
from vpr_ros.recognition.drive import Drive, DriveOptions

TYPES = STORE.types


def header(stamp_ns, frame):
    time = TYPES['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    return TYPES['std_msgs/msg/Header'](time, frame)


def moved(parent, child, stamp_ns, x):
    transform = TYPES['geometry_msgs/msg/Transform'](
        TYPES['geometry_msgs/msg/Vector3'](float(x), 0.0, 0.0),
        TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0),
    )
    stamped = TYPES['geometry_msgs/msg/TransformStamped']
    return stamped(header(stamp_ns, parent), child, transform)


@pytest.fixture
def write(tmp_path):
    """A drive of three images, a metre apart, with these edges of tf."""

    def written(*edges):
        path = tmp_path / 'drive'
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            image = writer.add_connection(IMAGE, 'sensor_msgs/msg/Image', typestore=STORE)
            tf = writer.add_connection('/tf', 'tf2_msgs/msg/TFMessage', typestore=STORE)
            for k in range(3):
                stamp_ns = START_NS + k * 10**9
                picture = TYPES['sensor_msgs/msg/Image'](
                    header(stamp_ns, 'camera'), 96, 128, 'rgb8', 0, 384, texture(k).reshape(-1)
                )
                steps = [moved(*edge, stamp_ns, k) for edge in edges]
                message = TYPES['tf2_msgs/msg/TFMessage'](steps)
                writer.write(image, stamp_ns, STORE.serialize_cdr(picture, image.msgtype))
                writer.write(tf, stamp_ns, STORE.serialize_cdr(message, tf.msgtype))
        return path

    return written


def trajectory(path, **options):
    with open_bag(path) as bag:
        drive = Drive(bag, DriveOptions(**options))
        assert all(keyframe.pose for keyframe in drive.keyframes())
        return drive.trajectory


@pytest.mark.parametrize(
    ('edges', 'frame', 'step_m'),
    [
        ([('odom', 'base_link')], 'odom', 1.0),
        ([('map', 'odom'), ('odom', 'base_link')], 'map', 2.0),  # corrected: it drifts less
    ],
)
def test_tf_alone_is_enough(write, edges, frame, step_m):
    found = trajectory(write(*edges))
    assert (found.frame_id, found.child_frame_id) == (frame, 'base_link')
    np.testing.assert_allclose(np.diff(found.positions_m[:, 0]), step_m)


def test_frames_of_another_name(write):
    path = write(('world', 'map'), ('map', 'odom'), ('odom', 'base_footprint'))
    found = trajectory(path, pose_topic='/tf', pose_frame='world', base_frame='base_footprint')
    assert (found.frame_id, found.child_frame_id) == ('world', 'base_footprint')
    np.testing.assert_allclose(np.diff(found.positions_m[:, 0]), 3.0)
    with pytest.raises(BagError, match=r'base_footprint, map.* Name others with pose_frame and'):
        trajectory(path)
