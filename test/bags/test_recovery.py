"""What a power cut leaves is read as far as it goes, and what was lost is said."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_bags import SECOND_NS, START_NS, image, pictures, write_bag
from rosbags.rosbag2 import StoragePlugin
from shared_data import shared_data

from vpr_ros.bags.reader import open_bag
from vpr_ros.bags.recover_mcap import McapScan
from vpr_ros.bags.recovery import RecoveredStorage
from vpr_ros.bags.sqlite_pages import Pages
from vpr_ros.errors import BagError

# What each of the nasty recordings gives: pictures of each image topic, messages in all, and a
# word of the note; or the sentence that refuses it.
CUT = 'was read without its index'
NASTY = {
    'encodings_mcap': ({'/camera/image_raw': 23}, 23, ''),
    'encodings_db3': ({'/camera/image_raw': 23}, 23, ''),
    'broken_messages_mcap': (
        {'/camera/image_raw': 9, '/camera/image_raw/compressed': 6},
        26,
        '',
    ),
    'crystal_2019_no_metadata': ({'/image': 1, '/image/compressed': 1}, 5, 'no metadata.yaml'),
    'crystal_2019_no_metadata/sample.db3': ({'/image': 1, '/image/compressed': 1}, 5, ''),
    'cut_mcap': ({'/camera/image_raw/compressed': 18}, 54, CUT),
    'cut_mcap/cut_at_20_percent.mcap': ({'/camera/image_raw/compressed': 18}, 54, CUT),
    'cut_db3': ({'/camera/image_raw': 5}, 15, CUT),
    'cut_db3/cut_at_30_percent.db3': ({'/camera/image_raw': 5}, 15, CUT),
    'test_truncated.bag': ({}, 3, CUT),
    'test_unindexed.bag': ({}, 14, CUT),
    'test_sample_truncated.mcap': ({}, 14, CUT),
    'no-messages.bag': 'holds no messages',
    'empty-file.bag': r'is empty \(0 bytes\)',
    'foxglove_json_images.mcap': 'not a recording of ROS: its messages are serialised as json',
}


@pytest.mark.parametrize('name', NASTY)
def test_nasty_recording_gives_what_it_holds(name):
    expected = NASTY[name]
    path = shared_data('nasty', 'bags', *name.split('/'))
    if isinstance(expected, str):
        with pytest.raises(BagError, match=expected):
            open_bag(path)
        return
    images, messages, note = expected
    with open_bag(path) as bag:
        assert {x: sum(1 for _ in bag.frames(x)) for x in bag.image_topics()} == images
        assert sum(x.count for x in bag.topics.values()) == messages
        assert sum(1 for _ in bag.messages(bag.topics)) == messages
        assert sum(1 for _ in bag.raw()) == messages
        assert note in ' '.join(bag.notes)
        assert bool(bag.notes) == bool(note)


def test_every_nasty_recording_is_in_the_table():
    suffixes = {'.bag', '.mcap', '.db3'}
    there = {x.name for x in shared_data('nasty', 'bags').iterdir() if x.suffix in suffixes | {''}}
    assert there == {name.partition('/')[0] for name in NASTY}


def test_recovered_messages_are_those_of_the_whole_recording():
    with (
        open_bag(shared_data('bags', 'euroc_v101_compressed_mcap')) as whole,
        open_bag(shared_data('nasty', 'bags', 'cut_mcap')) as cut,
    ):
        for expected, frame in zip(whole.frames(), cut.frames(), strict=False):
            assert frame.stamp_ns == expected.stamp_ns
            assert (frame.image == expected.image).all()


@pytest.fixture(scope='module')
def sound(tmp_path_factory) -> dict[str, Path]:
    """A small sound recording of each kind, of 20 raw pictures without a byte of 0."""
    folder = tmp_path_factory.mktemp('sound')
    messages = [
        ('/camera', START_NS + i * SECOND_NS, image(x, START_NS + i))
        for i, x in enumerate(pictures(20, 40, 60))
    ]
    mcap = write_bag(folder / 'mcap', messages) / 'mcap.mcap'
    db3 = write_bag(folder / 'db3', messages, StoragePlugin.SQLITE3) / 'db3.db3'
    return {'mcap': mcap, 'db3': db3, 'bag': shared_data('bags', 'euroc_v101_ros1.bag')}


def stamps_and_sums(path: Path) -> dict[int, int]:
    """Stamp and sum of each picture that is read; a reading without a note is an error."""
    with open_bag(path) as bag:
        topic = bag.image_topics()[0] if bag.image_topics() else None
        read = {x.stamp_ns: int(x.image.sum()) for x in bag.frames(topic)} if topic else {}
        assert bag.notes
        return read


@pytest.mark.parametrize('tail', ['cut', 'zeros'])
@pytest.mark.parametrize('kind', ['mcap', 'db3', 'bag'])
def test_recording_cut_anywhere_gives_sound_pictures_or_a_sentence(sound, tmp_path, kind, tail):
    data = sound[kind].read_bytes()
    with open_bag(sound[kind]) as bag:
        whole = {x.stamp_ns: int(x.image.sum()) for x in bag.frames()}
    most = 0
    for at in np.random.default_rng(7).integers(1, len(data), 20):
        path = tmp_path / f'cut.{kind}'
        path.write_bytes(data[:at] + bytes(len(data) - at if tail == 'zeros' else 0))
        try:
            read = stamps_and_sums(path)
        except BagError as error:
            assert '\n' not in str(error)
            continue
        assert read.items() <= whole.items(), at
        most = max(most, len(read))
    assert most > len(whole) / 2


@pytest.mark.parametrize('kind', ['mcap', 'db3', 'bag'])
def test_hole_in_the_middle_costs_only_what_lay_there(sound, tmp_path, kind):
    data = bytearray(sound[kind].read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = bytes(9000)
    path = tmp_path / f'hole.{kind}'
    path.write_bytes(data)
    with open_bag(path) as bag:
        read = [x.stamp_ns for x in bag.frames()]
        assert len(read) == len(set(read))
        assert len(read) >= 8
        assert bag.notes or bag.losses


@pytest.mark.parametrize('kind', ['mcap', 'db3', 'bag'])
def test_flipped_bits_never_raise_anything_but_a_bag_error(sound, tmp_path, kind):
    rng = np.random.default_rng(3)
    path = tmp_path / f'flipped.{kind}'
    for _ in range(15):
        data = np.frombuffer(sound[kind].read_bytes(), np.uint8).copy()
        data[rng.integers(0, len(data), 300)] ^= np.uint8(1 << rng.integers(0, 8))
        path.write_bytes(data.tobytes())
        try:
            with open_bag(path) as bag:
                for topic in bag.image_topics():
                    assert all(x.image.dtype == np.uint8 for x in bag.frames(topic))
        except BagError as error:
            assert '\n' not in str(error)


def spoil_checksum(data: bytearray, number: int) -> None:
    """Write a wrong checksum into a chunk of an mcap file."""
    at, chunks = 8, []
    while at < len(data) - 8:
        code, length = struct.unpack_from('<BQ', data, at)
        if code == 6:
            chunks.append(at)
        at += 9 + length
    struct.pack_into('<I', data, chunks[number] + 9 + 24, 12345)


def test_chunk_whose_checksum_does_not_match_is_not_used(sound, tmp_path):
    data = bytearray(sound['mcap'].read_bytes())
    spoil_checksum(data, 0)
    path = tmp_path / 'wrong.mcap'
    path.write_bytes(data[:-40])
    with pytest.raises(BagError, match='its checksum does not match'):
        open_bag(path)


def test_damaged_chunk_between_sound_ones_is_passed_over(tmp_path):
    messages = [
        ('/camera', START_NS + i, image(x, START_NS + i))
        for i, x in enumerate(pictures(12, 300, 300))
    ]
    file = write_bag(tmp_path / 'bag', messages) / 'bag.mcap'
    data = bytearray(file.read_bytes())
    spoil_checksum(data, 1)
    file.write_bytes(data)
    with open_bag(file) as bag:
        assert [x.stamp_ns - START_NS for x in bag.frames()] == [0, 1, 2, 3, 8, 9, 10, 11]
        assert 'its checksum does not match' in bag.notes[0]


def test_mcap_of_another_profile_is_known_by_its_messages(sound, tmp_path):
    path = tmp_path / 'profile.mcap'
    path.write_bytes(sound['mcap'].read_bytes().replace(b'ros2', b'mine', 1))
    with open_bag(path) as bag:
        assert len(list(bag.frames())) == 20
        assert 'Profile is not ros2' in bag.notes[0]


def test_disk_that_gives_no_more_ends_the_reading(tmp_path):
    class DyingDisk(McapScan):
        def __iter__(self):
            for i, found in enumerate(super().__iter__()):
                if i == 7:
                    raise OSError(5, 'Input/output error')
                yield found

    messages = [
        ('/camera', START_NS + i, image(x, START_NS + i)) for i, x in enumerate(pictures(9))
    ]
    file = write_bag(tmp_path / 'bag', messages) / 'bag.mcap'
    storage = RecoveredStorage(file, DyingDisk, 'no index')
    assert len(list(storage.messages(['/camera'], 0, 2**63))) == 7
    assert 'the disk gives no more: Input/output error' in storage.notes[0]


def test_recording_of_a_dead_ros1_recorder_is_read(tmp_path):
    path = tmp_path / 'drive.bag.active'
    shutil.copy(shared_data('nasty', 'bags', 'test_unindexed.bag'), path)
    for place in (path, tmp_path):
        with open_bag(place) as bag:
            assert sum(1 for _ in bag.messages(bag.topics)) == 14


def test_write_ahead_log_of_a_dead_recorder_is_read(tmp_path):
    """The recorder is killed: nearly all it wrote lies in the log and not in the database."""
    source = write_bag(
        tmp_path / 'source',
        [('/camera', START_NS + i, image(x, START_NS + i)) for i, x in enumerate(pictures(5))],
        StoragePlugin.SQLITE3,
    )
    path = tmp_path / 'dead.db3'
    recorder = f"""
import os, sqlite3
database = sqlite3.connect({str(path)!r})
database.execute('PRAGMA journal_mode = WAL')
database.execute("ATTACH '{source / 'source.db3'}' AS source")
for table in ('topics', 'messages'):
    database.execute(f'CREATE TABLE {{table}} AS SELECT * FROM source.{{table}}')
database.commit()
os._exit(0)
"""
    subprocess.run([sys.executable, '-c', recorder], check=True)
    assert os.path.getsize(f'{path}-wal') > os.path.getsize(path)
    with open_bag(path) as bag:
        assert [x.stamp_ns - START_NS for x in bag.frames()] == [0, 1, 2, 3, 4]
        assert 'write-ahead log' in bag.notes[0]
    assert os.path.getsize(f'{path}-wal') > os.path.getsize(path)


def database(path: Path, rows: int) -> list[tuple]:
    """A database of small and large messages, so many that pages point to pages of pages."""
    rng = np.random.default_rng(0)
    written = [
        (i + 1, i % 3, i * -1 if i % 5 else i * 10**9, rng.bytes(6000 if i % 20 == 0 else 300))
        for i in range(rows)
    ]
    connection = sqlite3.connect(path)
    connection.execute(
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, '
        'timestamp INTEGER, data BLOB)'
    )
    connection.execute('CREATE INDEX by_time ON messages (timestamp)')
    connection.executemany('INSERT INTO messages VALUES (?, ?, ?, ?)', written)
    connection.commit()
    connection.close()
    return written


@pytest.mark.parametrize('page_bytes', [512, 4096, 65536])
def test_pages_hold_the_rows_that_sqlite_wrote(tmp_path, page_bytes):
    path = tmp_path / 'pages.db3'
    connection = sqlite3.connect(path)
    connection.execute(f'PRAGMA page_size = {page_bytes}')
    connection.execute('VACUUM')
    connection.close()
    written = database(path, 800)
    with path.open('rb') as file:
        pages = Pages(file)
        assert sorted(pages.rows()) == written
        assert not pages.lost


def test_rows_are_found_without_the_pages_that_lead_to_them(tmp_path):
    path = tmp_path / 'pages.db3'
    written = database(path, 9000)
    data = path.read_bytes()
    short = tmp_path / 'short.db3'
    short.write_bytes(data[: len(data) // 20])
    with sqlite3.connect(f'{short.as_uri()}?immutable=1', uri=True) as connection:
        connection.execute('PRAGMA writable_schema = ON')
        with pytest.raises(sqlite3.DatabaseError):
            connection.execute('SELECT * FROM messages').fetchall()
    with short.open('rb') as file:
        rows = list(Pages(file).rows())
    assert set(rows) <= set(written)
    assert len(rows) > 0.9 * len(written) / 20
