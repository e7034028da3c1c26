"""Maps are loaded, saved and merged while the node runs; what fails leaves the map in use."""

import shutil
import sqlite3
from types import SimpleNamespace

import pytest
from small_maps import DIM, FINGERPRINT, full_disk, new_map, unit_rows, write_map
from small_views import textures

from vpr_msgs.srv import LoadMap, MergeMap, SaveMap
from vpr_ros.errors import ConfigError
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.nodes.services.map_calls import load_map, merge_map, save_map
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Place

COUNT = 12
STAMP_NS = 7_000_000_005


class Model:
    name, id = 'sage_test', f'sage_test:{FINGERPRINT[:16]}'

    def require_weights(self):
        return FINGERPRINT


class StandIn:
    """What the calls use of a Responder."""

    def __init__(self, mode, place_map):
        self.config = SimpleNamespace(mode=mode)
        self.recognizer = SimpleNamespace(
            model=Model(), place_map=place_map, follow_map=lambda: self.said.append('follow')
        )
        self.said, self.failures = [], []

    def use(self, place_map):
        self.recognizer.place_map = place_map
        self.said.append('changed')

    def map_changed(self):
        self.said.append('changed')

    def failed(self, error):
        self.failures.append(error)

    @property
    def place_map(self):
        return self.recognizer.place_map


@pytest.fixture
def path(tmp_path):
    return write_map(tmp_path / 'a.vprmap')


@pytest.fixture
def other(tmp_path):
    return write_map(tmp_path / 'b.vprmap', seed=1)


@pytest.fixture
def make():
    made = []

    def make(mode, place_map):
        made.append(StandIn(mode, place_map))
        return made[-1]

    yield make
    for one in made:
        one.place_map.close(commit=False)


@pytest.fixture
def localizing(make, path):
    return make('localize', PlaceMap.open(path, FINGERPRINT))


@pytest.fixture
def mapping(make, path):
    return make('both', PlaceMap.open(path, FINGERPRINT, writable=True))


def load(responder, url, verify=False):
    return load_map(responder, LoadMap.Request(map_url=str(url), verify=verify), lambda: STAMP_NS)


def save(responder, url='', overwrite=False):
    return save_map(responder, SaveMap.Request(map_url=str(url), overwrite=overwrite))


def join(responder, url):
    return merge_map(responder, MergeMap.Request(map_url=str(url)))


@pytest.mark.parametrize('verify', [False, True])
def test_another_map_is_loaded(localizing, other, verify):
    before = localizing.place_map
    response = load(localizing, other.as_uri(), verify)
    assert response.result == LoadMap.Response.SUCCESS
    assert response.message == f'{other}: 12 places'
    assert localizing.place_map.path == str(other)
    assert localizing.said == ['changed']
    assert response.info.uuid == localizing.place_map.info.uuid
    assert response.info.url == other.as_uri()
    assert (response.info.header.stamp.sec, response.info.header.stamp.nanosec) == (7, 5)
    with pytest.raises(sqlite3.ProgrammingError):
        before.descriptors()  # closed
    assert localizing.place_map.search(unit_rows(1, seed=1)[0], 1)


def test_the_same_map_is_loaded_again(localizing, path):
    assert load(localizing, path).result == LoadMap.Response.SUCCESS
    assert localizing.place_map.thumbnail(2)


def damaged(path, name, statement):
    copy = path.with_name(name)
    shutil.copy(path, copy)
    with sqlite3.connect(copy) as database:
        database.execute(statement)
    database.close()
    return copy


def bad_maps(path):
    """Address, code and words of the sentence, one after the other."""
    yield path.with_name('none.vprmap'), 'DOES_NOT_EXIST', 'no map at'
    yield '', 'DOES_NOT_EXIST', 'no map is named'
    yield 'https://example.org/a.vprmap', 'DOES_NOT_EXIST', 'cannot find a map'
    yield 'package://no_such_package_here/a.vprmap', 'DOES_NOT_EXIST', 'source its workspace'
    yield 'package://not a name/a.vprmap', 'DOES_NOT_EXIST', 'source its workspace'
    yield path.parent, 'INVALID_DATA', 'is a folder'
    cut = path.with_name('cut.vprmap')
    cut.write_bytes(path.read_bytes()[:9000])
    yield cut, 'INVALID_DATA', 'is damaged: expected'
    text = path.with_name('text.vprmap')
    text.write_text('hello')
    yield text, 'INVALID_DATA', 'not a database'
    garbled = "UPDATE meta SET value = 'x' WHERE key = 'dim'"
    yield damaged(path, 'meta.vprmap', garbled), 'INVALID_METADATA', 'lack or garble'
    newer = "UPDATE meta SET value = '3' WHERE key = 'format'"
    yield damaged(path, 'newer.vprmap', newer), 'VERSION', 'map format 3'
    other = write_map(path.with_name('other.vprmap'), fingerprint='e' * 64)
    yield other, 'MODEL_MISMATCH', 'was made with sage_test:eeee'


def test_what_cannot_be_loaded_leaves_the_map_in_use(localizing, path):
    before = localizing.place_map
    for url, code, words in bad_maps(path):
        response = load(localizing, url)
        assert response.result == getattr(LoadMap.Response, code), (url, response.message)
        assert words in response.message
        assert response.info.uuid == before.info.uuid
        assert localizing.place_map is before
    assert localizing.said == localizing.failures == []
    assert before.search(unit_rows(1)[0], 1)[0].similarity > 0.99


def test_what_cannot_be_merged_changes_nothing(mapping, path):
    for url, code, words in bad_maps(path):
        response = join(mapping, url)
        assert response.result == getattr(MergeMap.Response, code), (url, response.message)
        assert words in response.message.replace('this is', 'the map')
        assert response.places_added == 0
        assert response.info.places == COUNT
    assert mapping.said == mapping.failures == []


def test_verify_reads_what_loading_does_not(localizing, other):
    data = bytearray(other.read_bytes())
    page = int.from_bytes(data[16:18], 'big')
    with sqlite3.connect(other) as database:
        root = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'calibration'"
        ).fetchone()[0]
    database.close()
    data[(root - 1) * page : (root - 1) * page + 8] = b'\xff' * 8
    other.write_bytes(data)
    response = load(localizing, other, verify=True)
    assert response.result == LoadMap.Response.INVALID_DATA
    assert 'is damaged' in response.message
    assert load(localizing, other).result == LoadMap.Response.SUCCESS


def test_a_map_that_the_recogniser_refuses_is_closed(localizing, other, monkeypatch):
    refused = []

    def use(place_map):
        refused.append(place_map)
        raise ConfigError('no threshold')

    monkeypatch.setattr(localizing, 'use', use)
    before = localizing.place_map
    response = load(localizing, other)
    assert (response.result, response.message) == (LoadMap.Response.UNDEFINED, 'no threshold')
    assert localizing.place_map is before
    assert before.descriptors().shape == (COUNT, DIM)
    with pytest.raises(sqlite3.ProgrammingError):
        refused[0].descriptors()


@pytest.mark.parametrize(
    ('error', 'code', 'words'),
    [
        (MemoryError(), 'NO_MEMORY', 'not enough memory'),
        (RuntimeError('odd'), 'UNDEFINED', "RuntimeError('odd')"),
    ],
)
def test_nothing_escapes(localizing, other, monkeypatch, error, code, words):
    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr(PlaceMap, '_load', fail)
    before = localizing.place_map
    response = load(localizing, other)
    assert response.result == getattr(LoadMap.Response, code)
    assert words in response.message
    assert localizing.failures == [error]
    assert localizing.place_map is before
    monkeypatch.setattr('vpr_ros.nodes.services.map_calls.map_info', fail)
    assert load(localizing, other).info.uuid == ''


@pytest.mark.parametrize('mode', ['map', 'both'])
def test_a_node_that_records_loads_none(make, mode, other):
    responder = make(mode, new_map(IN_MEMORY))
    response = load(responder, other)
    assert response.result == LoadMap.Response.WRONG_MODE
    assert f'in mode {mode}' in response.message
    assert response.info.places == COUNT


def test_the_maps_own_file_is_made_durable(mapping, path):
    mapping.place_map.add(mapping.place_map.places[1], unit_rows(1, seed=9)[0])
    response = save(mapping)
    assert response.result == SaveMap.Response.SUCCESS
    assert response.info.revision == 2
    assert mapping.said == ['changed']
    with PlaceMap.open(path, FINGERPRINT) as again:
        assert len(again) == COUNT + 1


def test_a_map_in_memory_needs_a_name(make, tmp_path):
    responder = make('map', new_map(IN_MEMORY))
    response = save(responder)
    assert response.result == SaveMap.Response.NO_NAME
    assert 'map_url' in response.message
    assert save(responder, tmp_path / 'a.vprmap').result == SaveMap.Response.SUCCESS
    with PlaceMap.open(tmp_path / 'a.vprmap', FINGERPRINT) as copy:
        assert len(copy) == COUNT


@pytest.mark.parametrize('mode', ['localizing', 'mapping'])
def test_a_copy_is_saved_in_any_mode(request, mode, tmp_path):
    responder = request.getfixturevalue(mode)
    copy = tmp_path / 'copy.vprmap'
    assert save(responder).result == SaveMap.Response.SUCCESS
    assert save(responder, copy.as_uri()).result == SaveMap.Response.SUCCESS
    response = save(responder, copy)
    assert response.result == SaveMap.Response.EXISTS
    assert 'exists already' in response.message
    assert save(responder, copy, overwrite=True).result == SaveMap.Response.SUCCESS
    with PlaceMap.open(copy, FINGERPRINT) as again:
        assert again.info.uuid == responder.place_map.info.uuid
    assert responder.said == []  # nothing had to be committed


def test_what_cannot_be_written(mapping, tmp_path):
    for url in (tmp_path / 'none' / 'a.vprmap', tmp_path, 'package://vpr_ros/a.vprmap'):
        response = save(mapping, url, overwrite=True)
        assert response.result == SaveMap.Response.NOT_WRITTEN, url
    with full_disk(8000):
        response = save(mapping, tmp_path / 'full.vprmap')
    assert response.result == SaveMap.Response.NOT_WRITTEN
    assert 'cannot write' in response.message
    assert not (tmp_path / 'full.vprmap').exists()
    assert mapping.failures == []


def test_places_are_merged_and_followed(mapping, other):
    response = join(mapping, other)
    assert (response.result, response.places_added) == (MergeMap.Response.SUCCESS, COUNT)
    assert response.info.places == 2 * COUNT
    assert mapping.said == ['follow', 'changed']
    again = join(mapping, other)
    assert again.result == MergeMap.Response.UNDEFINED
    assert 'already' in again.message
    assert again.places_added == 0


def test_a_merge_in_the_middle_of_a_session(make, tiny_model, tmp_path):
    """What was merged is searched, the robot's own recent past before and after it is not."""
    own, foreign = (list(textures(6, views=1, seed=seed)) for seed in (1, 2))
    fingerprint, dim = tiny_model.require_weights(), tiny_model.descriptor_dim
    with PlaceMap.create(tmp_path / 'b.vprmap', 'sage_test', fingerprint, dim) as other:
        session = other.add_session('before')
        for i, image in enumerate(foreign):
            row = tiny_model.describe([image]).descriptor[0].cpu().numpy()
            other.add(Place(0, session, i * 10**9), row)
    place_map = PlaceMap.create(IN_MEMORY, 'sage_test', fingerprint, dim)
    responder = make('map', place_map)
    live = Recognizer(tiny_model, place_map, session_id=place_map.add_session('live'))
    responder.recognizer = live
    for i in range(3):
        live.recognize(own[i], (100 + i) * 10**9)
    assert join(responder, tmp_path / 'b.vprmap').places_added == 6
    for i in range(3, 6):
        seen = live.recognize(own[i], (100 + i) * 10**9)
        assert {c.place.session_id for c in seen.candidates} == {2}
        assert seen.place.id == 7 + i
    found = live.recognize(foreign[4], 106 * 10**9)
    assert found.best.place == place_map.places[3 + 4]
    assert found.best.similarity > 0.9999
    later = live.recognize(own[1], 10_000 * 10**9)  # now the own past is old enough
    assert later.best.place == place_map.places[1]


def test_frames_must_be_the_same(mapping, tmp_path):
    path = write_map(tmp_path / 'odom.vprmap', seed=2, frame='odom')
    assert join(mapping, path).result == MergeMap.Response.FRAME_MISMATCH


def test_a_map_that_is_only_read_takes_no_places(localizing, other):
    response = join(localizing, other)
    assert response.result == MergeMap.Response.WRONG_MODE
    assert 'vpr map merge' in response.message


def test_an_installed_package_holds_maps(localizing, other, tmp_path, monkeypatch):
    index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    (index / 'my_robot').touch()
    (tmp_path / 'share' / 'my_robot').mkdir()
    shutil.copy(other, tmp_path / 'share' / 'my_robot' / 'my map.vprmap')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    response = load(localizing, 'package://my_robot/my%20map.vprmap')
    assert response.result == LoadMap.Response.SUCCESS, response.message
    response = load(localizing, 'package://another_robot/map.vprmap')
    assert response.result == LoadMap.Response.DOES_NOT_EXIST
    assert "no package 'another_robot' is installed" in response.message
