"""Real recordings of all three kinds are read alike; what cannot be used is told, never raised."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from made_bags import (
    SECOND_NS,
    START_NS,
    STORE,
    STORE1,
    image,
    pictures,
    pose_stamped,
    write_bag,
    write_bag1,
)
from rosbags.convert.converter import default_message
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from shared_data import shared_data

from vpr_ros.bags.reader import Loss, TopicInfo, open_bag
from vpr_ros.errors import BagError

REAL = {
    'euroc_v101_compressed_mcap': ('/camera/image_raw/compressed', 100, 300),
    'euroc_v101_raw_db3': ('/camera/image_raw', 20, 60),
    'euroc_v101_ros1.bag': ('/camera/image_raw/compressed', 25, 25),
}


def drive(count: int = 4, start_ns: int = START_NS) -> list:
    """An image and a pose ten times a second."""
    stamps = [start_ns + i * SECOND_NS // 10 for i in range(count)]
    images = [('/camera', s, image(p, s)) for s, p in zip(stamps, pictures(count), strict=True)]
    poses = [('/pose', s, pose_stamped(s, (i, 0, 0))) for i, s in enumerate(stamps)]
    return [x for both in zip(images, poses, strict=True) for x in both]


@pytest.mark.parametrize('name', REAL)
def test_real_recording_is_complete(name):
    topic, frames, messages = REAL[name]
    names = sorted(shared_data('euroc_v101_keyframes', 'cam0').glob('*.jpg'))
    with open_bag(shared_data('bags', name)) as bag:
        assert bag.image_topics() == [topic]
        assert bag.count(topic) == frames
        read = list(bag.frames())
        assert [frame.stamp_ns for frame in read] == [int(x.stem) for x in names[:frames]]
        assert {(x.image.shape, x.topic, x.frame_id) for x in read} == {
            ((480, 752, 3), topic, 'cam0')
        }
        assert sum(info.count for info in bag.topics.values()) == messages
        assert sum(1 for _ in bag.messages(bag.topics)) == messages
        assert not bag.notes
        assert not bag.losses
        assert bag.duration_s == pytest.approx((read[-1].stamp_ns - read[0].stamp_ns) / 1e9)


@pytest.mark.parametrize('name', REAL)
def test_raw_messages_are_cdr_of_ros2(name):
    topic, frames, messages = REAL[name]
    with open_bag(shared_data('bags', name)) as bag:
        assert sum(1 for _ in bag.raw()) == messages
        for raw, frame in zip(bag.raw([topic]), bag.frames(topic), strict=True):
            decoded = STORE.deserialize_cdr(raw.cdr, raw.type)
            assert decoded.header.frame_id == frame.frame_id
            assert raw.stamp_ns == frame.stamp_ns


def test_raw_messages_of_ros1_are_read_by_rclpy():
    rclpy = pytest.importorskip('rclpy.serialization')
    types = pytest.importorskip('sensor_msgs.msg')
    with open_bag(shared_data('bags', 'euroc_v101_ros1.bag')) as bag:
        raw, frame = next(bag.raw()), next(bag.frames())
    decoded = rclpy.deserialize_message(raw.cdr, types.CompressedImage)
    stamp = decoded.header.stamp
    assert stamp.sec * SECOND_NS + stamp.nanosec == frame.stamp_ns


def test_path_is_a_folder_or_the_file_in_it():
    folder = shared_data('bags', 'euroc_v101_raw_db3')
    with open_bag(str(folder / 'euroc_v101_raw_db3.db3')) as bag:
        assert bag.count('/camera/image_raw') == 20


def test_missing_topic_is_refused_with_the_topics_there_are(tmp_path):
    with open_bag(write_bag(tmp_path / 'bag', drive())) as bag:
        for act in (bag.frames, bag.count, lambda x: bag.messages([x]), lambda x: bag.raw([x])):
            with pytest.raises(BagError) as error:
                act('/front')
            assert "'/front'" in str(error.value)
            assert '/camera (sensor_msgs/msg/Image)' in str(error.value)
            assert '/pose (geometry_msgs/msg/PoseStamped)' in str(error.value)
        with pytest.raises(BagError, match='carries geometry_msgs/msg/PoseStamped, not images'):
            bag.frames('/pose')
        assert bag.pose_topics() == ['/pose']


def test_default_topic_must_be_the_only_one(tmp_path):
    two = [(f'/{side}', START_NS, image(pictures(1)[0])) for side in ('left', 'right')]
    with (
        open_bag(write_bag(tmp_path / 'two', two)) as bag,
        pytest.raises(BagError, match='name one image topic; it has /left, /right'),
    ):
        bag.frames()
    none = [('/pose', START_NS, pose_stamped(START_NS, (0, 0, 0)))]
    with (
        open_bag(write_bag(tmp_path / 'none', none)) as bag,
        pytest.raises(BagError, match='expected an image topic, found /pose'),
    ):
        bag.frames()


def test_topic_without_messages_is_no_choice(tmp_path):
    with Writer2(tmp_path / 'bag', version=9) as writer:
        for name in ('/silent', '/camera'):
            connection = writer.add_connection(name, 'sensor_msgs/msg/Image', typestore=STORE)
        data = STORE.serialize_cdr(image(pictures(1)[0]), 'sensor_msgs/msg/Image')
        writer.write(connection, START_NS, data)
    with open_bag(tmp_path / 'bag') as bag:
        assert bag.image_topics() == ['/camera']
        assert bag.count('/silent') == 0
        assert len(list(bag.frames())) == 1


def test_stamp_is_that_of_the_header_and_the_span_that_of_the_recorder(tmp_path):
    late = [
        ('/camera', START_NS + i * SECOND_NS, image(x, START_NS - 7 * SECOND_NS + i))
        for i, x in enumerate(pictures(5))
    ]
    with open_bag(write_bag(tmp_path / 'bag', late)) as bag:
        assert [x.stamp_ns - START_NS + 7 * SECOND_NS for x in bag.frames()] == [0, 1, 2, 3, 4]
        assert (bag.start_ns, bag.duration_s) == (START_NS, 4.0)
        part = bag.frames(start_s=1.0, end_s=3.0)
        assert [x.stamp_ns - START_NS + 7 * SECOND_NS for x in part] == [1, 2, 3]
        assert not bag.notes


def test_message_without_a_picture_is_skipped_counted_and_told(tmp_path):
    good, bad, last = pictures(3)
    unknown = image(bad, START_NS + 1, encoding='rgb565')
    written = [image(good, START_NS), unknown, image(last, START_NS + 2)]
    path = write_bag(
        tmp_path / 'bag', [('/camera', START_NS + i, x) for i, x in enumerate(written)]
    )
    with open_bag(path) as bag:
        for _ in range(2):
            frames = list(bag.frames())
            assert [x.stamp_ns - START_NS for x in frames] == [0, 2]
            assert (frames[1].image == last).all()
        (loss,) = bag.losses
        assert loss == Loss('/camera', 1, START_NS + 1, loss.reason)
        assert 'rgb565' in loss.reason


@pytest.mark.parametrize('first', ['sensor_msgs/msg/Image', 'geometry_msgs/msg/PoseStamped'])
def test_messages_of_another_type_than_the_topics_are_a_loss(tmp_path, first):
    """Two nodes that publish different things under one name; DDS and recorders let them."""
    written = [image(x, START_NS + i) for i, x in enumerate(pictures(3))]
    written.insert(1, pose_stamped(START_NS, (0, 0, 0)))
    types = sorted({x.__msgtype__ for x in written}, key=lambda name: name != first)
    with Writer2(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        ways = {x: writer.add_connection('/camera', x, typestore=STORE) for x in types}
        for i, x in enumerate(written):
            data = STORE.serialize_cdr(x, x.__msgtype__)
            writer.write(ways[x.__msgtype__], START_NS + i, data)
    with open_bag(tmp_path / 'bag') as bag:
        assert bag.topics == {'/camera': TopicInfo('sensor_msgs/msg/Image', 3)}
        assert [x.stamp_ns - START_NS for x in bag.frames()] == [0, 1, 2]
        assert len(list(bag.raw())) == 3
        (loss,) = bag.losses
        assert loss.index == 1
        assert 'this message is a geometry_msgs/msg/PoseStamped' in loss.reason


@pytest.mark.parametrize('storage', StoragePlugin)
def test_bytes_that_are_not_of_their_type_are_a_loss(tmp_path, storage):
    whole = STORE.serialize_cdr(image(pictures(1)[0]), 'sensor_msgs/msg/Image')
    with Writer2(tmp_path / 'bag', version=9, storage_plugin=storage) as writer:
        connection = writer.add_connection('/camera', 'sensor_msgs/msg/Image', typestore=STORE)
        for i, data in enumerate((whole, whole[:40], b'', bytes(range(64)), whole)):
            writer.write(connection, START_NS + i, data)
    with open_bag(tmp_path / 'bag') as bag:
        assert len(list(bag.frames())) == 2
        assert [x.index for x in bag.losses] == [1, 2, 3]
        assert all('cannot be deserialised' in x.reason for x in bag.losses)


def test_iterators_are_lazy_and_independent(tmp_path):
    with open_bag(write_bag(tmp_path / 'bag', drive(50))) as bag:
        first = next(bag.frames())
        pairs = itertools.islice(zip(bag.frames(), bag.messages(['/pose']), strict=True), 5)
        assert [x.stamp_ns == stamp_ns for x, (_, stamp_ns, _) in pairs] == [True] * 5
        assert first.stamp_ns == START_NS


@pytest.mark.parametrize(
    ('storage', 'mode'),
    [
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    ],
)
def test_compressed_recordings_are_read(tmp_path, mode, storage):
    path = write_bag(tmp_path / 'bag', drive(), storage, mode=mode)
    for metadata in (True, False):
        with open_bag(path) as bag:
            assert len(list(bag.frames())) == bag.count('/camera') == 4
            assert not bag.losses
            assert [bool(bag.notes)] == [not metadata]
        (path / 'metadata.yaml').unlink(missing_ok=True)


def split(tmp_path: Path) -> Path:
    """A folder of two files, the second half of the drive in the one that comes first by name."""
    folder = tmp_path / 'split'
    folder.mkdir()
    for name, start_ns in (('b', START_NS), ('a', START_NS + SECOND_NS)):
        made = write_bag(tmp_path / name, drive(4, start_ns))
        shutil.copy(made / f'{name}.mcap', folder / f'drive_{name}.mcap')
    return folder


def test_files_of_a_split_recording_are_read_in_the_order_of_time(tmp_path):
    with open_bag(split(tmp_path)) as bag:
        stamps = [x.stamp_ns for x in bag.frames()]
        assert len(stamps) == bag.count('/camera') == 8
        assert stamps == sorted(stamps)
        assert bag.duration_s == pytest.approx(1.3)
        assert ['no metadata.yaml' in x for x in bag.notes] == [True]


def test_damaged_file_of_a_split_recording_does_not_spoil_the_others(tmp_path):
    folder = split(tmp_path)
    (folder / 'drive_c.mcap').write_bytes(b'')
    (folder / 'metadata.yaml').write_text(
        'rosbag2_bagfile_information:\n  message_count: 20\n'
        '  relative_file_paths: [drive_a.mcap, drive_b.mcap, drive_c.mcap, drive_d.mcap]\n'
    )
    with open_bag(folder) as bag:
        assert len(list(bag.frames())) == 8
        assert len(bag.notes) == 3
        assert 'drive_d.mcap is listed in metadata.yaml but missing' in bag.notes[0]
        assert 'drive_c.mcap is empty' in bag.notes[1]
        assert '4 of the 20 messages' in bag.notes[2]


def test_metadata_that_cannot_be_read_is_done_without(tmp_path):
    path = write_bag(tmp_path / 'bag', drive())
    (path / 'metadata.yaml').write_text('rosbag2_bagfile_information: [')
    with open_bag(path) as bag:
        assert bag.topics['/camera'] == TopicInfo('sensor_msgs/msg/Image', 4)
        assert 'metadata.yaml of bag cannot be read' in bag.notes[0]


def test_folder_of_several_kinds_is_refused(tmp_path):
    for name, storage in (('a', StoragePlugin.MCAP), ('b', StoragePlugin.SQLITE3)):
        made = write_bag(tmp_path / name, drive(), storage)
        shutil.copy(next(made.glob(f'{name}.*')), tmp_path)
    with pytest.raises(BagError, match=r'several kinds \(.db3, .mcap\)'):
        open_bag(tmp_path)


@pytest.mark.parametrize(
    ('make', 'reason'),
    [
        (lambda path: None, 'there is no recording'),
        (lambda path: path.mkdir(), 'holds no recording'),
        (lambda path: path.write_bytes(b''), r'is empty \(0 bytes\)'),
        (lambda path: path.write_bytes(b'#ROSBAG V1.2\n' + bytes(99)), 'is not a recording'),
        (lambda path: path.write_text('not a bag'), 'is not a recording'),
        (lambda path: path.write_bytes(bytes(5000)), 'is not a recording'),
    ],
)
@pytest.mark.parametrize('suffix', ['.bag', '.mcap', '.db3', ''])
def test_what_is_no_recording_is_refused_in_a_sentence(tmp_path, make, reason, suffix):
    path = tmp_path / f'thing{suffix}'
    make(path)
    with pytest.raises(BagError, match=reason) as error:
        open_bag(path)
    assert '\n' not in str(error.value)


def test_recording_without_messages_is_refused(tmp_path):
    with Writer2(tmp_path / 'bag', version=9) as writer:
        writer.add_connection('/camera', 'sensor_msgs/msg/Image', typestore=STORE)
    with pytest.raises(BagError, match='holds no messages'):
        open_bag(tmp_path / 'bag')


def test_ros1_messages_that_ros2_changed_or_lacks_are_converted(tmp_path):
    battery = default_message(STORE1, 'sensor_msgs/msg/BatteryState')
    battery.voltage, battery.location = 12.5, 'back'
    log = default_message(STORE1, 'rosgraph_msgs/msg/Log')
    path = write_bag1(tmp_path / 'a.bag', [('/b', START_NS, battery), ('/log', START_NS + 1, log)])
    with open_bag(path) as bag:
        raw = {x.topic: x for x in bag.raw()}
        converted = STORE.deserialize_cdr(raw['/b'].cdr, 'sensor_msgs/msg/BatteryState')
        assert (converted.voltage, converted.location, converted.temperature) == (12.5, 'back', 0)
        assert raw['/log'].type == 'rosgraph_msgs/msg/Log'
        assert not bag.losses
