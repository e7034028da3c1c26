"""A map keeps what was committed, refuses what it cannot honour, and never loses the rest."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from vpr_ros.errors import MapError
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.records import Place, Pose

DIM = 16
FINGERPRINT = 'f' * 64


def descriptors(count, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def place(i, session=1, pose=True):
    where = Pose((float(i), 0.0, 0.0), (0.0, 0.0, 0.6, 0.8)) if pose else None
    return Place(0, session, i * 10**9, where, 'front', float(i) if pose else None)


def create(path, count=20):
    place_map = PlaceMap.create(path, 'sage_test', FINGERPRINT, DIM)
    session = place_map.add_session('morning', 'bag')
    for i, descriptor in enumerate(descriptors(count)):
        place_map.add(place(i, session, pose=i % 5 != 0), descriptor, b'jpeg' if i == 3 else None)
    return place_map


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'office.vprmap'
    create(path).close()
    return path


def test_round_trip(path):
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        assert len(place_map) == 20
        assert [p.stamp_ns for p in place_map.places] == [i * 10**9 for i in range(20)]
        assert place_map.places[0].pose is None
        assert place_map.places[1].pose == place(1).pose
        assert place_map.places[7].travelled_m == 7.0
        assert place_map.thumbnail(place_map.places[3].id) == b'jpeg'
        assert place_map.thumbnail(place_map.places[4].id) is None
        np.testing.assert_allclose(place_map.descriptors(), descriptors(20), atol=1e-3)
        assert [row[1:3] for row in place_map.sessions()] == [('morning', 'bag')]
        assert place_map.info.revision == 1


def test_a_finished_map_is_one_file(path):
    assert [file.name for file in path.parent.iterdir()] == ['office.vprmap']


def test_search_equals_the_plain_product(path):
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        for query in descriptors(5, seed=1):
            expected = place_map.descriptors() @ query
            found = place_map.search(query, 7)
            order = np.argsort(-expected)[:7]
            assert [c.place.id for c in found] == [place_map.places[i].id for i in order]
            np.testing.assert_allclose([c.similarity for c in found], expected[order], atol=1e-6)


def test_search_before(path):
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        query = descriptors(20)[15]
        assert place_map.search(query, 1)[0].place.stamp_ns == 15 * 10**9
        assert all(c.place.stamp_ns < 9 * 10**9 for c in place_map.search(query, 20, before=9))
        assert len(place_map.search(query, 20, before=9)) == 9
        assert place_map.search(query, 5, before=0) == []


def test_a_live_map_and_a_reopened_one_answer_alike(tmp_path):
    live = create(tmp_path / 'live.vprmap')
    query = descriptors(1, seed=2)[0]
    before = [(c.place, c.similarity) for c in live.search(query, 5)]
    live.close()
    with PlaceMap.open(tmp_path / 'live.vprmap', FINGERPRINT) as again:
        assert [(c.place, c.similarity) for c in again.search(query, 5)] == before


def test_in_memory():
    place_map = create(IN_MEMORY, 5)
    assert len(place_map.search(descriptors(1)[0], 10)) == 5
    place_map.close()


def test_another_models_map_is_refused_with_both_names(path):
    with pytest.raises(MapError, match='sage_test:ffff.*sage_nano:0000'):
        PlaceMap.open(path, '0' * 64, 'sage_nano')


def test_an_existing_file_is_not_overwritten(path):
    before = path.read_bytes()
    with pytest.raises(MapError, match='exists already'):
        PlaceMap.create(path, 'sage_test', FINGERPRINT, DIM)
    assert path.read_bytes() == before


def test_missing_map(tmp_path):
    with pytest.raises(MapError, match='no map at .*vpr map build'):
        PlaceMap.open(tmp_path / 'none.vprmap', FINGERPRINT)
    assert not (tmp_path / 'none.vprmap').exists()


@pytest.mark.parametrize('content', [b'', b'hello', b'SQLite format 3\x00' + b'\x00' * 500])
def test_not_a_map(tmp_path, content):
    file = tmp_path / 'bad.vprmap'
    file.write_bytes(content)
    with pytest.raises(MapError):
        PlaceMap.open(file, FINGERPRINT)


def test_a_cut_map(path):
    data = path.read_bytes()
    for cut in np.random.default_rng(0).integers(1, len(data) - 1, 20):
        path.write_bytes(data[:cut])
        with pytest.raises(MapError):
            PlaceMap.open(path, FINGERPRINT)


def test_another_format(path):
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    with pytest.raises(MapError, match='format 99'):
        PlaceMap.open(path, FINGERPRINT)


def test_descriptors_that_do_not_fit_are_refused(path):
    with sqlite3.connect(path) as database:
        database.execute("UPDATE places SET descriptor = x'0000' WHERE id = 4")
    with pytest.raises(MapError, match='damaged'):
        PlaceMap.open(path, FINGERPRINT)


@pytest.mark.parametrize(
    'bad', [np.zeros(DIM + 1, np.float32), np.full(DIM, np.nan, np.float32), np.zeros((1, DIM))]
)
def test_bad_descriptors_do_not_enter(bad):
    place_map = create(IN_MEMORY, 2)
    with pytest.raises(MapError, match='expected a finite descriptor'):
        place_map.add(place(9), bad)
    assert len(place_map) == 2
    assert len(place_map.search(descriptors(1)[0], 10)) == 2


def test_numbers_of_numpy_come_back_as_numbers(tmp_path):
    """SQLite would store each of these as bytes."""
    x, y, z = np.float32([1.5, 2.0, 3.0])
    pose = Pose((x, y, z), tuple(np.float32([0, 0, 0.6, 0.8])))
    given = Place(0, np.int64(1), np.int64(77), pose)
    with PlaceMap.create(tmp_path / 'a.vprmap', 'sage_test', FINGERPRINT, DIM) as place_map:
        place_map.add_session('now')
        added = place_map.add(given, descriptors(1)[0])
    with PlaceMap.open(tmp_path / 'a.vprmap', FINGERPRINT) as place_map:
        assert place_map.places == [added]
        assert added.stamp_ns == 77
        assert added.pose.position_m == (1.5, 2.0, 3.0)
        assert place_map.search(descriptors(1)[0], np.int64(1))[0].place == added


@pytest.mark.parametrize(
    'pose',
    [
        Pose((0.0, float('nan'), 0.0)),
        Pose((0.0, 0.0, float('inf'))),
        Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
        Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, float('nan'))),
    ],
)
def test_what_is_no_pose_does_not_enter(pose):
    place_map = create(IN_MEMORY, 2)
    with pytest.raises(MapError, match='a pose that is none'):
        place_map.add(Place(0, 1, 9, pose), descriptors(1)[0])
    assert len(place_map) == 2


def test_a_quaternion_gets_unit_length_and_an_unknown_way_is_none(tmp_path):
    turned = Pose((0.0, 0.0, 0.0), (0.0, 0.0, 1.2, 1.6))
    with PlaceMap.create(tmp_path / 'a.vprmap', 'sage_test', FINGERPRINT, DIM) as place_map:
        added = place_map.add(Place(0, 1, 9, turned, '', float('nan')), descriptors(1)[0])
        assert added.pose.quaternion == pytest.approx((0.0, 0.0, 0.6, 0.8))
        assert added.travelled_m is None
    with PlaceMap.open(tmp_path / 'a.vprmap', FINGERPRINT) as place_map:
        assert place_map.places == [added]


def test_a_map_opened_for_reading_stays_as_it_is(path):
    with (
        PlaceMap.open(path, FINGERPRINT) as place_map,
        pytest.raises(MapError, match='opened for reading'),
    ):
        place_map.add(place(30), descriptors(1)[0])


def test_readable_without_write_permission(path):
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        with PlaceMap.open(path, FINGERPRINT) as place_map:
            assert len(place_map) == 20
            # Also where the tests run as root, whom permissions do not stop: nothing is written.
            assert [file.name for file in path.parent.iterdir()] == ['office.vprmap']
    finally:
        path.parent.chmod(0o755)


def test_an_error_inside_with_forgets_what_was_not_committed(path):
    with (
        pytest.raises(RuntimeError),
        PlaceMap.open(path, FINGERPRINT, writable=True) as place_map,
    ):
        place_map.add(place(30), descriptors(1)[0])
        raise RuntimeError
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        assert len(place_map) == 20
        assert place_map.info.revision == 1


def test_ids_are_never_used_again(path):
    with sqlite3.connect(path) as database:
        database.execute('DELETE FROM places WHERE id = 20')
    with PlaceMap.open(path, FINGERPRINT, writable=True) as place_map:
        assert place_map.add(place(30), descriptors(1)[0]).id == 21
        place_map.commit()
        assert place_map.info.revision == 2


def test_a_reader_beside_a_writer_sees_what_was_committed(path):
    with PlaceMap.open(path, FINGERPRINT, writable=True) as writer:
        writer.add(place(30), descriptors(1)[0])
        with PlaceMap.open(path, FINGERPRINT) as reader:
            assert len(reader) == 20
        writer.commit()
        with PlaceMap.open(path, FINGERPRINT) as reader:
            assert len(reader) == 21


def test_a_map_closed_beside_a_reader_is_one_file_to_copy(path, tmp_path):
    writer = PlaceMap.open(path, FINGERPRINT, writable=True)
    with PlaceMap.open(path, FINGERPRINT):
        writer.add(place(20), descriptors(1)[0])
        writer.close()
        shutil.copy(path, tmp_path / 'copy.vprmap')
    with PlaceMap.open(tmp_path / 'copy.vprmap', FINGERPRINT) as copy:
        assert len(copy) == 21


def test_sigkill_loses_only_what_was_not_committed(tmp_path):
    program = textwrap.dedent(
        """
        import sys, time, numpy as np
        from vpr_ros.maps.place_map import PlaceMap
        from vpr_ros.records import Place
        place_map = PlaceMap.create(sys.argv[1], 'sage_test', 'f' * 64, 16)
        session = place_map.add_session('killed')
        for i in range(10**6):
            place_map.add(Place(0, session, i), np.ones(16, np.float32) / 4)
            if i % 10 == 9:
                place_map.commit()
                print(i + 1, flush=True)
        """
    )
    for kill_after in (1, 3, 7):
        path = tmp_path / f'{kill_after}.vprmap'
        process = subprocess.Popen(
            [sys.executable, '-c', program, str(path)], stdout=subprocess.PIPE, text=True
        )
        promised = 0
        for _ in range(kill_after):
            promised = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with PlaceMap.open(path, FINGERPRINT) as place_map:
            assert len(place_map) >= promised
            assert len(place_map) % 10 == 0
