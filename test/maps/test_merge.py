"""Two maps become one: every place arrives whole, or none does."""

import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from small_maps import (
    CAMERA,
    DIM,
    FINGERPRINT,
    full_disk,
    new_map,
    unit_rows,
    write_map,
)

from vpr_ros.errors import (
    MapDamagedError,
    MapError,
    MapExistsError,
    MapFrameError,
    MapModelError,
    MapWriteError,
)
from vpr_ros.maps.compress import Compression, compress
from vpr_ros.maps.merge import merge, merge_files
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.records import Place, Pose

COUNT = 12  # places of a small map


def blobs(path, query):
    with sqlite3.connect(path) as database:
        return list(database.execute(query))


@pytest.fixture
def source(tmp_path):
    return write_map(tmp_path / 'b.vprmap', seed=1)


@pytest.fixture
def target(tmp_path):
    with new_map(tmp_path / 'a.vprmap') as place_map:
        yield place_map


def added(target, source):
    with PlaceMap.open(source, None) as other:
        return merge(target, other)


def test_every_place_arrives_whole(target, source, tmp_path):
    target.add_session('empty')
    gained = added(target, source)
    assert (gained.places, gained.sessions, gained.cameras) == (COUNT, 1, ())
    with PlaceMap.open(source, FINGERPRINT) as other:
        for ours, theirs in zip(target.places[COUNT:], other.places, strict=True):
            assert ours == replace(theirs, id=theirs.id + COUNT, session_id=3)
            assert target.thumbnail(ours.id) == other.thumbnail(theirs.id)
            (mine, has), (its, had) = (
                target.local_features([ours.id]),
                other.local_features([theirs.id]),
            )
            assert has.tolist() == had.tolist()
            assert mine.tokens.equal(its.tokens) and mine.position.equal(its.position)
        for row in unit_rows(COUNT, seed=1):
            best = target.search(row, 1)[0]
            assert best.similarity == other.search(row, 1)[0].similarity
            assert best.place.id > COUNT
    sessions = [row[1:3] for row in target.sessions()]
    assert sessions == [('drive 0', 'bag'), ('empty', ''), ('drive 1', 'bag')]


def test_descriptors_arrive_bit_for_bit_and_are_there_at_once(target, source):
    added(target, source)
    query = 'SELECT descriptor FROM places ORDER BY id'
    assert blobs(target.path, query)[COUNT:] == blobs(source, query)  # another connection sees it
    assert target.info.revision == 2  # what was there before, and the places


def test_a_live_map_and_a_reopened_one_answer_alike(target, source):
    added(target, source)
    live = target.add(Place(0, 1, 10**15), unit_rows(1, seed=9)[0])
    assert live.id == 2 * COUNT + 1
    target.commit()
    query = unit_rows(1, seed=7)[0]
    with PlaceMap.open(target.path, FINGERPRINT) as again:
        assert again.places == target.places
        np.testing.assert_array_equal(again.similarities(query), target.similarities(query))


def test_into_a_map_in_memory(source):
    with new_map(IN_MEMORY) as place_map:
        assert added(place_map, source).places == COUNT
        assert len(place_map) == 2 * COUNT


def test_an_empty_map_is_nothing_to_add(target, tmp_path):
    PlaceMap.create(tmp_path / 'b.vprmap', 'sage_test', FINGERPRINT, DIM).close()
    gained = added(target, tmp_path / 'b.vprmap')
    assert (gained.places, gained.sessions) == (0, 0)
    assert len(target) == COUNT


def test_ids_are_never_used_again(tmp_path, source):
    path = write_map(tmp_path / 'a.vprmap')
    with sqlite3.connect(path) as database:
        database.execute('DELETE FROM places WHERE id > 9')
    database.close()
    with PlaceMap.open(path, FINGERPRINT, writable=True) as target:
        added(target, source)
        assert [place.id for place in target.places[8:11]] == [9, COUNT + 1, COUNT + 2]


def test_cameras_are_joined(tmp_path, target):
    mounted = replace(CAMERA, base=Pose((0.5, 0.0, 1.0)))
    with new_map(tmp_path / 'b.vprmap', seed=1) as other:
        other.beside.put_camera('front', mounted)
        other.beside.put_camera('rear', CAMERA)
    gained = added(target, tmp_path / 'b.vprmap')
    assert gained.cameras == ('front', 'rear')  # how the first is mounted was not known
    assert target.camera('front') == mounted
    assert target.camera('rear') == CAMERA
    with PlaceMap.open(target.path, None) as again:
        assert again.beside.cameras == {'front': mounted, 'rear': CAMERA}


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (CAMERA, replace(CAMERA, fx=501.0)),
        (CAMERA, replace(CAMERA, distortion=(0.1, 0.0, 0.0, 0.0, 0.0))),
        (
            replace(CAMERA, base=Pose((0.5, 0.0, 1.0))),
            replace(CAMERA, base=Pose((0.6, 0.0, 1.0))),
        ),
    ],
)
def test_two_cameras_of_one_name_are_refused(tmp_path, one, other):
    for name, camera in (('a', one), ('b', other)):
        with new_map(tmp_path / f'{name}.vprmap', seed=ord(name)) as place_map:
            place_map.beside.put_camera('front', camera)
    with PlaceMap.open(tmp_path / 'a.vprmap', FINGERPRINT, writable=True) as target:
        with pytest.raises(MapError, match="camera 'front' of .*b.vprmap.*another name"):
            added(target, tmp_path / 'b.vprmap')
        assert len(target) == COUNT


@pytest.mark.parametrize(
    ('settings', 'error', 'reason'),
    [
        ({'fingerprint': 'e' * 64}, MapModelError, 'was made with sage_test:eeee'),
        ({'frame': 'odom'}, MapFrameError, "in frame 'odom', .* in 'map'"),
    ],
)
def test_what_means_something_else_is_refused(target, tmp_path, settings, error, reason):
    path = write_map(tmp_path / 'c.vprmap', seed=2, **settings)
    with pytest.raises(error, match=reason):
        added(target, path)
    assert len(target) == COUNT


def test_itself_is_refused(target, tmp_path):
    target.save_as(tmp_path / 'copy.vprmap')
    for path in (target.path, tmp_path / 'copy.vprmap'):
        with pytest.raises(MapError, match='is the map it is to join, or a copy'):
            added(target, path)
    assert len(target) == COUNT


def test_no_session_enters_twice(target, source):
    added(target, source)
    with pytest.raises(MapError, match="session 'drive 1' of .* is in the map it is to join"):
        added(target, source)
    assert len(target) == 2 * COUNT
    assert len(target.sessions()) == 2


def test_compressed_maps_join_only_their_like(tmp_path, source):
    whole = write_map(tmp_path / 'a.vprmap')
    compress(whole, tmp_path / 'short.vprmap', Compression(6))
    compress(source, tmp_path / 'other.vprmap', Compression(6))
    shutil.copy(tmp_path / 'short.vprmap', tmp_path / 'grown.vprmap')
    with PlaceMap.open(tmp_path / 'short.vprmap', FINGERPRINT, writable=True) as target:
        for path in (source, tmp_path / 'other.vprmap'):
            with pytest.raises(MapModelError, match='merge whole maps, and compress the result'):
                added(target, path)
        with pytest.raises(MapError, match='a copy of it'):
            added(target, tmp_path / 'grown.vprmap')


def test_a_damaged_source_changes_nothing(target, source):
    with sqlite3.connect(source) as database:
        row = np.full(DIM, np.nan, '<f2').tobytes()
        database.execute('UPDATE places SET descriptor = ? WHERE id = 11', (row,))
    database.close()
    with pytest.raises(MapDamagedError, match='place 11 of .*b.vprmap is damaged'):
        added(target, source)
    assert len(target) == COUNT
    assert len(target.sessions()) == 1
    assert target.add(Place(0, 1, 10**15), unit_rows(1, seed=9)[0]).id == COUNT + 1
    assert len(target.similarities(unit_rows(1)[0])) == COUNT + 1


def test_a_place_without_session_is_refused(target, source):
    with sqlite3.connect(source) as database:
        database.execute('UPDATE places SET session_id = 77 WHERE id = 3')
    database.close()
    with pytest.raises(MapDamagedError, match='place 3 of'):
        added(target, source)
    assert len(target) == COUNT


def test_a_full_disk_changes_nothing(target, source):
    target.add(Place(0, 1, 10**15), unit_rows(1, seed=9)[0])
    target.commit()
    size = max(
        target_file.stat().st_size
        for target_file in source.parent.iterdir()
        if target_file.name.startswith('a.vprmap')
    )
    with full_disk(size), pytest.raises(MapWriteError, match='cannot write to .*a.vprmap'):
        added(target, source)
    assert len(target) == COUNT + 1
    assert len(target.similarities(unit_rows(1)[0])) == COUNT + 1
    assert len(target.sessions()) == 1
    assert added(target, source).places == COUNT
    assert len(target.similarities(unit_rows(1)[0])) == 2 * COUNT + 1


def test_too_little_memory_changes_nothing(target, source, monkeypatch):
    add = target._index.add

    def exhausted(rows):
        add(rows[:5])
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(target._index, 'add', exhausted)
        with pytest.raises(MemoryError):
            added(target, source)
    assert len(target) == len(target.similarities(unit_rows(1)[0])) == COUNT
    with PlaceMap.open(target.path, FINGERPRINT) as again:
        assert len(again) == COUNT


def test_a_map_opened_for_reading_does_not_grow(tmp_path, source):
    path = write_map(tmp_path / 'a.vprmap')
    with (
        PlaceMap.open(path, FINGERPRINT) as target,
        pytest.raises(MapWriteError, match='opened for reading'),
    ):
        added(target, source)


def test_several_files_become_a_new_map(tmp_path):
    paths = [write_map(tmp_path / f'{seed}.vprmap', seed=seed) for seed in range(3)]
    steps = []

    def stage(what):
        steps.append(what)
        return lambda done, total: steps.append((done, total))

    out = tmp_path / 'all.vprmap'
    gained = merge_files(paths, out, stage=stage)
    assert (gained.places, gained.sessions) == (2 * COUNT, 2)
    assert steps[0] == f'adding {paths[1]}' and (COUNT, COUNT) in steps
    with PlaceMap.open(out, FINGERPRINT) as whole, PlaceMap.open(paths[0], FINGERPRINT) as first:
        assert len(whole) == 3 * COUNT
        assert whole.places[:COUNT] == first.places
        assert whole.info.uuid != first.info.uuid
    with pytest.raises(MapExistsError, match='all.vprmap exists already'):
        merge_files(paths, out)
    merge_files([paths[1], paths[2]], paths[1], overwrite=True)  # one of them is replaced
    with PlaceMap.open(paths[1], None) as whole:
        assert len(whole) == 2 * COUNT
    with pytest.raises(MapError, match='is in the map it is to join already'):
        merge_files([paths[0], paths[0]], tmp_path / 'twice.vprmap')
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        '0.vprmap', '1.vprmap', '2.vprmap', 'all.vprmap'
    ]  # fmt: skip


def test_a_merge_of_files_that_fails_leaves_the_old_one(tmp_path):
    paths = [
        write_map(tmp_path / 'a.vprmap'),
        write_map(tmp_path / 'b.vprmap', seed=1, frame='odom'),
    ]
    before = paths[0].read_bytes()
    with pytest.raises(MapFrameError):
        merge_files(paths, paths[0], overwrite=True)
    assert paths[0].read_bytes() == before
