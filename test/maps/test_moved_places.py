"""Places get other poses, all or none; and a map with its loops closed is another map."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from small_graphs import COVARIANCE, LAP, drive, off_m
from small_maps import CAMERA, DIM, FINGERPRINT, jpeg, new_map, unit_rows

from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import GraphError, MapError, MapExistsError, MapWriteError
from vpr_ros.maps.closures import FoundClosure, believable, read_closures, write_closures
from vpr_ros.maps.map_graph import map_graph
from vpr_ros.maps.optimize import close_loops, write_moved
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.records import Place, Pose, PoseKind

THERE = Pose((7.0, 8.0, 9.0), (0.0, 0.0, 1.0, 0.0))


def test_moved_places_are_in_the_next_revision(tmp_path):
    with new_map(tmp_path / 'a.vprmap') as place_map:
        place_map.commit()
        before = list(place_map.places)
        place_map.move({2: THERE, 4: THERE})
        assert place_map.info.revision == 1
        place_map.commit()
        assert place_map.info.revision == 2
        assert place_map.places[1] == replace(before[1], pose=THERE)
    with PlaceMap.open(tmp_path / 'a.vprmap', FINGERPRINT) as again:
        moved = [place.id for place in again.places if place.pose == THERE]
        assert moved == [2, 4]
        rest = [p for p in again.places if p.pose != THERE]
        assert rest == [p for p in before if p.id not in moved]


@pytest.mark.parametrize('bad', [{2: THERE, 99: THERE}, {2: Pose((float('nan'), 0.0, 0.0))}])
def test_all_or_none(bad, tmp_path):
    with new_map(tmp_path / 'a.vprmap') as place_map:
        before = list(place_map.places)
        with pytest.raises(MapError, match='no place 99|to a pose that is none'):
            place_map.move(bad)
        assert place_map.places == before
        place_map.move({})
    with PlaceMap.open(tmp_path / 'a.vprmap', None) as again:
        assert again.places == before
        with pytest.raises(MapWriteError, match='opened for reading'):
            again.move({2: THERE})


def test_rows_that_cannot_be_written_undo_those_before(tmp_path):
    with new_map(tmp_path / 'a.vprmap') as place_map:
        place_map.commit()
        before = list(place_map.places)
        place_map._database.execute(
            'CREATE TEMP TRIGGER full BEFORE UPDATE ON places WHEN NEW.id = 4 '
            "BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
        with pytest.raises(MapWriteError, match='no room'):
            place_map.move({2: THERE, 4: THERE})
        assert place_map.places == before
        place_map._database.execute('DROP TRIGGER full')
    with PlaceMap.open(tmp_path / 'a.vprmap', None) as again:
        assert again.places == before


@pytest.fixture
def drifting(tmp_path):
    """A map of two laps whose poses are odometry, and the truth."""
    truth, nodes, _ = drive(2 * LAP)
    with PlaceMap.create(tmp_path / 'a.vprmap', 'sage_test', FINGERPRINT, DIM) as made:
        made.beside.put_camera('front', CAMERA)
        session = made.add_session('drive', 'bag')
        for k, (node, row) in enumerate(zip(nodes, unit_rows(2 * LAP), strict=True)):
            place = Place(0, session, node.stamp_ns, node.pose, 'front', float(k))
            made.add(place, row, jpeg(k))
    return tmp_path / 'a.vprmap', truth


def closures_of(truth, stamps_off_ns=0):
    return [
        FoundClosure(
            k * 10**9 + stamps_off_ns, None, k - LAP + 1, PoseKind.METRIC,
            truth[k].inverse() @ truth[k - LAP], COVARIANCE, 0.9, 30, 0.8,
        )
        for k in range(LAP, 2 * LAP - 1, 3)
    ]  # fmt: skip


def test_loops_of_a_map_are_closed_in_a_new_one(drifting, tmp_path):
    path, truth = drifting
    with PlaceMap.open(path, None) as place_map:
        closed = close_loops(place_map.places, closures_of(truth))
        assert closed.kept.all()
        assert not closed.rejected
        before = [place.pose for place in place_map.places]
        after = [closed.poses[place.id] for place in place_map.places]
        assert off_m(after, truth) < 0.5 * off_m(before, truth)
        place_id, furthest_m = closed.largest_move()
        assert furthest_m == max(
            one.distance_m(other) for one, other in zip(before, after, strict=True)
        )
        gaps = closed.gaps_m()
        assert np.median(gaps[1]) < np.median(gaps[0])
        write_moved(place_map, closed.poses, tmp_path / 'b.vprmap')
        with pytest.raises(MapExistsError):
            write_moved(place_map, closed.poses, tmp_path / 'b.vprmap')
        info, places = place_map.info, list(place_map.places)
    with PlaceMap.open(tmp_path / 'b.vprmap', FINGERPRINT) as other:
        assert other.info.uuid != info.uuid
        assert [place.pose for place in other.places] == after
        assert [replace(p, pose=None) for p in other.places] == [
            replace(p, pose=None) for p in places
        ]
        assert other.camera('front') == CAMERA
    blobs = []
    for name in ('a', 'b'):
        with sqlite3.connect(tmp_path / f'{name}.vprmap') as database:
            blobs.append(list(database.execute('SELECT thumbnail, descriptor FROM places')))
        database.close()
    assert blobs[0] == blobs[1]


def test_a_closure_between_two_places_in_time(drifting):
    path, truth = drifting
    with PlaceMap.open(path, None) as place_map:
        found = map_graph(place_map.places, closures_of(truth, 300_000_000), GraphConfig())
        exact = map_graph(place_map.places, closures_of(truth), GraphConfig())
    assert not found.unused
    for one, other in zip(
        found.graph.edges[found.odometry :], exact.graph.edges[exact.odometry :], strict=True
    ):
        assert (one.start, one.end) == (other.start, other.end)
        step = np.subtract(one.pose.position_m, other.pose.position_m)
        assert np.linalg.norm(step) == pytest.approx(0.6, abs=0.1)  # of two metres a second


def test_closures_that_are_no_edges(drifting):
    path, truth = drifting
    good = closures_of(truth)[0]
    bad = [
        replace(good, to_place=999),
        replace(good, from_stamp_ns=10**15),
        replace(good, kind=PoseKind.NONE),
        replace(good, to_place=LAP + 1),
        replace(good, from_session=77),
    ]
    with PlaceMap.open(path, None) as place_map:
        found = map_graph(place_map.places, [*bad, good], GraphConfig())
    assert found.closures == [good]
    assert [why for _, why in found.unused] == [
        'place 999 is not in the map, or has no pose',
        'no place was recorded about its time',
        'it states no transform',
        'it joins a moment with itself',
        'no place was recorded about its time',
    ]


def test_a_map_without_poses():
    with pytest.raises(GraphError, match='no place of the map has a pose'):
        close_loops([Place(1, 1, 0), Place(2, 1, 5)], [])


def test_cameras_of_one_moment_are_one_node():
    pose = Pose((1.0, 0.0, 0.0))
    places = [Place(k + 1, 1, (k // 2) * 10**9, pose, 'ab'[k % 2]) for k in range(4)]
    found = map_graph(places, [], GraphConfig())
    assert len(found.graph.nodes) == 2
    assert found.nodes == {1: 0, 2: 0, 3: 1, 4: 1}


def test_closures_as_a_file(drifting, tmp_path):
    _, truth = drifting
    some = closures_of(truth)
    some.append(replace(some[0], probability=float('nan')))
    write_closures(tmp_path / 'a.jsonl', some)
    again = read_closures(tmp_path / 'a.jsonl')
    assert again[:-1] == some[:-1]
    np.testing.assert_array_equal(again[0].covariance, some[0].covariance)
    assert np.isnan(again[-1].probability)
    assert len(believable(again, 0.9)) == 1  # the one that nobody judged
    assert len(believable(again, 0.8)) == len(again)


@pytest.mark.parametrize('text', ['{}', 'no json', '[1]', '{"from_stamp_ns": 1, "to_id": 2}'])
def test_a_line_that_is_no_closure(text, tmp_path):
    (tmp_path / 'a.jsonl').write_text(text)
    with pytest.raises(GraphError, match='line 1: expected a loop closure with its relative pose'):
        read_closures(tmp_path / 'a.jsonl')
    with pytest.raises(GraphError, match='cannot read'):
        read_closures(tmp_path / 'b.jsonl')
