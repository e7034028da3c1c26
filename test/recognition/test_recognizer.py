"""The front door: it finds what it has seen, not what it has just seen, and always answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vpr_ros.config import DecisionConfig, KeyframeConfig, RecognizerConfig
from vpr_ros.errors import ConfigError
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import build_model, save_checkpoint
from vpr_ros.recognition.described import Described, Query
from vpr_ros.recognition.over_time.agreement import NS
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Place, Pose, Verdict

CONFIG = RecognizerConfig(
    decision=DecisionConfig(
        similarity_threshold=0.9, consistent_frames=2, exclude_recent_s=10.0, exclude_recent_m=0.0
    ),
    keyframes=KeyframeConfig(distance_m=0.5, angle_rad=0.0, period_s=0.5),
)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('weights') / 'test.safetensors'
    save_checkpoint(build_model('sage_test', device='cpu'), path)
    return build_model('sage_test', device='cpu', weights=path)


def ask(recognizer, descriptor, stamp_ns, pose=None):
    return recognizer.answer(Query((Described(descriptor),), stamp_ns, pose))


def empty_map(model):
    return PlaceMap.create(IN_MEMORY, model.name, model.fingerprint, model.descriptor_dim)


def unit(angle, model):
    """Descriptors on a circle: similarity is the cosine of the angle between them."""
    vector = np.zeros(model.descriptor_dim, np.float32)
    vector[:2] = np.cos(angle), np.sin(angle)
    return vector


def known_map(model, angles, posed=True):
    place_map = empty_map(model)
    session = place_map.add_session('before')
    for i, angle in enumerate(angles):
        pose = Pose((float(i), 0.0, 0.0)) if posed else None
        place_map.add(Place(0, session, i * NS, pose), unit(angle, model))
    return place_map


def test_localisation(model):
    recognizer = Recognizer(model, known_map(model, np.linspace(0, 3, 31)), CONFIG)
    answers = [ask(recognizer, unit(0.1 * i, model), (100 + i) * NS) for i in range(4)]
    assert [a.verdict for a in answers] == [Verdict.TEMPORAL_PENDING] + [Verdict.ACCEPTED] * 3
    assert [a.best.place.pose.position_m[0] for a in answers] == [0, 1, 2, 3]
    assert [a.query_id for a in answers] == [0, 1, 2, 3]
    assert all(len(a.candidates) == CONFIG.search.top_k for a in answers)
    assert len(recognizer.place_map) == 31  # nothing is recorded while localising
    stranger = ask(recognizer, np.roll(unit(0, model), 5), 105 * NS)
    assert stranger.verdict is Verdict.LOW_SIMILARITY
    assert stranger.accepted is None and stranger.best is not None


def test_mapping_closes_loops_but_not_with_the_own_wake(model):
    place_map = empty_map(model)
    recognizer = Recognizer(model, place_map, CONFIG, place_map.add_session('now'))
    angles = [*np.linspace(0, 2, 15), *np.linspace(0, 0.5, 4)]  # out, then the start again
    answers = [
        ask(recognizer, unit(a, model), i * NS, Pose((float(i), 0, 0)))
        for i, a in enumerate(angles)
    ]
    assert answers[0].verdict is Verdict.NO_MAP
    assert {a.verdict for a in answers[1:10]} == {Verdict.EXCLUDED_RECENT}
    assert all(a.verdict is Verdict.LOW_SIMILARITY for a in answers[10:15])
    assert answers[16].verdict is Verdict.ACCEPTED
    assert answers[16].best.place.stamp_ns < 6 * NS
    for answer in answers:
        for candidate in answer.candidates:
            assert answer.stamp_ns - candidate.place.stamp_ns >= 10 * NS
    assert [a.place.id for a in answers] == list(range(1, 20))


def test_recent_past_by_distance(model):
    far = replace(CONFIG, decision=replace(CONFIG.decision, exclude_recent_m=5.0))
    place_map = empty_map(model)
    recognizer = Recognizer(model, place_map, far, place_map.add_session('now'))
    for i in range(40):  # creeps: 40 s, but only 4 m
        answer = ask(recognizer, unit(0, model), i * NS, Pose((0.1 * i, 0, 0)))
    assert answer.verdict is Verdict.EXCLUDED_RECENT
    answer = ask(recognizer, unit(0, model), 41 * NS, Pose((5.6, 0, 0)))
    assert answer.candidates
    assert all(c.place.pose.position_m[0] <= 0.61 for c in answer.candidates)


@pytest.mark.parametrize('unknown', [(np.nan, 0.0, 0.0), (0.0, np.inf, 0.0)])
def test_a_pose_that_is_not_finite_is_not_known(model, unknown):
    far = replace(CONFIG, decision=replace(CONFIG.decision, exclude_recent_m=5.0))
    place_map = empty_map(model)
    recognizer = Recognizer(model, place_map, far, place_map.add_session('now'))
    ask(recognizer, unit(0, model), 0, Pose((0.0, 0.0, 0.0)))
    assert ask(recognizer, unit(0, model), 1 * NS, Pose(unknown)).place.pose is None
    # The way since then is still counted: 20 s later, but only 1 m on.
    answer = ask(recognizer, unit(0, model), 21 * NS, Pose((1.0, 0.0, 0.0)))
    assert answer.verdict is Verdict.EXCLUDED_RECENT
    assert answer.place.travelled_m == 1.0


def test_both_searches_the_old_map_at_once(model):
    place_map = known_map(model, [0.0, 1.0])
    recognizer = Recognizer(model, place_map, CONFIG, place_map.add_session('now'))
    answer = ask(recognizer, unit(1.0, model), 0, Pose((0, 0, 0)))
    assert answer.best.similarity > 0.999
    assert [c.place.session_id for c in answer.candidates] == [1, 1]
    assert answer.place.session_id == 2


def test_standing_still_adds_no_places(model):
    place_map = empty_map(model)
    recognizer = Recognizer(model, place_map, CONFIG, place_map.add_session('now'))
    for i in range(20):
        ask(recognizer, unit(0, model), i * NS, Pose((0.0, 0.0, 0.0)))
    assert len(place_map) == 1


def test_a_bad_image_is_answered(model):
    recognizer = Recognizer(model, empty_map(model), CONFIG)
    answer = recognizer.recognize(np.zeros((4, 4), np.uint8), 7)
    assert answer.verdict is Verdict.BAD_IMAGE
    assert 'expected an RGB image' in answer.reason
    assert answer.stamp_ns == 7


def test_clock_jumping_back_ends_agreement_and_keeps_order(model):
    place_map = known_map(model, [0.0])
    recognizer = Recognizer(model, place_map, CONFIG, place_map.add_session('now'))
    verdicts = [
        ask(recognizer, unit(0, model), stamp * NS).verdict for stamp in (100, 101, 50, 51)
    ]
    assert verdicts == [Verdict.TEMPORAL_PENDING, Verdict.ACCEPTED] * 2
    stamps = [place.stamp_ns for place in place_map.places[1:]]
    assert stamps == sorted(stamps)


def test_same_image_recognised_through_pixels(model):
    rng = np.random.default_rng(0)
    images = [
        np.kron(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((20, 20, 1), np.uint8))
        for _ in range(5)
    ]
    place_map = empty_map(model)
    recognizer = Recognizer(model, place_map, CONFIG, place_map.add_session('now'))
    for i, image in enumerate(images):
        recognizer.recognize(image, i * NS, Pose((float(i), 0, 0)))
    answer = recognizer.recognize(images[2], 60 * NS, Pose((60.0, 0, 0)))
    assert answer.best.place.id == 3
    assert answer.best.similarity > 0.999
    assert answer.timings.inference_ms > 0
    thumbnail = place_map.thumbnail(3)
    assert thumbnail[:2] == b'\xff\xd8'


def test_without_any_threshold_it_refuses_to_start(model):
    with pytest.raises(ConfigError, match='similarity threshold'):
        Recognizer(model, empty_map(model), RecognizerConfig())
