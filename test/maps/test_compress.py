"""Compressed maps: shorter, found again with whole descriptors, bound to their projection."""

import shutil
import sqlite3

import numpy as np
import pytest

from vpr_ros.errors import ConfigError, MapError
from vpr_ros.maps.agreement import Agreement
from vpr_ros.maps.compress import Compression, compress
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.maps.projection import Projection, drawn, fit
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
        np.abs(projection.components @ right[:RANK].T), np.eye(RANK), atol=1e-3
    )
    assert projection.kept == pytest.approx((sizes[:RANK] ** 2).sum() / (sizes**2).sum())


@pytest.mark.parametrize(('count', 'dim'), [(20, 20), (COUNT, DIM), (COUNT, 7), (5, 1)])
def test_directions_are_orthonormal_and_reproducible(descriptors, count, dim):
    projection, again = (fit(descriptors[:count], dim) for _ in range(2))
    assert projection.components.shape == (dim, DIM)
    gram = projection.components @ projection.components.T
    np.testing.assert_allclose(gram, np.eye(dim), atol=1e-3)  # values of float16
    np.testing.assert_array_equal(projection.components, again.components)
    largest = np.abs(projection.components).argmax(axis=1)
    assert (projection.components[np.arange(dim), largest] > 0).all()


def test_repeated_descriptors_have_directions_too(descriptors):
    projection = fit(np.repeat(descriptors[:3], 5, axis=0), 8)
    gram = projection.components @ projection.components.T
    np.testing.assert_allclose(gram, np.eye(8), atol=1e-3)
    assert projection.kept == pytest.approx(1.0)


def test_all_directions_change_no_similarity(descriptors):
    rows = fit(descriptors, DIM).apply(descriptors)
    np.testing.assert_allclose(rows @ rows.T, descriptors @ descriptors.T, atol=1e-3)


@pytest.mark.parametrize('dim', [0, -1, DIM + 1])
def test_a_length_that_cannot_be_is_refused(descriptors, dim):
    with pytest.raises(MapError, match=f'to {dim}: expected a length from 1 to {DIM}'):
        fit(descriptors, dim)
    with pytest.raises(MapError, match='expected a length from 1 to 4'):
        fit(descriptors[:4], 5)


def test_both_sides_of_the_product_give_the_same_directions(descriptors, monkeypatch):
    monkeypatch.setattr('vpr_ros.maps.projection.BLOCK', 7)  # many blocks
    tall = fit(descriptors, 6)
    padded = np.concatenate([descriptors, np.zeros((COUNT, COUNT), np.float32)], axis=1)
    wide = fit(padded, 6)
    np.testing.assert_allclose(wide.components[:, :DIM], tall.components, atol=1e-3)
    assert wide.kept == pytest.approx(tall.kept)


def test_many_descriptors_are_sampled(path, tmp_path, descriptors, monkeypatch):
    rows = drawn(COUNT, most=20)
    assert len(set(rows)) == 20 and list(rows) == sorted(rows)
    assert np.array_equal(rows, drawn(COUNT, most=20))
    assert not np.array_equal(rows, drawn(COUNT, seed=1, most=20))
    assert np.array_equal(drawn(5, most=20), np.arange(5))
    monkeypatch.setattr('vpr_ros.maps.compress.drawn', lambda count, most=20: drawn(count, 0, 20))
    out = tmp_path / 'short.vprmap'
    compress(path, out, Compression(RANK))
    with PlaceMap.open(out, FINGERPRINT) as place_map:
        expected = fit(descriptors[rows].astype(np.float16), RANK).components
        np.testing.assert_array_equal(place_map.projection.components, expected)


def test_a_compressed_map_answers_whole_queries(path, tmp_path, descriptors):
    out = tmp_path / 'short.vprmap'
    figures = compress(path, out, Compression(RANK))
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
    assert figures['places'] == COUNT
    assert figures['top1'] > 0.8


def test_a_compressed_map_grows_with_its_projection(path, tmp_path, descriptors):
    out = tmp_path / 'short.vprmap'
    compress(path, out, Compression(RANK))
    new = unit(descriptors[:1] + descriptors[1:2])[0]
    with PlaceMap.open(out, FINGERPRINT, writable=True) as place_map:
        place = place_map.add(Place(0, 1, 10**12), new)
        assert place.id == COUNT + 1
        assert place_map.search(new, 1)[0].place == place
    with PlaceMap.open(out, FINGERPRINT) as place_map:
        assert place_map.search(new, 1)[0].place == place


def test_other_lengths_are_refused_and_name_the_whole_one(path, tmp_path):
    out = tmp_path / 'short.vprmap'
    compress(path, out, Compression(RANK))
    with PlaceMap.open(out, FINGERPRINT, writable=True) as place_map:
        for wrong in (np.ones(RANK, np.float32), np.full(DIM, np.nan, np.float32)):
            with pytest.raises(MapError, match=rf'finite descriptor of shape \({DIM},\)'):
                place_map.search(wrong, 1)
            with pytest.raises(MapError, match=rf'finite descriptor of shape \({DIM},\)'):
                place_map.add(Place(0, 1, 1), wrong)


def test_the_binding_is_of_model_and_projection(path, tmp_path, descriptors):
    bindings = set()
    for dim in (4, 5):
        compress(path, tmp_path / f'{dim}.vprmap', Compression(dim))
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
        "UPDATE projection SET mean = x'00000000'",
        'UPDATE projection SET mean = zeroblob(4 * full_dim)',
        "DELETE FROM meta WHERE key = 'binding'",
        'DELETE FROM projection',
        'DROP TABLE projection',
    ],
)
def test_a_damaged_projection_is_refused(path, tmp_path, damage):
    out = tmp_path / 'short.vprmap'
    compress(path, out, Compression(RANK))
    with sqlite3.connect(out) as database:
        database.execute(damage)
    database.close()
    with pytest.raises(MapError, match='is damaged'):
        PlaceMap.open(out, FINGERPRINT)


def test_nothing_is_lost_when_it_cannot_be_done(path, tmp_path):
    out = tmp_path / 'short.vprmap'
    compress(path, out, Compression(RANK))
    kept = out.read_bytes()
    with pytest.raises(MapError, match='exists already'):
        compress(path, out, Compression(5))
    for dim in (-1, 0, DIM, 1000):
        with pytest.raises(ConfigError, match=f'to {dim}: expected a length from 1 to {DIM - 1}'):
            compress(path, out, Compression(dim), overwrite=True)
    with pytest.raises(MapError, match='is compressed already, to 10: start from the map'):
        compress(out, tmp_path / 'again.vprmap', Compression(5))
    with pytest.raises(MapError, match='no map at'):
        compress(tmp_path / 'none.vprmap', out, Compression(5), overwrite=True)
    text = tmp_path / 'text'
    text.write_text('hello' * 1000)
    with pytest.raises(MapError, match='not a database'):
        compress(text, out, Compression(5), overwrite=True)
    text.unlink()
    assert out.read_bytes() == kept
    assert sorted(file.name for file in tmp_path.iterdir()) == ['short.vprmap', 'whole.vprmap']


def test_a_map_may_be_compressed_in_place_when_asked(path):
    compress(path, path, Compression(RANK), overwrite=True)
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        assert place_map.info.dim == RANK
    assert [file.name for file in path.parent.iterdir()] == ['whole.vprmap']


def test_a_map_that_is_being_written_is_not_replaced(path, tmp_path):
    other = tmp_path / 'other.vprmap'
    compress(path, other, Compression(RANK))
    with PlaceMap.open(path, FINGERPRINT, writable=True) as place_map:
        place_map.add_session('live')
        place_map.commit()
        with pytest.raises(MapError, match='being written to by another process'):
            compress(path, path, Compression(RANK), overwrite=True)
        with pytest.raises(MapError, match='being written to by another process'):
            compress(tmp_path / 'other.vprmap', path, Compression(RANK), overwrite=True)
        compress(path, other, Compression(RANK), overwrite=True)  # beside a writer
    for file in (path, other):
        with PlaceMap.open(file, FINGERPRINT) as place_map:
            assert [row[1] for row in place_map.sessions()] == ['morning', 'live']


def test_the_journal_a_killed_writer_left_is_not_taken_for_the_new_maps(path, tmp_path):
    place_map = PlaceMap.open(path, FINGERPRINT, writable=True)
    place_map.add_session('live')
    place_map.commit()
    killed = tmp_path / 'killed.vprmap'
    for suffix in ('', '-wal'):
        shutil.copy(f'{path}{suffix}', f'{killed}{suffix}')
    place_map.close()
    compress(path, killed, Compression(RANK), overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ['killed.vprmap', 'whole.vprmap']
    with PlaceMap.open(killed, FINGERPRINT) as place_map:
        assert place_map.info.dim == RANK


def test_a_map_of_few_places_is_refused(path, tmp_path, descriptors):
    few = tmp_path / 'few.vprmap'
    with PlaceMap.create(few, 'sage_test', FINGERPRINT, DIM) as place_map:
        place_map.add_session('a')
        for i, row in enumerate(descriptors[:5]):
            place_map.add(Place(0, 1, i), row)
    with pytest.raises(MapError, match='5 places, whose .* expected a length below it, found 5'):
        compress(few, tmp_path / 'out.vprmap', Compression(5))
    assert compress(few, tmp_path / 'out.vprmap', Compression(4))['places'] == 5


def measured(descriptors, projection, block=COUNT):
    """Figures of the agreement, places taken some at a time."""
    asked = np.arange(0, len(descriptors), 2)
    agreement = Agreement(asked, descriptors[asked], projection)
    for start in range(0, len(descriptors), block):
        rows = descriptors[start : start + block]
        agreement.add(start, rows, projection.apply(rows))
    return agreement.figures()


def test_agreement_is_measured_on_the_map_itself(descriptors):
    whole = Projection(np.eye(DIM, dtype=np.float32), 1.0)
    assert measured(descriptors, whole) == pytest.approx(
        {'top1': 1.0, 'top10': 1.0, 'change': 0.0, 'change_least': 0.0}, abs=1e-6
    )
    assert measured(descriptors[:1], whole) == {}
    assert measured(descriptors[:4], whole)['top10'] == 1.0


@pytest.mark.parametrize('centred', [False, True])
def test_agreement_is_that_of_the_plain_search(descriptors, centred):
    poor = fit(descriptors, 2, centred)
    short = poor.apply(descriptors)
    before = descriptors @ descriptors.T
    after = short @ short.T
    if centred:
        after = 1 - 0.5 * ((short[:, None] - short[None]) ** 2).sum(axis=2)
    for table in (before, after):
        np.fill_diagonal(table, -9.0)
    a, b = (np.argsort(-table[::2], axis=1)[:, :10] for table in (before, after))
    change = (after.max(axis=1) - before.max(axis=1))[::2]
    expected = {
        'top1': (a[:, 0] == b[:, 0]).mean(),
        'top10': np.mean([len(set(x) & set(y)) / 10 for x, y in zip(a, b, strict=True)]),
        'change': change.mean(),
        'change_least': change.min(),
    }
    assert expected['top1'] < 0.5
    for block in (COUNT, 7):
        assert measured(descriptors, poor, block) == pytest.approx(expected, abs=1e-5)


def test_places_that_are_not_in_the_map_stay_dissimilar(descriptors):
    """What restoring lengths, or distances of what is left, would lose."""
    strange = unit(np.random.default_rng(9).normal(size=(50, DIM)))
    rows = {c: fit(descriptors, 4, c) for c in (False, True)}
    whole = (strange @ descriptors.T).max(axis=1).mean()
    best = {
        c: p.similarities(p.apply(strange), p.apply(descriptors)).max(axis=1).mean()
        for c, p in rows.items()
    }
    assert best[False] < whole + 0.05
    assert best[True] > whole + 0.2


def test_centred_is_the_common_analysis(descriptors):
    projection = fit(descriptors, RANK, centred=True)
    mean = descriptors.mean(axis=0)
    right = np.linalg.svd(descriptors - mean, full_matrices=False)[2][:RANK]
    expected = (descriptors - mean) @ right.T
    np.testing.assert_allclose(np.abs(projection.apply(descriptors)), np.abs(expected), atol=2e-3)
    assert not projection.keeps_cosines
    assert projection.kept == pytest.approx(
        (expected**2).sum() / ((descriptors - mean) ** 2).sum(), abs=1e-5
    )


def test_a_centred_map_is_searched_by_distance(path, tmp_path, descriptors):
    out = tmp_path / 'centred.vprmap'
    figures = compress(path, out, Compression(RANK, centred=True))
    assert figures['variance_kept'] > 0.9
    with PlaceMap.open(out, FINGERPRINT) as place_map:
        assert not place_map.keeps_cosines
        projection = place_map.projection
        query = unit(descriptors[3:4] + 0.3 * descriptors[9:10])[0]
        squares = ((place_map.descriptors() - projection.apply(query)) ** 2).sum(axis=1)
        found = place_map.search(query, 5)
        order = np.argsort(squares)[:5]
        assert [c.place.stamp_ns for c in found] == [i * 10**9 for i in order]
        np.testing.assert_allclose(
            [c.similarity for c in found], 1 - 0.5 * squares[order], atol=1e-5
        )
        table = projection.similarities(projection.apply(query)[None], place_map.descriptors())
        np.testing.assert_allclose(table[0], 1 - 0.5 * squares, atol=1e-5)
        assert all(c.place.stamp_ns < 5 * 10**9 for c in place_map.search(query, 9, before=5))


def test_constant_descriptors_have_nothing_to_lose():
    rows = np.tile(unit(np.ones((1, 6))), (4, 1))
    assert fit(rows, 2, centred=True).kept == 1.0
    assert fit(rows, 2).kept == pytest.approx(1.0)


@pytest.mark.parametrize('mean', [None, np.full(3, 0.5, np.float32)])
def test_projections_survive_storage(mean):
    rows = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, -0.5]], np.float32)
    projection = Projection(rows, 0.9, mean)
    components, middle = projection.to_bytes()
    again = Projection.from_bytes(components, middle, (2, 3), 0.9)
    np.testing.assert_array_equal(again.components, rows)
    assert again.keeps_cosines == (mean is None)
    assert again.binding('f') == projection.binding('f') != projection.binding('e')
    with pytest.raises(ValueError, match='finite'):
        Projection.from_bytes(np.full(6, np.nan, '<f2').tobytes(), middle, (2, 3), 0.9)
    with pytest.raises(ValueError, match='reshape'):
        Projection.from_bytes(components, middle, (3, 3), 0.9)


def test_maps_without_a_projection_of_the_first_format_are_read(path):
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM meta WHERE key = 'binding'")
        database.execute("UPDATE meta SET value = '1' WHERE key = 'format'")
    database.close()
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        assert place_map.projection is None
        assert place_map.info.binding == FINGERPRINT
        assert len(place_map) == COUNT
    compress(path, path, Compression(RANK), overwrite=True)
    with PlaceMap.open(path, FINGERPRINT) as place_map:
        assert (place_map.info.format, place_map.info.dim) == (2, RANK)
