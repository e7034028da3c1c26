"""What stands beside the places: local features, cameras, a calibrator; and old maps without."""

import sqlite3

import numpy as np
import pytest
import torch

from vpr_ros.errors import MapError
from vpr_ros.maps.index import most_similar
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.records import Camera, LocalFeatures, Place, Pose

DIM = 8
CAMERA = Camera((480, 640), 400.0, 401.0, 320.0, 240.0, (0.1, 0.0, 0.0, 0.0, 0.0), Pose((1, 2, 3)))


def unit(seed, dim=DIM):
    vector = np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    return vector / np.linalg.norm(vector)


def local(seed, count=20):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(1, count, 128, generator=generator)
    return LocalFeatures(
        tokens / tokens.norm(dim=2, keepdim=True),
        torch.ones(1, count, dtype=torch.bool),
        torch.rand(1, count, 2, generator=generator) * 240,
        torch.rand(1, count, generator=generator),
    )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'office.vprmap'
    with PlaceMap.create(path, 'sage_test', 'ab', DIM) as place_map:
        session = place_map.add_session('one')
        for i in range(5):
            features = local(i) if i != 2 else None
            place_map.add(Place(0, session, i), unit(i), local=features)
        place_map.beside.put_camera('front', CAMERA)
        place_map.beside.put_calibrator('{"a": 1}')
    return path


def test_everything_comes_back(path):
    with PlaceMap.open(path, 'ab') as place_map:
        assert place_map.camera('front') == CAMERA and place_map.camera('rear') is None
        assert place_map.beside.calibrator() == '{"a": 1}'
        ids = [place.id for place in place_map.places]
        features, known = place_map.local_features([ids[3], ids[2], ids[0]])
        assert known.tolist() == [True, False, True]
        assert not features.valid[1].any()
        for row, seed in ((0, 3), (2, 0)):
            stored = features.tokens[row][features.valid[row]]
            nearest = (stored @ local(seed).tokens[0].T).max(dim=1).values
            assert len(stored) == 20 and float(nearest.min()) > 0.999
        count, size = place_map.beside.features_size()
        assert count == 4 and size / count < 20 * 140


def test_a_map_of_an_older_version_has_none_and_takes_some(path):
    with sqlite3.connect(path) as database:
        for table in ('local_features', 'cameras', 'calibration'):
            database.execute(f'DROP TABLE {table}')
    with PlaceMap.open(path, 'ab') as place_map:
        features, known = place_map.local_features([1, 2])
        assert not known.any() and features.tokens.shape[:2] == (2, 0)
        assert place_map.beside.calibrator() is None and place_map.camera('front') is None
        assert place_map.beside.features_size() == (0, 0)
        with pytest.raises(MapError, match='opened for reading'):
            place_map.beside.put_calibrator('{}')
    with PlaceMap.open(path, 'ab', writable=True) as place_map:
        place_map.beside.put_calibrator('{}')
        place_map.add(Place(0, 1, 9), unit(9), local=local(9))
    with PlaceMap.open(path, 'ab') as place_map:
        assert place_map.beside.calibrator() == '{}'
        assert place_map.local_features([place_map.places[-1].id])[1].tolist() == [True]


def test_nothing_is_kept_of_what_was_not_committed(path):
    place_map = PlaceMap.open(path, 'ab', writable=True)
    place_map.beside.put_calibrator('{"b": 2}')
    place_map.close(commit=False)
    with PlaceMap.open(path, 'ab') as again:
        assert again.beside.calibrator() == '{"a": 1}'


@pytest.mark.parametrize('text', ['', '{}', '[]', '{"size": [1, 2], "fx": "a"}'])
def test_a_garbled_camera_is_refused(path, text):
    with sqlite3.connect(path) as database:
        database.execute('UPDATE cameras SET model = ?', (text,))
    with pytest.raises(MapError, match='model of a camera is garbled'):
        PlaceMap.open(path, 'ab')


def test_garbled_local_features_are_refused(path):
    with sqlite3.connect(path) as database:
        database.execute("UPDATE local_features SET features = x'00ff'")
    with PlaceMap.open(path, 'ab') as place_map, pytest.raises(MapError):
        place_map.local_features([1])


def test_similarities_are_those_of_the_search(path):
    with PlaceMap.open(path, 'ab') as place_map:
        query = unit(77)
        found = place_map.similarities(query)
        for candidate in place_map.search(query, 5):
            row = place_map.places.index(candidate.place)
            assert found[row] == pytest.approx(candidate.similarity, abs=1e-6)
        assert np.isneginf(place_map.similarities(query, 3)).tolist() == [False] * 3 + [True] * 2


def test_most_similar_rows_come_first_and_equals_in_order():
    values = np.array([0.1, 0.9, 0.5, 0.9, -np.inf, 0.5], np.float32)
    assert most_similar(values, 3).tolist() == [1, 3, 2]
    assert most_similar(values, 100).tolist() == [1, 3, 2, 5, 0]
    assert most_similar(values, 0).tolist() == []
    assert most_similar(np.full(3, -np.inf), 2).tolist() == []
