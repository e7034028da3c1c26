"""Places of the live session moved to where a closed loop says that they are."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from vpr_msgs.srv import MovePlaces
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.nodes.outputs.messages import NS, to_pose, to_time
from vpr_ros.nodes.services.move_places import move_places
from vpr_ros.records import Place, Pose


@pytest.fixture
def place_map(tmp_path):
    """Places 1 to 3 of an earlier session, then 4 to 8 of session 2; all at the origin but one."""
    path, rng = tmp_path / 'a.vprmap', np.random.default_rng(0)
    with PlaceMap.create(path, 'sage_test', 'f' * 64, 8) as made:
        for k in range(8):
            descriptor = rng.normal(size=8).astype(np.float32)
            pose = None if k == 7 else Pose((0.0, 0.0, 0.0))
            place = Place(0, 1 if k < 3 else 2, (10 + k) * NS, pose)
            made.add(place, descriptor / np.linalg.norm(descriptor))
        made.commit()
        yield made


def node(place_map, mode='map'):
    """As much of a Responder as the service touches."""
    told = SimpleNamespace(changes=0, errors=[], retuned=[])

    def changed():
        told.changes += 1

    recognizer = SimpleNamespace(place_map=place_map, session_id=2, config=None)
    recognizer.retune = told.retuned.append
    told.config = SimpleNamespace(mode=mode)
    told.recognizer, told.map_changed, told.failed = recognizer, changed, told.errors.append
    return told


def request(samples):
    """Of seconds and positions along x."""
    return MovePlaces.Request(
        stamps=[to_time(round(s * NS)) for s, _ in samples],
        poses=[to_pose(Pose((float(x), 0.0, 0.0))) for _, x in samples],
    )


def xs(place_map):
    return [None if x.pose is None else x.pose.position_m[0] for x in place_map.places]


def test_places_of_the_live_session_move_between_the_stamps(place_map):
    revision, live = place_map.info.revision, node(place_map)
    answer = move_places(live, request([(12.0, 0.0), (14.0, 4.0), (15.5, 7.0)]))
    assert (answer.result, answer.moved) == (answer.SUCCESS, 3)
    assert xs(place_map) == pytest.approx([0, 0, 0, 2, 4, 6, 0, None])
    assert place_map.info.revision == revision + 1
    assert live.changes == len(live.retuned) == 1
    with PlaceMap.open(place_map.path, None) as again:
        assert xs(again) == pytest.approx([0, 0, 0, 2, 4, 6, 0, None])


def test_turns_are_interpolated(place_map):
    half = Pose((0.0, 0.0, 0.0), (0.0, 0.0, math.sin(math.pi / 4), math.cos(math.pi / 4)))
    asked = request([(13.0, 0.0), (15.0, 0.0)])
    asked.poses[1] = to_pose(half)
    move_places(node(place_map), asked)
    turned = place_map.places[4].pose
    assert turned.angle_rad(Pose((0.0, 0.0, 0.0))) == pytest.approx(math.pi / 4)


def test_nobody_is_told_where_nothing_moved(place_map):
    live = node(place_map)
    answer = move_places(live, request([(100.0, 0.0), (101.0, 1.0)]))
    assert (answer.result, answer.moved, live.changes) == (answer.SUCCESS, 0, 0)


def test_a_map_that_is_only_read_is_not_moved(place_map):
    answer = move_places(node(place_map, 'localize'), request([(12.0, 0.0), (14.0, 4.0)]))
    assert answer.result == answer.WRONG_MODE
    assert 'localize' in answer.message
    assert xs(place_map)[3] == 0


def fewer():
    asked = request([(12.0, 0.0), (14.0, 1.0)])
    asked.poses.pop()
    return asked


def unsound(**values):
    asked = request([(12.0, 0.0), (14.0, 1.0)])
    for name, value in values.items():
        setattr(asked.poses[1].position, name, value)
    return asked


def unturned():
    asked = request([(12.0, 0.0), (14.0, 1.0)])
    asked.poses[0].orientation.w = 0.0
    return asked


@pytest.mark.parametrize(
    ('asked', 'words'),
    [
        (request([]), 'as many poses'),
        (fewer(), 'as many poses'),
        (request([(14.0, 0.0), (12.0, 1.0)]), 'rise'),
        (request([(12.0, 0.0), (12.0, 1.0)]), 'rise'),
        (unsound(y=math.nan), 'finite'),
        (unsound(z=math.inf), 'finite'),
        (unturned(), 'finite'),
    ],
)
def test_what_is_no_path_moves_nothing(place_map, asked, words):
    live = node(place_map)
    answer = move_places(live, asked)
    assert answer.result == answer.INVALID_DATA
    assert words in answer.message
    assert xs(place_map)[3] == 0
    assert not live.errors


def test_one_pose_is_a_path(place_map):
    answer = move_places(node(place_map), request([(14.0, 5.0)]))
    assert answer.moved == 1
    assert xs(place_map)[4] == 5


def test_what_fails_unexpectedly_is_an_answer_too(place_map, monkeypatch):
    monkeypatch.setattr(place_map, 'move', lambda poses: 1 / 0)
    live = node(place_map)
    answer = move_places(live, request([(12.0, 0.0), (14.0, 4.0)]))
    assert answer.result == answer.UNDEFINED
    assert 'ZeroDivisionError' in answer.message
    assert live.errors
