"""What is wrong with a map file is found and named."""

import sqlite3

import numpy as np
import pytest
from small_maps import DIM, new_map, write_map

from vpr_ros.errors import MapDamagedError, MapMissingError
from vpr_ros.maps.check import check_map, check_pages
from vpr_ros.maps.compress import Compression, compress


@pytest.fixture
def path(tmp_path):
    return write_map(tmp_path / 'a.vprmap')


def change(path, statement, *values):
    with sqlite3.connect(path) as database:
        database.execute(statement, values)
    database.close()


def row(value):
    return np.full(DIM, value, '<f2').tobytes()


def test_a_whole_map(path):
    seen = []
    found = check_map(path, lambda done, total: seen.append((done, total)))
    assert found.findings == ()
    assert (found.places, found.sessions, found.thumbnails, found.local_features) == (12, 1, 9, 9)
    assert seen[-1] == (12, 12)
    check_pages(path)


@pytest.mark.parametrize('centred', [False, True])
def test_a_compressed_map_is_whole(path, tmp_path, centred):
    compress(path, tmp_path / 'short.vprmap', Compression(6, centred))
    assert check_map(tmp_path / 'short.vprmap').findings == ()


def test_a_map_that_grows_meanwhile_is_whole(tmp_path):
    with new_map(tmp_path / 'a.vprmap') as place_map:
        place_map.commit()
        assert check_map(place_map.path).findings == ()
        check_pages(place_map.path)


@pytest.mark.parametrize(
    ('statement', 'value', 'finding'),
    [
        ('UPDATE places SET descriptor = ? WHERE id IN (2, 5)', row(np.nan),
         'a descriptor that is not finite: 2 places (2, 5)'),
        ('UPDATE places SET descriptor = ? WHERE id > 3', row(0.0),
         'a descriptor that is not of unit length: 9 places (4, 5, 6, 7, 8, ...)'),
        ('UPDATE places SET thumbnail = substr(thumbnail, 1, 400 + ?) WHERE id = 4', 0,
         'a thumbnail that is no whole JPEG: 1 place (4)'),
        ('UPDATE local_features SET features = ? WHERE place_id = 6', b'\x01',
         'damaged local features: 1 place (6)'),
        ('UPDATE places SET session_id = ? WHERE id = 7', 99,
         'without a session: 1 place (7)'),
        ('UPDATE local_features SET place_id = ? WHERE place_id = 8', 99,
         'local features without a place: 1 place (99)'),
        ('UPDATE places SET qz = ? WHERE id = 3', None,
         'a pose that is incomplete or no rotation: 1 place (3)'),
        ('UPDATE places SET qz = ? WHERE id = 3', 2.0,
         'a pose that is incomplete or no rotation: 1 place (3)'),
        ('INSERT INTO calibration VALUES (0, ?)', '{', 'a calibrator that is garbled'),
    ],
)  # fmt: skip
def test_each_fault_is_named(path, statement, value, finding):
    change(path, statement, value)
    assert check_map(path).findings == (finding,)


def test_what_does_not_open_is_a_finding(path):
    change(path, "UPDATE meta SET value = '9' WHERE key = 'format'")
    findings = check_map(path).findings
    assert len(findings) == 1
    assert 'map format 9' in findings[0]


def test_a_damaged_page_is_found(path):
    data = bytearray(path.read_bytes())
    page = int.from_bytes(data[16:18], 'big')
    for start in range(2 * page, len(data), page):
        data[start : start + 8] = b'\xff' * 8  # headers of all but the first pages
    path.write_bytes(data)
    assert check_map(path).findings
    with pytest.raises(MapDamagedError, match='is damaged'):
        check_pages(path)


def test_no_map(tmp_path):
    with pytest.raises(MapMissingError):
        check_map(tmp_path / 'none.vprmap')
    (tmp_path / 'text.vprmap').write_text('hello')
    assert 'not a database' in check_map(tmp_path / 'text.vprmap').findings[0]
    with pytest.raises(MapDamagedError, match='not a database'):
        check_pages(tmp_path / 'text.vprmap')
