"""What of a recording is played to the node, and how the node is told to listen to it."""

import pytest
import rclpy
import yaml
from pictures import image_message, write_messages
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from vpr_ros.bags.reader import open_bag
from vpr_ros.nodes.outputs.messages import to_time
from vpr_ros.nodes.playback.node_arguments import (
    Topics,
    node_arguments,
    published_names,
    topics_of,
)
from vpr_ros.nodes.playback.player import Player

COLOUR, DEPTH = '/camera/image_raw', '/camera/depth/image_raw'
NS = 10**9


def depth(kind, frame):
    header = Header(stamp=to_time(5 * NS), frame_id=frame)
    if kind == 'raw':
        return Image(header=header, height=1, width=1, encoding='16UC1', step=2, data=bytes(2))
    return CompressedImage(header=header, format='16UC1; compressedDepth png', data=bytes(13))


@pytest.fixture
def node(context):
    node = rclpy.create_node('player', context=context)
    yield node
    node.destroy_node()


def recording(tmp_path, kind='raw'):
    colour = image_message(1, 5, 'optical')
    info = CameraInfo(header=colour.header)
    messages = [(DEPTH, depth(kind, 'optical'), 5), ('/camera/camera_info', info, 5),
                (COLOUR, colour, 5)]  # fmt: skip
    return write_messages(tmp_path / 'bag', messages)


def told(bag, topics, tmp_path, **given):
    arguments = node_arguments(bag, topics, given, tmp_path / 'node.yaml', reliable=True)
    text = yaml.safe_load((tmp_path / 'node.yaml').read_text())
    return text['place_recognition']['ros__parameters'], arguments[2:]


def test_the_camera_is_played_with_what_is_known_of_it(tmp_path):
    with open_bag(recording(tmp_path)) as bag:
        topics = topics_of(bag)
        assert topics == Topics(COLOUR, '', '/camera/camera_info', DEPTH)
        assert topics.played() == ['/camera/camera_info', DEPTH, COLOUR]  # the image comes last
        assert topics_of(bag, COLOUR, depth='none').played() == ['/camera/camera_info', COLOUR]
        settings, remaps = told(bag, topics, tmp_path)
        assert (settings['depth'], settings['depth_transport']) == (True, 'raw')
        assert remaps == [
            '-r', f'image:={COLOUR}', '-r', 'camera_info:=/camera/camera_info', '-r',
            f'depth:={DEPTH}',
        ]  # fmt: skip
        settings, remaps = told(bag, topics, tmp_path, depth=False, cameras=('front',))
        assert not settings['depth']  # what is given wins
        assert f'front/depth:={DEPTH}' in remaps
        settings, _ = told(bag, Topics(COLOUR), tmp_path)
        assert not settings['depth']


def test_compressed_depth_is_heard_under_the_name_of_its_transport(tmp_path):
    with open_bag(recording(tmp_path, 'compressed')) as bag:
        topics = topics_of(bag)
        settings, remaps = told(bag, topics, tmp_path)
        assert settings['depth_transport'] == 'compressedDepth'
        assert f'depth:={DEPTH}' in remaps
        assert published_names(bag, topics) == {DEPTH: f'{DEPTH}/compressedDepth'}


@pytest.mark.parametrize('kind', ['raw', 'compressed'])
def test_no_answer_to_depth_is_waited_for(tmp_path, kind, node):
    with open_bag(recording(tmp_path, kind)) as bag:
        player = Player(node, bag)
        heard = node.create_subscription(
            Image if kind == 'raw' else CompressedImage, DEPTH, lambda message: None, 1
        )
        answered = [player.heard_image_stamp_ns(x) for x in bag.raw([DEPTH])]
        assert answered == [None]
        node.destroy_subscription(heard)
