"""Several cameras at once: each place is found by the camera that sees what the map has."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_every_stage import FULL, map_of, model, scene  # noqa: F401

from vpr_ros.config import TemporalConfig
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.recognition.over_time.agreement import NS
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Camera, Place, Pose, Verdict, View

BLACK = np.zeros((240, 320, 3), np.uint8)
BACKWARDS = Pose((-0.2, 0.0, 0.0), tuple(Rotation.from_euler('z', math.pi).as_quat()))
AHEAD = Pose((0.3, 0.0, 0.0))
INTRINSICS = {'size': (240, 320), 'fx': 300.0, 'fy': 300.0, 'cx': 160.0, 'cy': 120.0}
NEW = 100  # a scene that the map does not have


def rig(front, rear):
    return [View(scene(front), 'front'), View(scene(rear), 'rear')]


def test_a_place_is_found_by_the_camera_that_sees_it(model):  # noqa: F811
    recognizer = Recognizer(model, map_of(model), FULL)
    for number, views, camera in ((2, rig(2, NEW), 'front'), (3, rig(NEW, 3), 'rear')):
        answer = recognizer.recognize_views(views, number * 100 * NS)
        assert answer.best.place.stamp_ns == number * NS
        assert answer.best.seen_by == camera
        assert answer.best.similarity == pytest.approx(1.0, abs=1e-3)
        assert answer.best.verification.inliers > 100  # against the image of that camera
        assert answer.verdict is Verdict.ACCEPTED


def test_the_order_of_cameras_does_not_matter(model):  # noqa: F811
    answers = [
        Recognizer(model, map_of(model), FULL).recognize_views(views, NS, attach=True)
        for views in (rig(2, 4), rig(2, 4)[::-1])
    ]
    first, second = ([(c.place.id, c.seen_by) for c in x.candidates] for x in answers)
    assert sorted(first) == sorted(second)
    assert np.array_equal(answers[0].similarities, answers[1].similarities)
    for camera in ('front', 'rear'):
        assert np.array_equal(answers[0].descriptors[camera], answers[1].descriptors[camera])


def test_one_camera_answers_as_before(model):  # noqa: F811
    alone = Recognizer(model, map_of(model), FULL).recognize(scene(2), NS)
    beside_a_blind_one = Recognizer(model, map_of(model), FULL).recognize_views(
        [View(scene(2), ''), View(BLACK, 'rear')], NS
    )
    for one, other in zip(alone.candidates, beside_a_blind_one.candidates, strict=True):
        assert (one.place, one.similarity, one.score) == (
            other.place,
            other.similarity,
            other.score,
        )


def test_all_cameras_blind(model):  # noqa: F811
    views = [View(BLACK, 'front'), View(BLACK, 'rear')]
    answer = Recognizer(model, map_of(model), FULL).recognize_views(views, NS)
    assert answer.verdict is Verdict.BAD_IMAGE and 'black' in answer.reason


def test_every_view_becomes_a_place(model):  # noqa: F811
    place_map = PlaceMap.create(IN_MEMORY, model.name, model.fingerprint, model.descriptor_dim)
    recognizer = Recognizer(model, place_map, FULL, place_map.add_session('now'))
    pose = Pose((1.0, 2.0, 0.0))
    answer = recognizer.recognize_views(rig(0, 1), 5 * NS, pose)
    assert [(p.camera, p.stamp_ns, p.pose) for p in place_map.places] == [
        ('front', 5 * NS, pose), ('rear', 5 * NS, pose)
    ]  # fmt: skip
    assert answer.place == place_map.places[0]
    later = recognizer.recognize_views(rig(2, 0), 60 * NS, Pose((30.0, 2.0, 0.0)))
    assert (later.best.place, later.best.seen_by) == (place_map.places[0], 'rear')


def test_the_own_recent_views_are_all_hidden(model):  # noqa: F811
    place_map = PlaceMap.create(IN_MEMORY, model.name, model.fingerprint, model.descriptor_dim)
    recognizer = Recognizer(model, place_map, FULL, place_map.add_session('now'))
    recognizer.recognize_views(rig(0, 1), 5 * NS)
    again = recognizer.recognize_views(rig(0, 1), 6 * NS)
    assert again.verdict is Verdict.EXCLUDED_RECENT


def mounted_map(model):  # noqa: F811
    place_map = map_of(model)
    for name, base in (('front', AHEAD), ('rear', BACKWARDS)):
        place_map.beside.put_camera(name, Camera(**INTRINSICS, base=base))
    descriptor = model.describe([scene(7)]).descriptor[0].cpu().numpy()
    place_map.add(Place(0, 1, 7 * NS, Pose((5.0, 0.0, 0.0)), 'front'), descriptor)
    return place_map


def test_a_robot_that_comes_back_the_other_way(model):  # noqa: F811
    """The rear camera sees what the front one has mapped: the robot faces backwards there."""
    recognizer = Recognizer(model, mounted_map(model), FULL)
    answer = recognizer.recognize_views(rig(NEW, 7), NS)
    assert (answer.best.seen_by, answer.best.place.camera) == ('rear', 'front')
    there = answer.best.place.pose
    here = there @ answer.assumed.inverse()  # X_from = X_to * T^-1
    cameras = here @ BACKWARDS, there @ AHEAD
    assert cameras[0].distance_m(cameras[1]) < 1e-9
    assert cameras[0].angle_rad(cameras[1]) < 1e-6
    assert here.angle_rad(there) == pytest.approx(math.pi)


def test_unknown_mountings_assume_nothing(model):  # noqa: F811
    place_map = map_of(model)
    answer = Recognizer(model, place_map, FULL).recognize_views(rig(2, NEW), NS)
    assert answer.assumed is None  # the map does not say which camera saw it
    single = Recognizer(model, place_map, FULL).recognize(scene(2), NS)
    assert single.assumed == Pose((0.0, 0.0, 0.0))


def test_places_added_by_others_are_found(model):  # noqa: F811
    place_map = map_of(model, 2)
    recognizer = Recognizer(model, place_map, FULL, place_map.add_session('now'))
    recognizer.recognize(scene(9), 100 * NS)  # the own past: row 2
    merged = place_map.add_session('merged')
    descriptor = model.describe([scene(5)]).descriptor[0].cpu().numpy()
    place_map.add(Place(0, merged, 101 * NS), descriptor)
    recognizer.follow_map()
    assert recognizer.recognize(scene(5), 102 * NS).best.place.session_id == merged
    assert recognizer.recognize(scene(9), 103 * NS).best.place.session_id != recognizer.session_id


def test_settings_change_while_it_runs(model):  # noqa: F811
    recognizer = Recognizer(model, map_of(model), FULL)
    twice = replace(FULL.decision, consistent_frames=2)
    strict = replace(FULL, decision=twice, temporal=TemporalConfig('agreement'))
    recognizer.retune(strict)
    verdicts = [recognizer.recognize(scene(2), k * NS).verdict for k in (1, 2)]
    assert verdicts[0] is Verdict.TEMPORAL_PENDING
    recognizer.retune(FULL)
    assert recognizer.recognize(scene(2), 3 * NS).verdict is Verdict.ACCEPTED
