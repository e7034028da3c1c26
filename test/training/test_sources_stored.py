"""Drives and towns are decoded once; what is kept is whole or not there, and never stale."""

import errno
import resource
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from small_drive import START_NS, write_drive

from vpr_ros.errors import BagError, DatasetError
from vpr_ros.recognition.drive import DriveOptions
from vpr_ros.synthetic.camera import View
from vpr_ros.training.sources import SourceOptions, open_views
from vpr_ros.training.sources.rosbag import read_drives
from vpr_ros.training.sources.store import Store, cache_folder, state_of
from vpr_ros.training.sources.town import read_town


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (288, 384, 3), dtype=np.uint8) for _ in range(count)]


def test_a_recording_that_grew_is_read_again(tmp_path):
    bag = write_drive(tmp_path / 'monday', images=8)
    assert len(read_drives([bag], DriveOptions())) == 8
    longer = write_drive(tmp_path / 'longer', images=12)
    source, target = (next(folder.glob('*.mcap')) for folder in (longer, bag))
    before = bag.stat().st_mtime_ns
    with target.open('r+b') as file:  # in place: the folder itself does not change
        file.write(source.read_bytes())
    assert bag.stat().st_mtime_ns == before
    shutil.copyfile(longer / 'metadata.yaml', bag / 'metadata.yaml')
    assert len(read_drives([bag], DriveOptions())) == 12


def test_a_file_and_a_folder_have_a_state(tmp_path):
    (tmp_path / 'a').write_bytes(b'abc')
    assert [entry[:2] for entry in state_of(tmp_path)] == [(str(tmp_path / 'a'), 3)]
    assert state_of(tmp_path / 'a') == state_of(tmp_path)


@pytest.mark.parametrize('damage', ['table', 'images', 'no images', 'older'])
def test_damaged_stores_are_as_if_not_there(tmp_path, damage):
    store = Store(tmp_path, 'k')
    assert store.read() is None
    store.write(pictures(3), {'stamp_ns': [1, 2, 3]})
    assert store.read()['stamp_ns'].tolist() == [1, 2, 3]
    if damage == 'table':
        store.table.write_bytes(store.table.read_bytes()[:100])
    elif damage == 'images':
        store.images.write_bytes(store.images.read_bytes()[:-1])
    elif damage == 'no images':
        store.images.unlink()
    else:
        np.savez(store.table, stamp_ns=[1])
    assert store.read() is None


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    """Files may be 1 MB: writes fail as they do on a full disk."""
    store = Store(tmp_path / 'full', 'k')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(DatasetError, match=r'cannot store pictures in .*make room there'):
            store.write(pictures(5), {'stamp_ns': [1]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(store.images.parent.iterdir()) == []
    assert store.read() is None


def test_a_failed_replacement_leaves_the_store_readable(tmp_path):
    store = Store(tmp_path, 'k')
    store.write(pictures(2), {'stamp_ns': [1, 2]})

    def broken():
        yield from pictures(1, seed=1)
        raise BagError('torn')

    with pytest.raises(BagError):
        store.write(broken(), {'stamp_ns': [7]})
    assert store.read()['stamp_ns'].tolist() == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['k.npz', 'k.raw']


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(DatasetError, match='cannot store pictures'):
        Store(tmp_path / 'file' / 'folder', 'k').write(pictures(1), {})


def test_an_error_of_space_is_not_hidden_by_words(tmp_path):
    def full():
        yield from pictures(1)
        raise OSError(errno.ENOSPC, 'No space left on device')

    with pytest.raises(DatasetError, match='No space left on device'):
        Store(tmp_path, 'k').write(full(), {})


# What is told of drives --------------------------------------------------------------------------


def test_keyframes_without_a_pose_are_counted_also_from_the_cache(tmp_path):
    bag = write_drive(tmp_path / 'monday', images=12, unposed=5)
    for _ in range(2):
        notes = []
        [views] = open_views([str(bag)], note=notes.append)
        assert len(views) == 7
        assert (views.places >= 0).any()
        assert notes == [f'{bag}: 5 keyframes without a pose were left out']
    assert len(list(cache_folder().iterdir())) == 2


def test_a_topic_of_poses_that_is_not_there_names_those_that_are(tmp_path):
    bag = write_drive(tmp_path / 'monday', images=4)
    with pytest.raises(DatasetError, match=r'no topic of poses /odom.*/camera/image_raw, /pose; '
                       r'those with poses are /pose'):  # fmt: skip
        open_views([str(bag)], SourceOptions(pose_topic='/odom'))
    with pytest.raises(DatasetError, match=r'no topic of poses /camera/image_raw,'):
        open_views([str(bag)], SourceOptions(pose_topic='/camera/image_raw'))


def test_a_drive_given_twice_is_refused(tmp_path):
    bag = write_drive(tmp_path / 'monday', images=4)
    with pytest.raises(DatasetError, match='given twice'):
        open_views([str(bag), str(bag)])


def two_drives(folder):
    days = (START_NS, START_NS + 86_400 * 10**9)
    return [write_drive(folder / f'{day}', images=4, start_ns=day) for day in days]


@pytest.mark.parametrize('images', [45, 20])
def test_a_copy_of_a_drive_or_of_a_part_of_it_is_refused(tmp_path, images):
    bags = [write_drive(tmp_path / 'monday'), write_drive(tmp_path / 'copy', images)]
    with pytest.raises(DatasetError, match=r'monday and .*copy hold the same pictures'):
        read_drives(bags, DriveOptions())
    other = write_drive(tmp_path / 'simulated', images, seed=1)  # the same times, other pictures
    assert len(read_drives([bags[0], other], DriveOptions())) == 45 + images


def test_drives_in_the_frame_of_odometry_are_told_of(tmp_path, monkeypatch):
    bags, notes = two_drives(tmp_path), []
    renamed_frames(monkeypatch, '/robot/odom')
    read_drives(bags[:1], DriveOptions(), note=notes.append)
    assert notes == []
    read_drives(bags, DriveOptions(), note=notes.append)
    assert len(notes) == 1
    assert "poses of 2 recordings are in the frame '/robot/odom'" in notes[0]


def test_of_several_topics_of_poses_one_has_to_be_named(tmp_path, monkeypatch):
    from vpr_ros.bags.reader import Bag

    monkeypatch.setattr(Bag, 'pose_topics', lambda bag: ['/gnss/odom', '/odom'])
    with pytest.raises(DatasetError, match=r'/gnss/odom, /odom: name .* with --pose-topic'):
        read_drives(two_drives(tmp_path), DriveOptions())


def renamed_frames(monkeypatch, name):
    from vpr_ros.recognition import drive

    read = drive.read_trajectory

    def renamed(bag, topic, *more):
        found = read(bag, topic, *more)
        object.__setattr__(found, 'frame_id', name)
        return found

    monkeypatch.setattr(drive, 'read_trajectory', renamed)


def test_drives_in_frames_of_other_names_are_told_of(tmp_path, monkeypatch):
    bags = two_drives(tmp_path)
    read_drives(bags[:1], DriveOptions())
    renamed_frames(monkeypatch, 'odom')
    notes = []
    views = read_drives(bags, DriveOptions(), note=notes.append)
    assert len(views) == 8
    assert len(notes) == 1
    assert "'map' in" in notes[0]
    assert "'odom' in" in notes[0]


# The town ----------------------------------------------------------------------------------------


@pytest.fixture
def quick_town(monkeypatch):
    """A town of empty streets whose pictures are plain: building a real one takes seconds."""
    from vpr_ros.synthetic import places, scene, town

    def spots(town, count, views, rng):
        return [[View(10.0 * p, float(v), 0.1 * v) for v in range(views)] for p in range(count)]

    def render(scenes, shots, workers=None):
        for place in shots:
            yield np.stack([np.full((96, 128, 3), int(shot.view.x_m), np.uint8) for shot in place])

    monkeypatch.setattr(town.Town, 'build', lambda seed: None)
    monkeypatch.setattr(
        scene.Scene, 'build', lambda town, session: SimpleNamespace(session=session)
    )
    monkeypatch.setattr(places, 'sample_places', spots)
    monkeypatch.setattr(places, 'render_places', render)


def test_views_of_a_town_know_where_they_are_and_are_rendered_once(quick_town, monkeypatch):
    done = []
    first = read_town(3, places=3, views=2, progress=lambda n, total: done.append((n, total)))
    assert done[-1] == (6, 6)
    assert first.places.tolist() == [0, 0, 1, 1, 2, 2]
    assert first.sessions.tolist() == [0, 1, 0, 1, 0, 1]
    np.testing.assert_array_equal(first.position_m[:4], [[0, 0], [0, 1], [10, 0], [10, 1]])
    np.testing.assert_allclose(first.heading_rad, [0.0, 0.1] * 3)
    assert first.pictures.read(5).shape == (288, 384, 3)
    assert (first.pictures.read(5) == 20).all()  # the picture beside its own pose

    def never(*_):
        raise AssertionError('rendered again')

    monkeypatch.setattr('vpr_ros.training.sources.town._pictures', never)
    again = read_town(3, places=3, views=2)
    np.testing.assert_array_equal(again.position_m, first.position_m)
    np.testing.assert_array_equal(again.pictures.read(3), first.pictures.read(3))
