"""Depth images in metres, of the moment asked for."""

import cv2
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vpr_ros.bags.depth_images import depth_from_message
from vpr_ros.nodes.inputs.depth import DepthBuffer
from vpr_ros.nodes.outputs.messages import to_time


def message(values, encoding, stamp_ns=0, padding=0, big=False):
    height, width = values.shape
    item = values.dtype.itemsize
    rows = np.zeros((height, width * item + padding), np.uint8)
    stored = values.astype(values.dtype.newbyteorder('>' if big else '<'))
    rows[:, : width * item] = np.ascontiguousarray(stored).view(np.uint8).reshape(height, -1)
    return Image(
        header=Header(stamp=to_time(stamp_ns)), height=height, width=width, encoding=encoding,
        step=rows.shape[1], data=rows.tobytes(), is_bigendian=int(big),
    )  # fmt: skip


@pytest.mark.parametrize('padding', [0, 8])
@pytest.mark.parametrize('big', [False, True])
def test_millimetres_and_metres(padding, big):
    raw = np.array([[0, 500], [1250, 60000]], np.uint16)
    metres = depth_from_message(message(raw, '16UC1', padding=padding, big=big))
    np.testing.assert_allclose(metres, [[0, 0.5], [1.25, 60.0]], rtol=1e-6)
    floats = np.array([[np.nan, 0.5], [np.inf, 3.0]], np.float32)
    metres = depth_from_message(message(floats, '32FC1', padding=padding, big=big))
    np.testing.assert_array_equal(metres, [[0, 0.5], [0, 3.0]])


def test_the_depth_of_the_moment_is_found():
    buffer = DepthBuffer(0.05)
    assert buffer.at(0) is None
    for k in range(20):
        depth = message(np.full((2, 2), k, np.float32), '32FC1', k * 100_000_000)
        buffer.put(serialize_message(depth))
    assert buffer.at(1_930_000_000)[0, 0] == 19
    assert buffer.at(1_800_000_001)[0, 0] == 18
    assert buffer.at(1_950_000_001) is None  # more than 0.05 s from any
    assert buffer.at(0) is None  # long gone


@pytest.mark.parametrize('fault', ['cut', 'rgb8', 'compressed'])
def test_what_is_no_depth_image_is_none_and_told(fault):
    told = []
    buffer = DepthBuffer(0.05, 'compressed' if fault == 'compressed' else 'raw', told.append)
    depth = message(np.ones((2, 2), np.float32), 'rgb8' if fault == 'rgb8' else '32FC1', 0)
    if fault == 'compressed':
        depth = CompressedImage(format='jpeg', data=bytes(40))
    buffer.put(serialize_message(depth)[: -3 if fault == 'cut' else None])
    assert buffer.at(0) is None
    assert len(told) == 1


def test_compressed_depth_is_read_as_the_transport_writes_it():
    buffer = DepthBuffer(0.05, 'compressed')
    png = cv2.imencode('.png', np.full((2, 3), 1250, np.uint16))[1].tobytes()
    depth = CompressedImage(format='16UC1; compressedDepth png', data=bytes(12) + png)
    buffer.put(serialize_message(depth))
    np.testing.assert_array_equal(buffer.at(0), np.full((2, 3), 1.25, np.float32))
