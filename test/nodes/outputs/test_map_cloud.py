"""The cloud is what RViz and sensor_msgs_py read."""

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2
from showing import HEADER, add_place, small_map

from vpr_ros.nodes.outputs.colours import GREY, RAMP
from vpr_ros.nodes.outputs.map_cloud import POINT, map_cloud
from vpr_ros.nodes.outputs.positions import Positions


def cloud_of(place_map, *rest):
    """As it arrives."""
    positions = Positions()
    positions.look(place_map)
    sent = serialize_message(map_cloud(HEADER, positions, *rest))
    return deserialize_message(sent, PointCloud2)


def points_of(cloud):
    """By the fields of the message alone."""
    assert all((field.datatype, field.count) == (field.FLOAT32, 1) for field in cloud.fields)
    names, offsets = zip(*((field.name, field.offset) for field in cloud.fields), strict=True)
    formats = ['>f4' if cloud.is_bigendian else '<f4'] * len(names)
    kind = {'names': names, 'formats': formats, 'offsets': offsets, 'itemsize': cloud.point_step}
    assert cloud.height == 1 and cloud.row_step == cloud.width * cloud.point_step
    assert len(cloud.data) == cloud.row_step
    return np.frombuffer(bytes(cloud.data), np.dtype(kind))


def colours_of(points):
    packed = np.ascontiguousarray(points['rgb']).view(np.uint32)
    return [(int(x) >> 16, int(x) >> 8 & 255, int(x) & 255) for x in packed]


def test_every_place_with_a_pose_and_its_similarity():
    place_map = small_map(posed=(True, True, False, True, True, True))
    found = np.array([0.2, 0.3, 0.9, 0.8, -np.inf, 0.1], np.float32)
    cloud = cloud_of(place_map, found, 0.75)
    points = points_of(cloud)
    assert cloud.header == HEADER and cloud.is_dense
    assert [field.name for field in cloud.fields] == ['x', 'y', 'z', 'similarity', 'rgb']
    np.testing.assert_allclose(points['x'], [0, 10, 30, 40, 50])
    np.testing.assert_allclose(points['y'], [1, 1, 2, 2, 2])
    np.testing.assert_allclose(points['similarity'], np.float32([0.2, 0.3, 0.8, 0.0, 0.1]))
    colours = colours_of(points)
    assert colours[2] == tuple(RAMP[-1].tolist()) and colours[3] == GREY
    assert colours[4] == tuple(RAMP[0].tolist())


def test_without_similarities_and_beyond_them_everything_is_grey():
    place_map = small_map()
    assert set(colours_of(points_of(cloud_of(place_map)))) == {GREY}
    add_place(place_map, 6)  # the query itself, remembered after the search
    found = np.linspace(0, 1, 6).astype(np.float32)
    colours = colours_of(points_of(cloud_of(place_map, found, 0.5)))
    assert len(colours) == 7 and colours[6] == GREY and GREY not in colours[:6]


def test_a_map_without_poses_is_an_empty_cloud():
    assert len(points_of(cloud_of(small_map((False,) * 6)))) == 0


def test_it_is_what_sensor_msgs_py_makes():
    point_cloud2 = pytest.importorskip('sensor_msgs_py.point_cloud2')
    found = np.array([0.2, 0.3, 0.9, 0.8, -np.inf, 0.1], np.float32)
    ours = cloud_of(small_map(), found, 0.75)
    points = points_of(ours).astype(POINT)
    theirs = point_cloud2.create_cloud(HEADER, ours.fields, points)
    theirs.is_dense = True  # it never claims to be
    assert serialize_message(theirs) == serialize_message(ours)
    read = point_cloud2.read_points(ours)
    np.testing.assert_array_equal(read['similarity'], points['similarity'])
