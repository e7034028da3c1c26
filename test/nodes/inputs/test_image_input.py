"""One camera's subscription: what arrives, and why nothing does."""

from __future__ import annotations

import math
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from pictures import image_message
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from waiting import eventually

from vpr_ros.errors import ConfigError
from vpr_ros.nodes.inputs.flow import Flow
from vpr_ros.nodes.inputs.image_input import ImageInput, image_topic

LONG_S = 1000.0
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make(context, stack):
    """A plain node, destroyed after the test."""

    def node(name, **overrides):
        parameters = [Parameter(key, value=value) for key, value in overrides.items()]
        made = Node(name, context=context, parameter_overrides=parameters)
        stack.callback(made.destroy_node)
        return made

    return node


@pytest.fixture
def demanding(make):
    """A node whose user asks for a reliable camera."""
    return make('listens', **{'qos_overrides./front/image.subscription.reliability': 'reliable'})


@pytest.mark.parametrize(
    ('camera', 'transport', 'topic'),
    [
        ('', 'raw', '/image'),
        ('', 'compressed', '/image/compressed'),
        ('front', 'raw', '/front/image'),
        ('front', 'compressed', '/front/image/compressed'),
        ('head/left', 'raw', '/head/left/image'),
        ('/other/robot', 'raw', '/other/robot/image'),
    ],
)
def test_the_topic_of_a_camera(make, camera, transport, topic):
    assert image_topic(make('listens'), camera, transport) == topic


def test_a_remapping_to_the_compressed_topic_is_taken_as_it_is(make):
    node = SimpleNamespace(resolve_topic_name=lambda name: f'/driver/{name}/compressed')
    assert image_topic(node, '', 'compressed') == '/driver/image/compressed'
    assert image_topic(node, '', 'raw') == '/driver/image/compressed'


@pytest.mark.parametrize('camera', ['front camera', 'front-left', '3d', 'a//b'])
def test_a_camera_that_cannot_be_a_topic(make, camera):
    with pytest.raises(ConfigError, match=f"camera '{camera}' of parameter cameras"):
        image_topic(make('listens'), camera, 'raw')


@pytest.mark.parametrize(
    ('camera', 'transport', 'message'),
    [('front', 'raw', image_message(3, 7.5)), ('', 'compressed', CompressedImage(format='jpeg'))],
)
def test_messages_arrive_as_they_are(make, stack, spin, camera, transport, message):
    node, driver, received = make('listens'), make('driver'), []
    images = ImageInput(node, camera, transport, received.append, stack)
    publisher = driver.create_publisher(type(message), images.topic, RELIABLE)
    spin(node)
    eventually(publisher.get_subscription_count)
    assert images.trouble(LONG_S) is None and images.flow.age_s() == math.inf
    publisher.publish(message)
    (arrived,) = eventually(lambda: received)
    assert (arrived.camera, images.flow.received) == (camera, 1)
    view = arrived.message(transport)
    assert view.header == message.header and view.data == memoryview(message.data)
    assert images.trouble(LONG_S) is None
    eventually(lambda: images.trouble(0.001))


def test_silence_is_an_error_that_names_the_topic(make, stack):
    images = ImageInput(make('listens'), 'rear', 'raw', print, stack)
    assert images.trouble(LONG_S) is None
    trouble = eventually(lambda: images.trouble(0.001))
    assert trouble.error and '/rear/image' in trouble.text


def test_incompatible_quality_of_service_is_told_at_once(demanding, make, stack, spin):
    images = ImageInput(demanding, 'front', 'raw', print, stack)
    make('driver').create_publisher(Image, '/front/image', BEST_EFFORT)
    spin(demanding)
    trouble = eventually(lambda: images.trouble(LONG_S))
    assert trouble.error and '/front/image' in trouble.text
    assert 'reliable' in trouble.text.lower() and 'best' in trouble.text.lower()


def test_another_publisher_that_does_not_fit_is_no_trouble(demanding, make, stack, spin):
    driver, received, told = make('driver'), [], []
    images = ImageInput(demanding, 'front', 'raw', received.append, stack)
    sound = driver.create_publisher(Image, '/front/image', RELIABLE)
    spin(demanding)
    eventually(sound.get_subscription_count)
    sound.publish(image_message(0))
    eventually(lambda: received)
    driver.create_publisher(Image, '/front/image', BEST_EFFORT)
    eventually(lambda: images._incompatible)
    told.append(images.trouble(LONG_S))
    sound.publish(image_message(1))
    eventually(lambda: len(received) == 2)
    assert told == [None] and not images._incompatible
    assert images.trouble(LONG_S) is None


def test_loss_is_a_warning_told_once_and_counted_on(make, stack):
    node, flow = make('listens'), Flow()
    flow.received = 5
    with ExitStack() as first:
        images = ImageInput(node, '', 'raw', print, first, flow)
        images._lost(SimpleNamespace(total_count=3))
        trouble = images.trouble(LONG_S)
        assert not trouble.error and '/image' in trouble.text and '3' in trouble.text
        assert images.trouble(LONG_S) is None
    images = ImageInput(node, '', 'raw', print, stack, flow)
    images._lost(SimpleNamespace(total_count=1))
    assert (flow.received, flow.lost) == (5, 4)
    assert '1 since' in images.trouble(LONG_S).text


def test_images_too_late_for_the_other_cameras_are_a_warning(make, stack):
    flow = Flow()
    images = ImageInput(make('listens'), 'rear', 'raw', print, stack, flow)
    flow.late += 4
    trouble = images.trouble(LONG_S)
    assert trouble.late and not trouble.error
    assert '/rear/image come after' in trouble.text and '4 since' in trouble.text
    assert images.trouble(LONG_S) is None


def test_it_is_deaf_when_the_stack_is_closed(make):
    node, driver = make('listens'), make('driver')
    publisher = driver.create_publisher(Image, '/image', RELIABLE)
    for _ in range(2):  # qos_overrides are declared once and hold again
        with ExitStack() as activity:
            ImageInput(node, '', 'raw', print, activity)
            eventually(publisher.get_subscription_count)
        eventually(lambda: not publisher.get_subscription_count())
