"""What we say about DDS is true of the environment and of the topics that are there."""

import pytest
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from waiting import eventually

from vpr_ros.nodes import transport
from vpr_ros.nodes.session import spinning_node
from vpr_ros.nodes.transport import (
    advice,
    explain_loss,
    explain_silence,
    free_domain_id,
    process_environment,
)

TYPE = 'sensor_msgs/msg/Image'
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.mark.parametrize(
    ('environment', 'told'),
    [
        ({}, 'default transports'),
        ({'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}, 'default transports'),
        ({'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'}, None),
        ({'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA?max_msg_size=1MB'}, None),
        (
            {
                'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA',
                'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            },
            'unset it',
        ),
        ({'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA', 'ROS_LOCALHOST_ONLY': '1'}, 'unset it'),
    ],
)
def test_advice(environment, told):
    sentence = advice(environment)
    assert (sentence is None) == (told is None)
    if told:
        assert told in sentence and 'camera driver alike' in sentence


def test_no_advice_for_another_middleware(monkeypatch):
    monkeypatch.setattr(transport, 'get_rmw_implementation_identifier', lambda: 'rmw_zenoh_cpp')
    assert advice({}) is None


def test_our_own_processes_have_room_for_images(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_LOCALHOST_ONLY', '1')
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS', raising=False)
    environment = process_environment(42)
    assert environment['ROS_DOMAIN_ID'] == '42'
    assert advice(environment) is None
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')  # the user knows why
    assert process_environment(42)['FASTDDS_BUILTIN_TRANSPORTS'] == 'UDPv4'


@pytest.mark.parametrize('transports', ['LARGE_DATA', 'DEFAULT'])
@pytest.mark.parametrize('reach', ['SUBNET', 'LOCALHOST'])
def test_a_domain_in_use_is_passed_over(transports, reach):
    domain_id = free_domain_id()
    assert 1 <= domain_id <= 100
    environment = {
        **process_environment(domain_id),
        'FASTDDS_BUILTIN_TRANSPORTS': transports,
        'ROS_AUTOMATIC_DISCOVERY_RANGE': reach,
    }
    with spinning_node('occupies', environment):
        assert free_domain_id() != domain_id


@pytest.fixture
def node(context):
    node = Node('listens', context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def publish(context, node):
    """Advertise a topic from another node, and wait until the first one knows."""
    others = []

    def make(type_, topic, qos=SENSOR):
        others.append(Node('camera', context=context))
        others[-1].create_publisher(type_, topic, qos)
        eventually(lambda: node.count_publishers(topic))

    yield make
    for other in others:
        other.destroy_node()


def test_nobody_publishes(node, monkeypatch):
    assert 'camera driver without' in explain_silence(node, '/image', TYPE, SENSOR)
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS')
    told = explain_silence(node, '/image', TYPE, SENSOR)
    assert told.startswith('no image on /image, which nobody publishes') and 'DOMAIN_ID' in told


def test_images_are_elsewhere(node, publish):
    publish(Image, '/front/image_raw')
    told = explain_silence(node, '/image', TYPE, SENSOR)
    assert 'there are images on /front/image_raw: remap image or' in told


def test_another_type(node, publish):
    publish(CompressedImage, '/image')
    told = explain_silence(node, '/image', TYPE, SENSOR)
    assert '1 publisher of type sensor_msgs/msg/CompressedImage' in told
    assert told.endswith('set image_transport')


def test_incompatible_quality_of_service(node, publish):
    publish(Image, '/image', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    demanding = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    told = explain_silence(node, '/image', TYPE, demanding)
    assert 'incompatible quality of service: ERROR' in told


def test_a_silent_publisher(node, publish, monkeypatch):
    publish(Image, '/image')
    assert explain_silence(node, '/image', TYPE, SENSOR).endswith('is it paused?')
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS')
    assert 'default transports' in explain_silence(node, '/image', TYPE, SENSOR)


def test_loss_has_a_number_and_a_reason(monkeypatch):
    assert explain_loss(3, '/image').startswith('images of /image are lost on the way, 3 since')
    assert 'overloaded' in explain_loss(3, '/image')
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS')
    assert 'default transports' in explain_loss(3, '/image')
