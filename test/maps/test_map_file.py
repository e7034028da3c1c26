"""A map is copied whole or not at all, whatever happens meanwhile."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from small_maps import FINGERPRINT, full_disk, new_map, unit_rows, write_map

from vpr_ros.errors import (
    MapDamagedError,
    MapError,
    MapExistsError,
    MapFormatError,
    MapMetadataError,
    MapMissingError,
    MapModelError,
    MapWriteError,
)
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.records import Place


def rows_of(path):
    """Everything in a map but its sequence numbers."""
    with sqlite3.connect(path) as database:
        tables = ('meta', 'sessions', 'places', 'local_features', 'cameras')
        return {name: list(database.execute(f'SELECT * FROM {name}')) for name in tables}


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_a_copy_is_the_same_map_in_one_file(tmp_path):
    path, copy = tmp_path / 'a.vprmap', tmp_path / 'copy.vprmap'
    with new_map(path) as place_map:
        place_map.commit()
        place_map.add(Place(0, 1, 10**12), unit_rows(1, seed=5)[0])  # in the journal
        place_map.save_as(copy)
        assert 'copy.vprmap-wal' not in names(tmp_path)
        with PlaceMap.open(copy, FINGERPRINT) as again:
            assert again.info == place_map.info
            assert again.places == place_map.places
    assert rows_of(copy) == rows_of(path)
    assert names(tmp_path) == ['a.vprmap', 'copy.vprmap']


def test_a_map_in_memory_becomes_a_file(tmp_path):
    with new_map(IN_MEMORY) as place_map:
        place_map.save_as(tmp_path / 'a.vprmap')
        place_map.add(Place(0, 1, 10**12), unit_rows(1, seed=5)[0])  # it goes on
        with PlaceMap.open(tmp_path / 'a.vprmap', FINGERPRINT) as copy:
            assert copy.places == place_map.places[:-1]
            assert copy.info.uuid == place_map.info.uuid
        place_map.save_as(tmp_path / 'a.vprmap', overwrite=True)
        with PlaceMap.open(tmp_path / 'a.vprmap', FINGERPRINT) as copy:
            assert copy.places == place_map.places


@pytest.mark.parametrize('name', ['a.vprmap', 'link.vprmap'])
def test_its_own_file_is_made_durable(tmp_path, name):
    path = tmp_path / 'a.vprmap'
    (tmp_path / 'link.vprmap').symlink_to(path)
    with new_map(path) as place_map:
        place_map.save_as(tmp_path / name)
        assert place_map.info.revision == 1
        assert (tmp_path / 'a.vprmap-wal').stat().st_size == 0  # folded in
        shutil.copy(path, tmp_path / 'copy.vprmap')
    assert rows_of(tmp_path / 'copy.vprmap') == rows_of(path)
    assert (tmp_path / 'link.vprmap').is_symlink()


def test_an_existing_file_is_replaced_only_when_asked(tmp_path):
    other = write_map(tmp_path / 'other.vprmap', seed=1)
    before = other.read_bytes()
    with new_map(tmp_path / 'a.vprmap') as place_map:
        with pytest.raises(MapExistsError, match='other.vprmap exists already'):
            place_map.save_as(other)
        assert other.read_bytes() == before
        place_map.save_as(other, overwrite=True)
    with PlaceMap.open(other, FINGERPRINT) as copy:
        assert copy.sessions()[0][1] == 'drive 0'


def test_a_map_that_is_being_written_is_not_replaced(tmp_path):
    with new_map(tmp_path / 'a.vprmap') as one, new_map(tmp_path / 'b.vprmap', seed=1) as other:
        other.commit()
        with pytest.raises(MapWriteError, match='being written to by another'):
            one.save_as(other.path, overwrite=True)


@pytest.mark.parametrize(
    ('name', 'reason'), [('none/a.vprmap', 'there is no folder'), ('folder', 'it is a folder')]
)
def test_what_cannot_be_written_is_told(tmp_path, name, reason):
    (tmp_path / 'folder').mkdir()
    with new_map(IN_MEMORY) as place_map, pytest.raises(MapWriteError, match=reason):
        place_map.save_as(tmp_path / name, overwrite=True)
    assert names(tmp_path) == ['folder']


def test_a_full_disk_leaves_the_old_copy(tmp_path):
    copy = write_map(tmp_path / 'copy.vprmap', seed=1)
    before = copy.read_bytes()
    with new_map(tmp_path / 'a.vprmap', count=40) as place_map:
        place_map.commit()
        with full_disk(20_000), pytest.raises(MapWriteError, match='cannot write'):
            place_map.save_as(copy, overwrite=True)
        assert copy.read_bytes() == before
        place_map.save_as(copy, overwrite=True)
    assert names(tmp_path) == ['a.vprmap', 'copy.vprmap']


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_without_write_permission(tmp_path):
    folder = tmp_path / 'locked'
    folder.mkdir(mode=0o555)
    with new_map(IN_MEMORY) as place_map, pytest.raises(MapWriteError, match='locked'):
        place_map.save_as(folder / 'a.vprmap')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_a_file_without_read_permission(tmp_path):
    path = write_map(tmp_path / 'a.vprmap')
    path.chmod(0)
    with pytest.raises(MapError, match='cannot read .*Permission denied'):
        PlaceMap.open(path, FINGERPRINT)


def test_a_refused_permission_is_one_sentence(tmp_path, monkeypatch):
    """The same for root, whom permissions do not stop."""
    path = write_map(tmp_path / 'a.vprmap')

    def refuse(*arguments, **keywords):
        raise PermissionError(13, 'Permission denied', str(path))

    with monkeypatch.context() as patch:
        patch.setattr('pathlib.Path.open', refuse)
        with pytest.raises(MapError, match='cannot read .*a.vprmap: Permission denied'):
            PlaceMap.open(path, FINGERPRINT)
    monkeypatch.setattr('os.replace', refuse)
    with new_map(IN_MEMORY) as place_map, pytest.raises(MapWriteError, match='Permission denied'):
        place_map.save_as(tmp_path / 'b.vprmap')
    assert names(tmp_path) == ['a.vprmap']


def test_sigkill_leaves_the_old_or_the_new_copy(tmp_path):
    program = textwrap.dedent(
        """
        import sys, numpy as np
        from vpr_ros.maps.place_map import PlaceMap
        from vpr_ros.records import Place
        place_map = PlaceMap.create(':memory:', 'sage_test', 'f' * 64, 16)
        session = place_map.add_session('killed')
        for round in range(10**6):
            for i in range(20):
                place_map.add(Place(0, session, i), np.ones(16, np.float32) / 4, bytes(20_000))
            place_map.save_as(sys.argv[1], overwrite=True)
            print(len(place_map), flush=True)
        """
    )
    chance = random.Random(0)
    path = tmp_path / 'copy.vprmap'
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, '-c', program, str(path)], stdout=subprocess.PIPE, text=True
        )
        promised = int(process.stdout.readline())
        time.sleep(chance.uniform(0.0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with PlaceMap.open(path, FINGERPRINT) as copy:
            assert len(copy) >= promised
            assert len(copy) % 20 == 0
        with new_map(IN_MEMORY, count=1) as place_map:  # what the killed one left is no obstacle
            place_map.save_as(path, overwrite=True)
        assert names(tmp_path) == ['copy.vprmap']


def test_errors_tell_what_is_wrong_with_a_file(tmp_path):
    path = write_map(tmp_path / 'a.vprmap')

    def changed(statement):
        copy = tmp_path / 'changed.vprmap'
        shutil.copy(path, copy)
        with sqlite3.connect(copy) as database:
            database.execute(statement)
        database.close()
        return copy

    cut = tmp_path / 'cut.vprmap'
    cut.write_bytes(path.read_bytes()[:9000])
    other = tmp_path / 'text.vprmap'
    other.write_text('hello')
    for file, kind in [
        (tmp_path / 'none.vprmap', MapMissingError),
        (tmp_path, MapDamagedError),
        (cut, MapDamagedError),
        (other, MapDamagedError),
        (changed("UPDATE places SET descriptor = x'0000' WHERE id = 4"), MapDamagedError),
    ]:
        with pytest.raises(MapError) as found:
            PlaceMap.open(file, FINGERPRINT)
        assert found.type is kind, file
    for statement, kind in [
        ("UPDATE meta SET value = 'many' WHERE key = 'dim'", MapMetadataError),
        ("UPDATE meta SET value = '0' WHERE key = 'dim'", MapMetadataError),
        ("DELETE FROM meta WHERE key = 'uuid'", MapMetadataError),
        ("UPDATE meta SET value = '3' WHERE key = 'format'", MapFormatError),
        ("INSERT INTO meta VALUES ('new', 'key')", MapMetadataError),
        ("UPDATE cameras SET model = '{}'", MapDamagedError),
        ('DROP TABLE places', MapDamagedError),
    ]:
        with pytest.raises(MapError) as found:
            PlaceMap.open(changed(statement), FINGERPRINT)
        assert found.type is kind, statement
    with pytest.raises(MapModelError):
        PlaceMap.open(path, '0' * 64)


def test_a_newer_format_with_other_keys_is_told_by_its_format(tmp_path):
    path = write_map(tmp_path / 'a.vprmap')
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = '3' WHERE key = 'format'")
        database.execute("INSERT INTO meta VALUES ('new', 'key')")
        database.execute("DELETE FROM meta WHERE key = 'dim'")
    database.close()
    with pytest.raises(MapFormatError, match='map format 3, this version reads 2'):
        PlaceMap.open(path, FINGERPRINT)


def test_a_map_opened_to_be_read_is_not_searched(tmp_path):
    path = write_map(tmp_path / 'a.vprmap')
    with PlaceMap.open(path, None) as place_map:
        assert len(place_map.places) == 12
        np.testing.assert_allclose(place_map.descriptors(), unit_rows(12), atol=1e-3)
        with pytest.raises(MapError, match='open it with its model to search'):
            place_map.search(unit_rows(1)[0], 1)
        with pytest.raises(MapError, match='open it with its model to search'):
            place_map.similarities(unit_rows(1)[0])
