"""All stages at once, on images: right places pass, strangers do not, and whatever comes is
answered."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vpr_ros.config import (
    DecisionConfig,
    RecognizerConfig,
    RerankingConfig,
    TemporalConfig,
    VerificationConfig,
)
from vpr_ros.errors import ConfigError, MapError
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import build_model, save_checkpoint
from vpr_ros.models.registry import untrained_model
from vpr_ros.recognition.calibration import default_calibrator
from vpr_ros.recognition.over_time.agreement import NS
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.recognition.signals import CHANCE_INLIERS
from vpr_ros.recognition.thumbnails import encode_thumbnail
from vpr_ros.records import Camera, Place, Pose, PoseKind, Verdict

FULL = RecognizerConfig(
    reranking=RerankingConfig('folpp'),
    verification=VerificationConfig(candidates=3),
    temporal=TemporalConfig('none'),
    decision=DecisionConfig(similarity_threshold=0.01, consistent_frames=1),
)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'folpp_test.safetensors'
    save_checkpoint(untrained_model('folpp_test'), path)
    return build_model('folpp_test', 'cpu', path)


def scene(number, shift=0):
    """A wall of boxes; `shift` moves the camera to the right."""
    random = np.random.default_rng(number)
    wall = np.full((240, 400, 3), random.integers(60, 200, 3), np.uint8)
    for _ in range(160):
        x, y = int(random.integers(0, 390)), int(random.integers(0, 230))
        size = random.integers(5, 30, 2)
        colour = tuple(int(v) for v in random.integers(0, 256, 3))
        cv2.rectangle(wall, (x, y), (x + int(size[0]), y + int(size[1])), colour, -1)
    return np.ascontiguousarray(wall[:, shift : shift + 320])


def map_of(model, count=6, local=True, posed=True):
    place_map = PlaceMap.create(IN_MEMORY, model.name, model.fingerprint, model.descriptor_dim)
    session = place_map.add_session('before')
    for number in range(count):
        image = scene(number)
        features = model.describe([image])
        pose = Pose((20.0 * number, 0.0, 0.0)) if posed else None
        kept = features.local if local is True or (local == 'some' and number % 2) else None
        descriptor = features.descriptor[0].cpu().numpy()
        place = Place(0, session, number * NS, pose)
        place_map.add(place, descriptor, encode_thumbnail(image), kept)
    return place_map


def test_a_known_place_passes_every_stage(model):
    recognizer = Recognizer(model, map_of(model), FULL)
    answer = recognizer.recognize(scene(3, 12), 100 * NS)
    assert answer.verdict is Verdict.ACCEPTED, answer.reason
    best = answer.best
    assert best.place.pose.position_m[0] == 60.0
    assert best.verification.inliers > 40 and best.verification.ratio > 0.8
    assert answer.pool >= 1 and best.matches is not None and best.score is not None
    assert 0.0 < answer.probability < 1.0
    assert answer.signals.inliers == best.verification.inliers
    rivals = [x.verification.inliers for x in answer.candidates[1:] if x.verification]
    counts = np.array([best.verification.inliers, max(rivals, default=0)])
    assert answer.signals.margin == pytest.approx(-np.diff(np.log(counts + CHANCE_INLIERS))[0])
    assert 0.0 <= answer.ambiguity <= 1.0
    times = answer.timings
    assert min(times.search_ms, times.rerank_ms, times.verify_ms, times.decide_ms) > 0.0


def test_a_stranger_is_contradicted_by_geometry(model):
    recognizer = Recognizer(model, map_of(model), FULL)
    answers = [recognizer.recognize(scene(50 + k), k * NS) for k in range(5)]
    assert {answer.verdict for answer in answers} == {Verdict.GEOMETRY_FAILED}
    known = recognizer.recognize(scene(2, 5), 100 * NS)
    assert known.probability > max(answer.probability for answer in answers)


def test_geometry_corrects_the_order(model):
    """The network is random: among the best three it puts strangers first now and then."""
    recognizer = Recognizer(model, map_of(model, 12), replace(FULL, reranking=RerankingConfig()))
    alone = Recognizer(
        model, map_of(model, 12),
        replace(FULL, reranking=RerankingConfig(), verification=VerificationConfig(candidates=0)),
    )  # fmt: skip
    right = {recognizer: 0, alone: 0}
    for number in range(12):
        for one in right:
            found = one.recognize(scene(number, 60), number * 100 * NS).best.place
            right[one] += found.pose.position_m[0] == 20.0 * number
    assert right[recognizer] >= right[alone]
    assert right[recognizer] >= 10


def test_a_camera_model_gives_a_relative_pose(model):
    base = Pose((0.0, 0.0, 1.0), (-0.5, 0.5, -0.5, 0.5))  # looking along x
    camera = Camera((240, 320), 300.0, 300.0, 159.5, 119.5, base=base)
    place_map = map_of(model)
    place_map.beside.put_camera('', camera)
    recognizer = Recognizer(model, place_map, FULL)
    relative = recognizer.recognize(scene(3, 12), 100 * NS).best.verification.relative
    # A flat wall shifted sideways looks like a turn or a step: either way the kind is stated.
    assert relative.kind in (PoseKind.ROTATION_ONLY, PoseKind.UP_TO_SCALE)
    assert np.isfinite(relative.covariance).all()
    assert (np.diag(relative.covariance) > 0).all()


def test_depth_makes_the_relative_pose_metric(model):
    """A wall two metres ahead; the camera has moved 12 pixels, so 8 cm, to the right."""
    base = Pose((0.3, 0.0, 1.0), (-0.5, 0.5, -0.5, 0.5))  # 0.3 m before the base, looking along x
    camera = Camera((240, 320), 300.0, 300.0, 159.5, 119.5, base=base)
    place_map = map_of(model)
    place_map.beside.put_camera('', camera)
    recognizer = Recognizer(model, place_map, FULL)
    depth = np.full((240, 320), 2.0, np.float32)
    answer = recognizer.recognize(scene(3, 12), 100 * NS, depth=depth)
    relative = answer.accepted.verification.relative
    assert relative.kind is PoseKind.METRIC
    # The place's base lies to the left of the query's: +y of a base that looks along x.
    np.testing.assert_allclose(relative.pose.position_m, (0.0, 0.08, 0.0), atol=0.015)
    assert relative.pose.angle_rad(Pose((0.0, 0.0, 0.0))) < 0.02
    nothing = recognizer.recognize(scene(3, 14), 101 * NS, depth=np.zeros_like(depth))
    assert nothing.best.verification.relative.kind is not PoseKind.METRIC


def blank(level):
    return np.full((240, 320, 3), level, np.uint8)


@pytest.mark.parametrize('image', [blank(0), blank(128), blank(255), np.zeros((4, 4), np.uint8)])
def test_an_image_that_says_nothing_is_answered_so(model, image):
    recognizer = Recognizer(model, map_of(model, 2), FULL)
    answer = recognizer.recognize(image, NS)
    assert answer.verdict is Verdict.BAD_IMAGE and answer.reason
    assert recognizer.recognize(scene(1, 3), 2 * NS).verdict is Verdict.ACCEPTED


def test_a_frozen_camera_is_no_agreement(model):
    two = replace(
        FULL, decision=replace(FULL.decision, consistent_frames=2), temporal=TemporalConfig()
    )
    recognizer = Recognizer(model, map_of(model), two)
    verdicts = [recognizer.recognize(scene(3), k * NS).verdict for k in range(4)]
    assert set(verdicts) == {Verdict.TEMPORAL_PENDING}  # the same bytes again are no evidence
    assert recognizer.recognize(scene(3, 2), 4 * NS).verdict is Verdict.ACCEPTED
    moving = [
        recognizer.recognize(scene(4), (10 + k) * NS, Pose((0.4 * k, 0.0, 0.0))).verdict
        for k in range(4)
    ]
    assert moving[2:] == [Verdict.BAD_IMAGE] * 2  # 0.8 m without a changed pixel


def test_a_map_with_one_place(model):
    recognizer = Recognizer(model, map_of(model, 1), FULL)
    known = recognizer.recognize(scene(0, 4), NS)
    assert known.verdict is Verdict.ACCEPTED
    assert math.isnan(known.signals.z_score) and math.isnan(known.ambiguity)
    assert 0.0 < known.probability < 1.0
    assert recognizer.recognize(scene(9), 2 * NS).verdict is Verdict.GEOMETRY_FAILED


@pytest.mark.parametrize('local', ['some', False])
@pytest.mark.parametrize('posed', [True, False])
@pytest.mark.parametrize('method', ['none', 'agreement', 'filter', 'sequence'])
def test_places_that_lack_something_are_found_all_the_same(model, local, posed, method):
    config = replace(FULL, temporal=TemporalConfig(method))
    config = replace(config, decision=replace(config.decision, min_support=0.0))
    recognizer = Recognizer(model, map_of(model, 6, local, posed), config)
    for number in range(6):
        answer = recognizer.recognize(scene(number, 3), number * NS)
        assert answer.verdict is Verdict.ACCEPTED, answer.reason
        assert answer.best.place.stamp_ns == number * NS


def test_a_map_without_thumbnails_is_not_contradicted_for_it(model):
    place_map = PlaceMap.create(IN_MEMORY, model.name, model.fingerprint, model.descriptor_dim)
    session = place_map.add_session('before')
    descriptor = model.describe([scene(1)]).descriptor[0].cpu().numpy()
    place_map.add(Place(0, session, 0), descriptor)
    answer = Recognizer(model, place_map, FULL).recognize(scene(1), NS)
    assert answer.verdict is Verdict.ACCEPTED, answer.reason


def test_a_promise_that_the_data_do_not_allow_is_refused_at_the_start(model):
    strict = replace(FULL, decision=DecisionConfig(max_false_closure_rate=0.001))
    with pytest.raises(ConfigError, match=r'max_false_closure_rate 0.001 cannot be promised'):
        Recognizer(model, map_of(model, 1), strict)
    by_hand = replace(FULL, decision=DecisionConfig(min_probability=0.05, consistent_frames=1))
    answer = Recognizer(model, map_of(model, 3), by_hand).recognize(scene(1, 3), NS)
    assert answer.verdict is Verdict.ACCEPTED
    assert answer.reason.startswith('probability')


def test_a_calibrator_of_another_model_or_garbled_is_refused(model):
    place_map = map_of(model, 1)
    place_map.beside.put_calibrator('{}')
    with pytest.raises(MapError, match='calibrator'):
        Recognizer(model, place_map, FULL)


def test_what_was_not_verified_is_judged_by_similarities_alone(model):
    """Not by a calibrator that knows geometry as a rule, at geometry's average."""
    place_map = map_of(model, 14)  # rivals enough for a z-score
    config = replace(FULL, decision=replace(FULL.decision, similarity_threshold=0.999999))
    answer = Recognizer(model, place_map, config).recognize(scene(3, 12), 100 * NS)
    assert answer.verdict is Verdict.LOW_SIMILARITY
    assert answer.best.verification is None and not answer.best.tried
    assert answer.probability == default_calibrator(verified=False).probability(answer.signals)
    assert answer.probability != default_calibrator(verified=True).probability(answer.signals)
    config = replace(config, verification=replace(config.verification, below_threshold=True))
    thorough = Recognizer(model, place_map, config).recognize(scene(3, 12), 100 * NS)
    assert thorough.verdict is Verdict.LOW_SIMILARITY
    assert thorough.best.verification.inliers > 40
    assert thorough.probability > answer.probability
