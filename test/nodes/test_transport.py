"""What we say about DDS is true of the environment and of the topics that are there."""

import pytest
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from waiting import eventually

from vpr_ros.nodes import transport
from vpr_ros.nodes.session import spinning_node
from vpr_ros.nodes.transport import (
    advice,
    describe_qos,
    explain_loss,
    explain_silence,
    free_domain_id,
    process_environment,
)

TYPE = 'sensor_msgs/msg/Image'
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
LINE = 350  # characters that a line of a log may have to be read


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


def test_what_was_left_in_a_free_domain_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr('vpr_ros.nodes.transport.SHARED_MEMORY', tmp_path)
    monkeypatch.setattr('vpr_ros.nodes.transport._is_free', lambda domain_id: domain_id == 42)
    first = 7400 + 250 * 42
    names = [f'fastdds_port{first + 11}', f'sem.fastdds_port{first + 11}_mutex']
    others = [f'fastdds_port{first + 250}', f'fastdds_port{first - 1}', 'fastdds_0123456789abcdef']
    for name in names + others:
        (tmp_path / name).touch()
    assert free_domain_id() == 42
    assert sorted(x.name for x in tmp_path.iterdir()) == sorted(others)


@pytest.fixture
def node(context):
    node = Node('listens', context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def publish(context, node):
    """Advertise a topic from another node, and wait until the first one knows."""
    others = []

    def make(type_, topic, qos=SENSOR, name='camera', namespace=None):
        others.append(Node(name, context=context, namespace=namespace))
        before = node.count_publishers(topic)
        others[-1].create_publisher(type_, topic, qos)
        eventually(lambda: node.count_publishers(topic) > before)

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


@pytest.mark.parametrize(('type_', 'transport'), [(CompressedImage, 'compressed'), (Image, 'raw')])
def test_another_type(node, publish, type_, transport):
    publish(type_, '/image')
    wanted = {'raw': 'sensor_msgs/msg/CompressedImage', 'compressed': TYPE}[transport]
    told = explain_silence(node, '/image', wanted, SENSOR)
    assert f'/camera publishes sensor_msgs/msg/{type_.__name__}, expected {wanted}' in told
    assert told.endswith(f'set image_transport to {transport}')


def test_no_images_at_all(node, publish):
    publish(CameraInfo, '/image')
    told = explain_silence(node, '/image', TYPE, SENSOR)
    assert told.endswith('remap it to a topic of images')


def test_incompatible_reliability(node, publish):
    publish(Image, '/image', SENSOR, 'driver', '/front')
    told = explain_silence(node, '/image', TYPE, RELIABLE)
    assert told.startswith('no image on /image, incompatible quality of service (')
    assert 'requested: reliable, volatile, keep last 5;' in told
    assert 'offered by /front/driver: best effort, volatile' in told
    assert told.endswith('set qos_overrides./image.subscription.reliability to best_effort')
    assert len(told) < LINE


@pytest.mark.parametrize(
    ('wishes', 'words'),
    [
        ({'durability': DurabilityPolicy.TRANSIENT_LOCAL}, 'ask for volatile, or let'),
        ({'deadline': Duration(seconds=0.5)}, 'stricter deadline'),
        ({'liveliness': LivelinessPolicy.MANUAL_BY_TOPIC}, 'liveliness than are offered'),
    ],
)
def test_other_incompatible_policies(node, publish, wishes, words):
    publish(Image, '/image')
    demanding = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, **wishes)
    told = explain_silence(node, '/image', TYPE, demanding)
    assert 'incompatible quality of service' in told and words in told


def test_a_silent_publisher(node, publish, monkeypatch):
    publish(Image, '/image')
    told = explain_silence(node, '/image', TYPE, SENSOR)
    assert told.endswith('though compatible: is /camera paused?')
    assert 'requested: best effort, volatile, keep last 1;' in told
    assert 'offered by /camera: best effort, volatile' in told
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS')
    told = explain_silence(node, '/image', TYPE, SENSOR)
    assert 'default transports' in told and len(told) < LINE + 100


def test_one_compatible_publisher_among_others(node, publish):
    publish(Image, '/image', SENSOR, 'a')
    publish(Image, '/image', RELIABLE, 'b')
    told = explain_silence(node, '/image', TYPE, RELIABLE)
    assert told.endswith('is /b paused?') and 'offered by /a' not in told


def test_many_publishers_make_no_long_sentence(node, publish):
    for number in range(4):
        publish(Image, '/image', SENSOR, f'camera_{number}')
    told = explain_silence(node, '/image', TYPE, RELIABLE)
    assert told.count('offered by') == 2 and '2 more' in told and len(told) < LINE


@pytest.mark.parametrize(
    ('profile', 'words'),
    [
        (SENSOR, 'best effort, volatile, keep last 1'),
        (
            QoSProfile(
                history=HistoryPolicy.KEEP_ALL,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL,
            ),
            'reliable, transient local, keep all',
        ),
        (
            QoSProfile(
                history=HistoryPolicy.UNKNOWN,
                reliability=ReliabilityPolicy.UNKNOWN,
                durability=DurabilityPolicy.UNKNOWN,
            ),
            'reliability unknown, durability unknown',
        ),
        (
            QoSProfile(
                depth=2,
                deadline=Duration(seconds=0.1),
                lifespan=Duration(seconds=3),
                liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
            ),
            'reliable, volatile, keep last 2, deadline 0.1 s, lifespan 3 s, '
            'liveliness manual by topic',
        ),
    ],
)
def test_profiles_in_words(profile, words):
    assert describe_qos(profile) == words


def test_loss_has_a_number_and_a_reason(monkeypatch):
    assert explain_loss(3, '/image').startswith('images of /image are lost on the way, 3 since')
    assert 'overloaded' in explain_loss(3, '/image')
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS')
    assert 'default transports' in explain_loss(3, '/image')
