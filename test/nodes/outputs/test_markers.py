"""Markers that RViz takes without complaint, about the right places."""

import math
from dataclasses import replace

import numpy as np
import pytest
from geometry_msgs.msg import Point
from showing import HEADER, match_of, recognition, small_map, verified
from visualization_msgs.msg import Marker

from vpr_ros.nodes.outputs.colours import AMBER, GREEN, RED
from vpr_ros.nodes.outputs.markers import LIFETIME_S, Shown, answer, paths, unit_m
from vpr_ros.nodes.outputs.positions import Positions
from vpr_ros.records import Candidate, Place, Pose, PoseKind, RelativePose, Verdict


def drawn(place_map, found, pose=None, **config):
    """Markers of an answer, by namespace and id."""
    positions = Positions()
    positions.look(place_map)
    match = match_of(found, place_map, **config)
    markers = paths(HEADER, positions) + answer(HEADER, found, match, positions, pose)
    keyed = {(marker.ns, marker.id): marker for marker in markers}
    assert len(keyed) == len(markers)
    for marker in markers:
        check(marker)
    return keyed


def check(marker):
    """What RViz complains about, and what is wrong though it does not."""
    assert marker.header == HEADER
    q, where, scale, colour = (
        marker.pose.orientation, marker.pose.position, marker.scale, marker.color,
    )  # fmt: skip
    assert math.hypot(q.x, q.y, q.z, q.w) == pytest.approx(1.0, abs=1e-6)
    assert min(scale.x, scale.y, scale.z) > 0
    assert all(0 <= value <= 1 for value in (colour.r, colour.g, colour.b)) and colour.a > 0
    points = [where, Point(x=scale.x, y=scale.y, z=scale.z), *marker.points]
    assert all(math.isfinite(value) for p in points for value in (p.x, p.y, p.z))
    assert marker.lifetime.sec == (0 if marker.ns == 'paths' else LIFETIME_S)
    if marker.type == Marker.TEXT_VIEW_FACING:
        assert marker.text


def at(marker):
    return [marker.pose.position.x, marker.pose.position.y, marker.pose.position.z]


def colour_of(marker):
    colour = marker.color
    return tuple(round(255 * value) for value in (colour.r, colour.g, colour.b))


def test_an_accepted_answer():
    place_map = small_map()
    markers = drawn(place_map, recognition(place_map), position_sigma_m=3.0)
    arrow, disc = markers['pose', 0], markers['pose', 1]
    assert arrow.type == Marker.ARROW and at(arrow) == [20.0, 1.0, 0.5]
    assert (arrow.pose.orientation.z, arrow.pose.orientation.w) == (0.6, 0.8)
    assert disc.type == Marker.CYLINDER and disc.scale.x == pytest.approx(6.0) == disc.scale.y
    spheres = [markers['candidates', rank] for rank in range(3)]
    assert [at(sphere)[0] for sphere in spheres] == [20.0, 10.0, 40.0]
    assert spheres[0].scale.x > spheres[1].scale.x >= spheres[2].scale.x
    assert markers['ranks', 2].text == '3'
    text = markers['verdict', 0]
    assert text.text == 'ACCEPTED\nwhy it is so' and colour_of(text) == GREEN
    assert ('relative', 0) not in markers  # the place's own pose, copied


def test_paths_of_the_sessions_that_have_one():
    markers = drawn(small_map(sessions=(1, 1, 1, 2, 2, 3)), recognition(small_map(), rows=()))
    lines = {key: marker for key, marker in markers.items() if key[0] == 'paths'}
    assert lines.keys() == {('paths', 1), ('paths', 2)}
    assert all(marker.type == Marker.LINE_STRIP for marker in lines.values())
    assert [p.x for p in lines['paths', 1].points] == [0.0, 10.0, 20.0]
    assert colour_of(lines['paths', 1]) != colour_of(lines['paths', 2])


def test_a_long_path_keeps_its_ends_and_loses_points(monkeypatch):
    monkeypatch.setattr('vpr_ros.nodes.outputs.markers.PATH_POINTS', 3)
    place_map = small_map(sessions=(1,) * 6)
    line = drawn(place_map, recognition(place_map))['paths', 1]
    assert [p.x for p in line.points] == [0.0, 20.0, 50.0]


@pytest.mark.parametrize('verdict', [v for v in Verdict if v is not Verdict.ACCEPTED])
def test_refusals_and_errors_say_why_and_claim_no_pose(verdict):
    place_map = small_map()
    markers = drawn(place_map, recognition(place_map, verdict))
    assert ('pose', 0) not in markers and ('candidates', 0) in markers
    text = markers['verdict', 0]
    name = verdict.name.replace('_', ' ')
    assert text.text.splitlines()[0] in (f'REFUSED: {name}', name)
    assert text.text.splitlines()[1] == 'why it is so'
    assert colour_of(text) == (RED if verdict is Verdict.ERROR else AMBER)


def test_without_candidates_there_is_only_the_text_at_the_centre():
    place_map = small_map()
    markers = drawn(place_map, recognition(place_map, Verdict.NO_MAP, rows=()))
    assert {ns for ns, _ in markers} == {'paths', 'verdict'}
    assert markers['verdict', 0].pose.position.x == pytest.approx(25.0)


def test_places_without_a_pose_are_left_out():
    place_map = small_map(posed=(True, False, False, True, True, True))
    markers = drawn(place_map, recognition(place_map))
    assert [key for key in markers if key[0] == 'candidates'] == [('candidates', 2)]
    assert ('pose', 0) not in markers and ('verdict', 0) in markers
    bare = small_map((False,) * 6)
    assert drawn(bare, recognition(bare), Pose((0.0, 0.0, 0.0))).keys() == {('verdict', 0)}


def test_a_pose_that_is_not_finite_is_left_out():
    place_map = small_map()
    bad = replace(place_map.places[2], pose=Pose((math.nan, 0.0, 0.0)))
    found = replace(recognition(place_map, Verdict.AMBIGUOUS), candidates=(Candidate(bad, 0.9),))
    assert ('candidates', 0) not in drawn(place_map, found, Pose((1.0, 0.0, 0.0)))


def test_the_line_goes_from_the_query_to_the_best_place():
    place_map = small_map()
    query = Pose((1.0, 2.0, 3.0))
    line = drawn(place_map, recognition(place_map, Verdict.AMBIGUOUS), query)['relative', 0]
    assert [(p.x, p.y, p.z) for p in line.points] == [(1.0, 2.0, 3.0), (20.0, 1.0, 0.5)]
    assert colour_of(line) == AMBER
    unknown = Pose((math.nan, 2.0, 3.0))
    assert ('relative', 0) not in drawn(
        place_map, recognition(place_map, Verdict.AMBIGUOUS), unknown
    )


def test_a_measured_pose_is_the_query_when_no_other_is_known():
    place_map = small_map()
    place = replace(place_map.places[2], pose=Pose((20.0, 1.0, 0.5)))
    covariance = np.diag([4.0, 1.0, 1.0, 0.1, 0.1, 0.1])
    covariance[0, 1] = covariance[1, 0] = 1.0
    measured = RelativePose(PoseKind.METRIC, Pose((2.0, 0.0, 0.0)), covariance)
    found = recognition(place_map)
    best = Candidate(place, 0.9, verification=replace(verified(9, 9), relative=measured))
    markers = drawn(place_map, replace(found, candidates=(best,)))
    assert at(markers['pose', 0]) == [18.0, 1.0, 0.5]
    assert [p.x for p in markers['relative', 0].points] == [18.0, 20.0]
    disc = markers['pose', 1]
    axes = np.sqrt(np.linalg.eigvalsh(covariance[:2, :2]))
    assert sorted([disc.scale.x, disc.scale.y]) == pytest.approx(2 * axes)
    angle = 2 * math.atan2(disc.pose.orientation.z, disc.pose.orientation.w)
    direction = np.array([math.cos(angle), math.sin(angle)])  # of scale.x
    assert direction @ covariance[:2, :2] @ direction == pytest.approx((disc.scale.x / 2) ** 2)


def test_ranks_that_would_cover_each_other_are_left_out():
    place_map = small_map()
    close = [Place(k, 1, k, Pose((20.0 + 0.1 * k, 1.0, 0.0))) for k in range(3)]
    far = Place(9, 1, 9, Pose((50.0, 1.0, 0.0)))
    candidates = tuple(Candidate(place, 0.9) for place in (*close, far))
    markers = drawn(place_map, replace(recognition(place_map), candidates=candidates))
    assert [i for ns, i in markers if ns == 'ranks'] == [0, 3]
    assert len([ns for ns, _ in markers if ns == 'candidates']) == 4


def test_sizes_follow_the_map_within_reason():
    positions = Positions()
    tiny = unit_m(positions)
    positions.look(small_map())
    assert 0 < tiny < unit_m(positions) == pytest.approx(positions.extent_m / 50)
    positions.extent_m *= 1e4
    assert unit_m(positions) < 10


def test_what_is_gone_is_deleted_once():
    place_map, positions, shown = small_map(), Positions(), Shown()
    positions.look(place_map)

    def keys(message, action):
        return {(m.ns, m.id) for m in message.markers if m.action == action}

    lines = paths(HEADER, positions)
    many, few = recognition(place_map), recognition(place_map, Verdict.AMBIGUOUS, rows=(4,))
    both = [answer(HEADER, x, match_of(x, place_map), positions) for x in (many, few)]
    first = shown.message(HEADER, lines, both[0])
    assert not keys(first, Marker.DELETE) and ('paths', 1) in keys(first, Marker.ADD)
    second = shown.message(HEADER, None, both[1])
    gone = keys(first, Marker.ADD) - keys(second, Marker.ADD)
    assert keys(second, Marker.DELETE) == {key for key in gone if key[0] != 'paths'} != set()
    for marker in second.markers:
        check(marker) if marker.action == Marker.ADD else None
    assert not keys(shown.message(HEADER, None, both[1]), Marker.DELETE)
    last = shown.message(HEADER, lines[:1], None)
    assert keys(last, Marker.DELETE) == {('paths', 2)}
