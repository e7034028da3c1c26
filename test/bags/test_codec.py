"""Messages are understood by their standard or recorded definition, each type on its own."""

from __future__ import annotations

import pytest
from made_bags import START_NS, STORE, image, pictures
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vpr_ros.bags.codec import Codec, ros2_type
from vpr_ros.errors import BagError

IMAGE = 'sensor_msgs/msg/Image'


def connection(type_: str, definition: str = '', format_: str = 'MSG', ext=None) -> Connection:
    found = MessageDefinition(
        MessageDefinitionFormat[format_ if definition else 'NONE'], definition
    )
    return Connection(
        1, '/topic', type_, found, '', 1, ext or ConnectionExtRosbag2('cdr', []), None
    )


@pytest.mark.parametrize(
    ('written', 'expected'),
    [
        ('sensor_msgs/Image', IMAGE),
        (IMAGE, IMAGE),
        ('tf/tfMessage', 'tf2_msgs/msg/TFMessage'),
        ('tf/msg/tfMessage', 'tf2_msgs/msg/TFMessage'),
    ],
)
def test_type_names_are_those_of_ros2(written, expected):
    assert ros2_type(written) == expected


@pytest.mark.parametrize('type_', ['sensor_msgs/Image', IMAGE])
def test_standard_type_needs_no_definition_and_survives_a_damaged_one(type_):
    data = bytes(STORE.serialize_cdr(image(pictures(1)[0], START_NS), IMAGE))
    for definition in ('', 'uint32 heig', 'std_msgs/Header header\nuint32 heihgt', '\0\0\0'):
        assert Codec().deserialize(connection(type_, definition), data).height == 6


@pytest.mark.parametrize(
    ('format_', 'definition'),
    [
        ('MSG', 'int32 wheels\nstring name'),
        (
            'IDL',
            f'{"=" * 80}\nIDL: my_msgs/msg/Car\n'
            'module my_msgs { module msg { struct Car { int32 wheels; string name; }; }; };',
        ),
    ],
)
def test_type_of_ones_own_is_read_by_its_recorded_definition(format_, definition):
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg('int32 wheels\nstring name', 'my_msgs/msg/Car'))
    data = bytes(store.serialize_cdr(store.types['my_msgs/msg/Car'](4, 'a'), 'my_msgs/msg/Car'))
    car = Codec().deserialize(connection('my_msgs/msg/Car', definition, format_), data)
    assert (car.wheels, car.name) == (4, 'a')


def test_unknown_type_is_refused_by_name():
    for definition in ('', 'int32 ]]'):
        with pytest.raises(BagError, match='my_msgs/msg/Car has no usable definition'):
            Codec().deserialize(connection('my_msgs/msg/Car', definition), b'\0\1\0\0')


def test_other_serialisations_are_refused_by_name():
    json = connection(IMAGE, ext=ConnectionExtRosbag2('json', []))
    for act in (Codec().deserialize, Codec().to_cdr):
        with pytest.raises(BagError, match="/topic is serialised as 'json'"):
            act(json, b'{}')


def test_image_is_not_copied():
    data = bytes(STORE.serialize_cdr(image(pictures(1)[0], START_NS), IMAGE))
    decoded = Codec().deserialize(connection(IMAGE), data)
    assert not decoded.data.flags.owndata
