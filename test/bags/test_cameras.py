"""The model of a recorded camera: intrinsics and where it is mounted."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from shared_data import shared_data

from vpr_ros.bags.cameras import camera_from_message, edges, info_topic, mounting, read_camera
from vpr_ros.bags.message_types import CAMERA_INFO_TYPE
from vpr_ros.bags.reader import TopicInfo, open_bag

K = (400.0, 0.0, 319.5, 0.0, 410.0, 239.5, 0.0, 0.0, 1.0)


def info(k=K, d=(), model='plumb_bob', width=640, height=480):
    return SimpleNamespace(k=k, d=d, distortion_model=model, width=width, height=height)


def transform(parent, child, position, quaternion=(0.0, 0.0, 0.0, 1.0)):
    point, turn = SimpleNamespace(), SimpleNamespace()
    point.x, point.y, point.z = position
    turn.x, turn.y, turn.z, turn.w = quaternion
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent), child_frame_id=child,
        transform=SimpleNamespace(translation=point, rotation=turn),
    )  # fmt: skip


def test_intrinsics_scale_with_the_image():
    camera = camera_from_message(info())
    assert (camera.size, camera.fx, camera.fy) == ((480, 640), 400.0, 410.0)
    assert camera.distortion == () and camera.base is None
    half = camera.matrix((240, 320))
    # The corner of the first pixel stays where it is: (319.5 + 1/2) / 2 - 1/2.
    np.testing.assert_allclose(half, [[200, 0, 159.5], [0, 205, 119.5], [0, 0, 1]])


def test_distortion_of_nothing_is_none():
    assert camera_from_message(info(d=(0.0,) * 5)).distortion == ()
    assert camera_from_message(info(d=(0.1, 0, 0, 0, 0))).distortion[0] == 0.1


@pytest.mark.parametrize(
    'message',
    [
        info(k=(0.0,) * 9),  # what an uncalibrated driver publishes
        info(k=(float('nan'), *K[1:])),
        info(model='equidistant'),
        info(width=0),
        info(height=0),
        info(d=(0.1,) * 15),
    ],
)
def test_what_is_no_calibrated_pinhole_camera_is_none(message):
    assert camera_from_message(message) is None


@pytest.mark.parametrize('count', range(1, 15))
def test_coefficients_that_are_not_stated_are_zero(count):
    """OpenCV takes 4, 5, 8, 12 or 14 of them, and raises otherwise."""
    d = tuple(0.01 * k for k in range(1, count + 1))
    camera = camera_from_message(info(d=d, model='rational_polynomial'))
    assert camera.distortion[:count] == d
    assert not any(camera.distortion[count:])
    cv2.undistortPoints(np.ones((1, 1, 2)), camera.matrix(), np.array(camera.distortion))


@pytest.mark.parametrize(
    'step',
    [
        ((1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (0.0, 0.0, 0.0, float('nan'))),
        ((float('nan'), 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
    ],
)
def test_a_transform_that_is_no_pose_mounts_nothing(step):
    known = edges(SimpleNamespace(transforms=[transform('base', 'camera', *step)]))
    assert mounting(known, 'base', 'camera') is None
    known |= edges(
        SimpleNamespace(transforms=[
            transform('base', 'mast', (1.0, 0.0, 0.0)),
            transform('mast', 'camera', (0.0, 2.0, 0.0)),
        ])
    )  # fmt: skip
    assert mounting(known, 'base', 'camera').position_m == (1.0, 2.0, 0.0)


def test_messages_of_ros1_have_capital_letters():
    message = SimpleNamespace(K=K, D=(), distortion_model='plumb_bob', width=640, height=480)
    assert camera_from_message(message) == camera_from_message(info())


def test_the_mounting_is_composed_along_the_tree():
    turned = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))  # a quarter to the left
    known = edges(
        SimpleNamespace(transforms=[
            transform('/base', '/mast', (1.0, 0.0, 2.0), turned),
            transform('mast', 'camera', (0.5, 0.0, 0.0)),
        ])
    )  # fmt: skip
    pose = mounting(known, 'base', 'camera')
    np.testing.assert_allclose(pose.position_m, (1.0, 0.5, 2.0), atol=1e-12)
    np.testing.assert_allclose(pose.quaternion, turned, atol=1e-12)
    back = mounting(known, 'camera', 'base')
    np.testing.assert_allclose((pose @ back).matrix(), np.eye(4), atol=1e-12)
    assert mounting(known, 'base', 'lidar') is None
    assert mounting(known, 'base', '') is None
    assert mounting({}, 'camera', 'camera').position_m == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ('image', 'topics', 'expected'),
    [
        ('/front/image_raw', ['/front/camera_info', '/rear/camera_info'], '/front/camera_info'),
        ('/front/image_raw/compressed', ['/front/camera_info'], '/front/camera_info'),
        ('/pictures', ['/cam/camera_info'], '/cam/camera_info'),
        ('/pictures', ['/a/camera_info', '/b/camera_info'], None),
        ('/pictures', [], None),
    ],
)
def test_the_topic_is_looked_for_beside_the_images(image, topics, expected):
    bag = SimpleNamespace(topics={name: TopicInfo(CAMERA_INFO_TYPE, 1) for name in topics})
    assert info_topic(bag, image) == expected


def test_the_camera_of_a_real_recording():
    with open_bag(shared_data('bags', 'euroc_v101_compressed_mcap')) as bag:
        camera = read_camera(bag, bag.image_topic())
    assert camera.size == (480, 752)
    assert 400 < camera.fx < 500 and len(camera.distortion) >= 4
    assert camera.base is None  # the recording has no transforms
