"""Our view of the bytes says what rclpy says, of sound and of damaged messages alike."""

from __future__ import annotations

import array
import struct

import numpy as np
import pytest
from pictures import image_message as image_of
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from shared_data import shared_data

from vpr_ros.bags.images import image_from_message
from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import ImageError
from vpr_ros.nodes.inputs import cdr
from vpr_ros.nodes.inputs.cdr import CompressedImageView, ImageView, image_message, stamp_of
from vpr_ros.nodes.inputs.received import Received

SECOND = 1_000_000_000
TRANSPORTS = {
    'sensor_msgs/msg/Image': ('raw', Image),
    'sensor_msgs/msg/CompressedImage': ('compressed', CompressedImage),
}
FIELDS = {
    'raw': ('header', 'height', 'width', 'encoding', 'is_bigendian', 'step'),
    'compressed': ('header', 'format'),
}


def small(transport):
    """A message of a few bytes, of the moment 1.5 s."""
    if transport == 'raw':
        message = Image(height=1, width=2, encoding='rgb8', step=6, data=bytes(range(6)))
    else:
        message = CompressedImage(format='jpeg', data=bytes(range(6)))
    message.header.frame_id = 'camera'
    message.header.stamp.sec, message.header.stamp.nanosec = 1, SECOND // 2
    return message


def big_endian(frame_id=b'camera\0'):
    """The small raw message as a machine of the other byte order would write it."""
    head = struct.pack('>iII', 1, SECOND // 2, len(frame_id)) + frame_id
    head += b'\0' * (-len(head) % 4) + struct.pack('>III', 1, 2, 5) + b'rgb8\0' + b'\0'
    head += b'\0' * (-len(head) % 4)
    return b'\0\0\0\0' + head + struct.pack('>II', 6, 6) + bytes(range(6))


def assert_same(view, message, transport):
    for name in FIELDS[transport]:
        assert getattr(view, name) == getattr(message, name)
    assert view.data == memoryview(message.data)


def picture(message):
    """What the decoder makes of a message: pixels, or the sentence that refuses them."""
    try:
        return image_from_message(message)
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize('name', ['encodings_mcap', 'broken_messages_mcap'])
def test_every_message_of_the_recordings_is_read_as_rclpy_does(name):
    seen = 0
    with open_bag(shared_data('nasty', 'bags', name)) as bag:
        for raw in bag.raw(bag.image_topics()):
            transport, type_ = TRANSPORTS[raw.type]
            view = image_message(raw.cdr, transport)
            message = deserialize_message(raw.cdr, type_)
            assert isinstance(view, (ImageView, CompressedImageView))
            assert_same(view, message, transport)
            assert stamp_of(raw.cdr) == (
                message.header.stamp.sec * SECOND + message.header.stamp.nanosec
            )
            np.testing.assert_array_equal(picture(view), picture(message))
            seen += 1
    assert seen > 10


def test_pixels_are_not_copied():
    data = serialize_message(image_of(1))
    view = image_message(data, 'raw')
    assert view.data.obj is data and view.data.readonly
    assert np.shares_memory(image_from_message(view), np.frombuffer(data, np.uint8))


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'abcd', 'kamera_übermäßig'])
def test_strings_of_every_length_are_aligned(frame_id):
    for transport, type_ in TRANSPORTS.values():
        message = small(transport)
        message.header.frame_id = frame_id
        data = serialize_message(message)
        assert_same(image_message(data, transport), deserialize_message(data, type_), transport)


def test_big_endian_bytes():
    data = big_endian()
    view = image_message(data, 'raw')
    assert_same(view, small('raw'), 'raw')
    assert_same(view, deserialize_message(data, Image), 'raw')
    assert stamp_of(data) == 1_500_000_000


def test_a_string_that_is_not_utf_8():
    data = big_endian(b'\xff\0mera\0')
    message = deserialize_message(data, Image)
    assert message.header.frame_id == image_message(data, 'raw').header.frame_id == '\ufffd'


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
@pytest.mark.parametrize('first', [b'\0\1', b'\0\0', b'\0\3', b'\0\7', b'\xff\xff'])
def test_a_message_cut_anywhere_is_an_image_error_and_nothing_else(transport, first):
    data = first + serialize_message(small(transport))[2:]
    whole = len(data.rstrip(b'\0')) if first == b'\0\1' else len(data) + 1
    for length in range(len(data) + 1):
        try:
            image_message(data[:length], transport)
        except ImageError:
            assert first != b'\0\1' or length < whole
        else:
            assert first != b'\0\1' or length >= whole
        assert stamp_of(data[:length]) in {0, 1_500_000_000} or first == b'\0\0'


def test_the_sentence_names_the_field_and_the_lengths():
    data = serialize_message(small('raw'))
    with pytest.raises(ImageError, match='of 30 bytes ends within its frame_id') as caught:
        image_message(data[:12] + b'\xff\xff' + data[14:30], 'raw')
    assert 'sensor_msgs/msg/Image' in str(caught.value)


def test_bytes_of_another_kind_are_left_to_rclpy(monkeypatch):
    asked = []
    monkeypatch.setattr(cdr, 'deserialize_message', lambda *given: asked.append(given) or 'read')
    data = b'\0\7' + serialize_message(small('raw'))[2:]
    assert image_message(data, 'raw') == 'read'
    assert asked == [(data, Image)]
    assert stamp_of(data) == 0


def test_received_knows_its_stamp_and_its_message():
    data = serialize_message(small('compressed'))
    received = Received('front', data, 0.0)
    assert received.stamp_ns == 1_500_000_000
    assert received.message('compressed').format == 'jpeg'
    assert isinstance(deserialize_message(data, CompressedImage).data, array.array)
    assert 'data' not in repr(received)
    assert [Received('front', data[:n], 0.0).stamp_ns for n in (0, 4, 11)] == [0, 0, 0]
