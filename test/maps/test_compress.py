"""Compressed maps: shorter, found again with whole descriptors, bound to their projection."""

import sqlite3

import numpy as np
import pytest

from vpr_ros.errors import MapError
from vpr_ros.maps.compress import agreement, compress
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.maps.projection import Projection, fit
from vpr_ros.records import Place, Pose

DIM, RANK, COUNT = 48, 10, 60
FINGERPRINT = 'f' * 64


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def descriptors():
    """Descriptors that lie near a plane of RANK directions, as real ones do."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(COUNT, RANK)) @ rng.normal(size=(RANK, DIM))
    return unit(plane + 0.05 * rng.normal(size=(COUNT, DIM)))


@pytest.fixture
def path(tmp_path, descriptors):
    path = tmp_path / 'whole.vprmap'
    with PlaceMap.create(path, 'sage_test', FINGERPRINT, DIM) as place_map:
        session = place_map.add_session('morning', 'bag')
        for i, row in enumerate(descriptors):
            pose = Pose((float(i), 0.0, 0.0)) if i % 4 else None
            thumbnail = b'jpeg' if i == 3 else None
            place_map.add(Place(0, session, i * 10**9, pose, 'front'), row, thumbnail)
    return path


def test_a_projection_is_the_principal_directions(descriptors):
    projection = fit(descriptors, RANK)
    _, sizes, right = np.linalg.svd(descriptors.astype(float), full_matrices=False)
    np.testing.assert_allclose(
        np.abs(projection.components @ right[:RANK].T), np.eye(RANK), atol=1e-4
    )
    assert projection.kept == pytest.approx((sizes[:RANK] ** 2).sum() / (sizes**2).sum())


@pytest.mark.parametrize(('count', 'dim'), [(20, 20), (COUNT, DIM), (COUNT, 7), (5, 1)])
def test_directions_are_orthonormal_and_reproducible(descriptors, count, dim):
    projection, again = (fit(descriptors[:count], dim) for _ in range(2))
    assert projection.components.shape == (dim, DIM)
    gram = projection.components @ projection.components.T
    np.testing.assert_allclose(gram, np.eye(dim), atol=1e-5)
    np.testing.assert_array_equal(projection.components, again.components)


def test_repeated_descriptors_have_directions_too(descriptors):
    projection = fit(np.repeat(descriptors[:3], 5, axis=0), 8)
    gram = projection.components @ projection.components.T
    np.testing.assert_allclose(gram, np.eye(8), atol=1e-5)
    assert projection.kept == pytest.approx(1.0)


def test_all_directions_change_no_similarity(descriptors):
    rows = fit(descriptors, DIM).apply(descriptors)
    np.testing.assert_allclose(rows @ rows.T, descriptors @ descriptors.T, atol=1e-5)


@pytest.mark.parametrize('dim', [0, -1, DIM + 1])
def test_a_length_that_cannot_be_is_refused(descriptors, dim):
    with pytest.raises(MapError, match=f'to {dim}: expected a length from 1 to {DIM}'):
        fit(descriptors, dim)
    with pytest.raises(MapError, match='expected a length from 1 to 4'):
        fit(descriptors[:4], 5)


def test_many_descriptors_are_sampled(descriptors, monkeypatch):
    monkeypatch.setattr('vpr_ros.maps.projection.MOST_ROWS', 40)
    assert np.array_equal(fit(descriptors, 8).components, fit(descriptors, 8).components)
    assert not np.array_equal(fit(descriptors, 8).components, fit(descriptors, 8, 1).components)


def test_a_compressed_map_answers_whole_queries(path, tmp_path, descriptors):
    out = tmp_path / 'short.vprmap'
    figures = compress(path, out, RANK)
    with PlaceMap.open(path, FINGERPRINT) as whole, PlaceMap.open(out, FINGERPRINT) as shorter:
        assert shorter.places == whole.places
        assert shorter.sessions() == whole.sessions()
        assert shorter.thumbnail(shorter.places[3].id) == b'jpeg'
        assert shorter.info.uuid != whole.info.uuid
        assert (shorter.info.dim, shorter.full_dim) == (RANK, DIM)
        assert shorter.agreement == figures
        for row in descriptors[::7]:
            before, after = whole.search(row, 3), shorter.search(row, 3)
            assert after[0].place == before[0].place
            assert after[0].similarity == pytest.approx(before[0].similarity, abs=0.02)
    assert out.stat().st_size < path.stat().st_size
    assert figures['kept'] > 0.98
    assert figures['top1'] > 0.8


def test_a_compressed_map_grows_with_its_projection(path, tmp_path, descriptors):
    out = tmp_path / 'short.vprmap'
    compress(path, out, RANK)
    new = unit(descriptors[:1] + descriptors[1:2])[0]
    with PlaceMap.open(out, FINGERPRINT, writable=True) as place_map:
        place = place_map.add(Place(0, 1, 10**12), new)
        assert place.id == COUNT + 1
        assert place_map.search(new, 1)[0].place == place
    with PlaceMap.open(out, FINGERPRINT) as place_map:
        assert place_map.search(new, 1)[0].place == place


def test_other_lengths_are_refused_and_name_the_whole_one(path, tmp_path):
    out = tmp_path / 'short.vprmap'
    compress(path, out, RANK)
    with PlaceMap.open(out, FINGERPRINT, writable=True) as place_map:
        for wrong in (np.ones(RANK, np.float32), np.full(DIM, np.nan, np.float32)):
            with pytest.raises(MapError, match=rf'finite descriptor of shape \({DIM},\)'):
                place_map.search(wrong, 1)
            with pytest.raises(MapError, match=rf'finite descriptor of shape \({DIM},\)'):
                place_map.add(Place(0, 1, 1), wrong)


def test_the_binding_is_of_model_and_projection(path, tmp_path, descriptors):
    bindings = set()
    for dim in (4, 5):
        compress(path, tmp_path / f'{dim}.vprmap', dim)
        with PlaceMap.open(tmp_path / f'{dim}.vprmap', FINGERPRINT) as place_map:
            bindings.add(place_map.info.binding)
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        bindings.add(place_map.info.binding)
        assert place_map.info.binding == FINGERPRINT
    assert len(bindings) == 3
    with pytest.raises(MapError, match='was made with sage_test:ffff'):
        PlaceMap.open(tmp_path / '4.vprmap', 'e' * 64, 'sage_nano')


@pytest.mark.parametrize(
    'damage',
    [
        'UPDATE projection SET components = zeroblob(length(components))',
        'UPDATE projection SET components = substr(components, 1, 40)',
        "UPDATE projection SET agreement = '{'",
        'DELETE FROM projection',
        'DROP TABLE projection',
    ],
)
def test_a_damaged_projection_is_refused(path, tmp_path, damage):
    out = tmp_path / 'short.vprmap'
    compress(path, out, RANK)
    with sqlite3.connect(out) as database:
        database.execute(damage)
    database.close()
    with pytest.raises(MapError, match='its projection is'):
        PlaceMap.open(out, FINGERPRINT)


def test_nothing_is_lost_when_it_cannot_be_done(path, tmp_path):
    out = tmp_path / 'short.vprmap'
    compress(path, out, RANK)
    kept = out.read_bytes()
    with pytest.raises(MapError, match='exists already'):
        compress(path, out, 5)
    with pytest.raises(MapError, match=f'expected a length from 1 to {DIM}'):
        compress(path, out, 1000, overwrite=True)
    with pytest.raises(MapError, match='is compressed already, to 10: start from the map'):
        compress(out, tmp_path / 'again.vprmap', 5)
    assert out.read_bytes() == kept
    assert sorted(file.name for file in tmp_path.iterdir()) == ['short.vprmap', 'whole.vprmap']


def test_a_map_may_be_compressed_in_place_when_asked(path):
    compress(path, path, RANK, overwrite=True)
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        assert place_map.info.dim == RANK


def test_agreement_is_measured_on_the_map_itself(descriptors):
    whole = Projection(np.eye(DIM, dtype=np.float32), 1.0)
    assert agreement(descriptors, whole) == pytest.approx(
        {'top1': 1.0, 'top10': 1.0, 'similarity_change': 0.0}, abs=1e-6
    )
    poor = agreement(descriptors, fit(descriptors, 2))
    assert poor['top1'] < 0.5
    assert poor['similarity_change'] > 0.05
    assert agreement(descriptors[:1], whole) == {}


def test_maps_without_a_projection_of_the_first_format_are_read(path):
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM meta WHERE key = 'binding'")
        database.execute("UPDATE meta SET value = '1' WHERE key = 'format'")
    database.close()
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        assert place_map.projection is None
        assert len(place_map) == COUNT


def test_in_memory_maps_take_a_projection(descriptors):
    projection = fit(descriptors, RANK)
    with PlaceMap.create(IN_MEMORY, 'm', FINGERPRINT, DIM, projection=projection) as place_map:
        place_map.add_session('a')
        place_map.add(Place(0, 1, 1), descriptors[0])
        assert place_map.descriptors().shape == (1, RANK)
