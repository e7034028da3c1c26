"""`vpr map merge` and `vpr map check`, as people see them."""

import sqlite3
from pathlib import Path

import pytest
from small_maps import write_map

from vpr_ros.cli.main import main


@pytest.fixture
def paths(tmp_path):
    return [str(write_map(tmp_path / f'{seed}.vprmap', seed=seed)) for seed in range(3)]


def test_merge_and_look_at_the_result(paths, tmp_path, capsys):
    out = str(tmp_path / 'all.vprmap')
    assert main(['map', 'merge', *paths, '-o', out]) == 0
    assert '24 places of 2 sessions added to those of' in capsys.readouterr().out
    assert main(['map', 'check', out]) == 0
    told = capsys.readouterr().out
    assert '36 places of 3 sessions, 27 thumbnails, local features of 27: all whole' in told
    assert main(['map', 'merge', *paths, '-o', out]) == 1
    assert 'exists already' in capsys.readouterr().err
    assert main(['map', 'merge', *paths, '-o', out, '--overwrite']) == 0


def test_one_map_is_no_merge(paths, tmp_path, capsys):
    assert main(['map', 'merge', paths[0], '-o', str(tmp_path / 'all.vprmap')]) == 2
    assert 'name two or more' in capsys.readouterr().err


def test_a_merge_that_cannot_be_says_why(paths, tmp_path, capsys):
    other = str(write_map(tmp_path / 'odom.vprmap', seed=5, frame='odom'))
    out = tmp_path / 'all.vprmap'
    assert main(['map', 'merge', paths[0], other, '-o', str(out)]) == 1
    assert "in frame 'odom'" in capsys.readouterr().err
    assert not out.exists()


def test_check_names_what_is_wrong(paths, capsys):
    with sqlite3.connect(paths[0]) as database:
        database.execute("UPDATE places SET thumbnail = x'00' WHERE id = 2")
        database.execute('UPDATE places SET session_id = 5 WHERE id = 3')
    database.close()
    assert main(['map', 'check', paths[0]]) == 1
    told = capsys.readouterr()
    assert 'wrong without a session: 1 place (3)' in told.out
    assert 'wrong a thumbnail that is no whole JPEG: 1 place (2)' in told.out
    assert '2 findings in' in told.err


def test_check_says_once_what_is_no_map(tmp_path, capsys):
    path = tmp_path / 'text.vprmap'
    path.write_text('no database')
    assert main(['map', 'check', str(path)]) == 1
    told = capsys.readouterr()
    assert told.out.count('wrong') == 1 and 'expected a whole .vprmap file' in told.out
    assert '1 finding in' in told.err


def test_a_folder_that_may_not_be_written_to_is_told_first(paths, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('os.access', lambda path, mode: Path(path) != tmp_path)  # root may all
    assert main(['map', 'merge', *paths, '-o', str(tmp_path / 'new.vprmap')]) == 1
    assert f'the folder {tmp_path} may not be written to' in capsys.readouterr().err


def test_check_of_nothing(tmp_path, capsys):
    assert main(['map', 'check', str(tmp_path / 'none.vprmap')]) == 1
    assert 'no map at' in capsys.readouterr().err
