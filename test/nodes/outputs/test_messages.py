"""Messages state what we know and nothing else: no NaN, no empty frame, no zero covariance."""

import math
from dataclasses import replace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from std_msgs.msg import Header

from vpr_msgs.msg import LoopClosure, PlaceMatch
from vpr_ros.config import NodeConfig, VerificationConfig
from vpr_ros.maps.place_map import MapInfo
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.nodes.outputs.messages import (
    Signature,
    descriptors,
    loop_closure,
    place_match,
    pose_from_message,
    stamp_ns,
    to_time,
)
from vpr_ros.records import (
    Candidate,
    Place,
    Pose,
    PoseKind,
    Recognition,
    RelativePose,
    Timings,
    Verdict,
    Verification,
)

INFO = MapInfo('uuid', 7, 'sage_test', 'ab' * 32, 40, 'map', 1, '2026')
SIGNATURE = Signature(NodeConfig(cameras=('front', 'rear')), 'sage_test:abab', 0.75, INFO)
HEADER = Header(stamp=to_time(12_345_678_901), frame_id='camera_optical_frame')
ARRIVAL = Arrival(b'', waited_ms=3.5, dropped=2)
POSED = Place(5, 1, 1_000_000_000, Pose((1.0, 2.0, 3.0), (0.0, 0.0, 0.6, 0.8)), 'front')
UNPOSED = Place(6, 2, 2_000_000_000)


def recognition(verdict, *places, **other):
    candidates = tuple(
        Candidate(place, 0.9 - 0.1 * k, seen_by='front') for k, place in enumerate(places)
    )
    other = {'assumed': Pose((0.0, 0.0, 0.0)), **other}
    timings = Timings(1.0, 2.0, 3.0)
    return Recognition(4, 12_345_678_901, verdict, 'why', candidates, 3, timings, **other)


def answer(verdict, *places, header=HEADER, **other):
    return place_match(recognition(verdict, *places, **other), header, ARRIVAL, SIGNATURE)


def closed(found, session=None):
    match = place_match(found, HEADER, ARRIVAL, SIGNATURE)
    return loop_closure(found, match, 11, session, SIGNATURE)


def verified(inliers, matches, relative=None, tried=False):
    points = np.zeros((matches, 2), np.float32)
    found = Verification(
        'sift', 'pnp_depth', points, points, np.arange(matches) < inliers, relative=relative
    )
    return replace(recognition(Verdict.ACCEPTED), candidates=(
        Candidate(POSED, 0.9, 1.5, 7, found, tried=True), Candidate(UNPOSED, 0.8, tried=tried)),
        probability=0.97,
        ambiguity=0.25)  # fmt: skip


def check_sound(covariance):
    matrix = np.reshape(covariance, (6, 6))
    assert np.isfinite(matrix).all() and (np.diag(matrix) > 0).all()


@pytest.mark.parametrize('nanoseconds', [0, 1, 999_999_999, 10**18 + 1, -1, -(10**9)])
def test_stamps_survive(nanoseconds):
    assert stamp_ns(to_time(nanoseconds)) == nanoseconds


def test_the_status_values_are_those_of_the_message():
    for verdict in Verdict:
        assert getattr(PlaceMatch, f'STATUS_{verdict.name}') == verdict


def test_an_accepted_match_says_where():
    match = answer(Verdict.ACCEPTED, POSED, UNPOSED)
    assert match.header == HEADER
    assert (match.query_id, match.status, match.status_text) == (4, 0, 'why')
    assert (match.camera, match.map_frame, match.map_uuid) == ('front', 'map', 'uuid')
    assert (match.map_revision, match.model_id) == (7, 'sage_test:abab')
    assert match.similarity_threshold == pytest.approx(0.75)
    assert match.consistent_frames == 3
    assert match.required_frames == SIGNATURE.config.decision.consistent_frames
    assert match.pose_valid
    assert match.pose.pose.position.y == 2.0 and match.pose.pose.orientation.w == 0.8
    check_sound(match.pose.covariance)
    assert (match.images_dropped, match.queue_ms) == (2, 3.5)
    assert (match.preprocess_ms, match.inference_ms, match.search_ms) == (1.0, 2.0, 3.0)
    assert not match.recorded


def test_candidates_keep_their_order_and_their_evidence():
    first, second = answer(Verdict.ACCEPTED, POSED, UNPOSED).candidates
    assert (first.rank, first.place_id, first.session_id, first.camera) == (0, 5, 1, 'front')
    assert (second.rank, second.place_id, stamp_ns(second.stamp)) == (1, 6, 2_000_000_000)
    assert first.similarity == pytest.approx(0.9)
    assert first.place_pose_valid and not second.place_pose_valid
    for candidate in (first, second):
        check_sound(candidate.place_pose.covariance)


@pytest.mark.parametrize('verdict', [v for v in Verdict if v is not Verdict.ACCEPTED])
def test_a_refused_match_claims_no_pose(verdict):
    match = answer(verdict, POSED)
    assert match.status == verdict and not match.pose_valid
    assert match.pose.pose.orientation.w == 1.0
    check_sound(match.pose.covariance)


def test_no_pose_of_the_place_no_pose_of_the_robot():
    assert not answer(Verdict.ACCEPTED, UNPOSED).pose_valid


def test_an_image_without_frame_gets_the_one_of_the_settings():
    match = answer(Verdict.NO_MAP, header=Header(stamp=HEADER.stamp))
    assert match.header.frame_id == NodeConfig().camera_frame
    assert match.header.stamp == HEADER.stamp


def test_a_recorded_image_names_its_place():
    match = answer(Verdict.NO_MAP, place=POSED)
    assert match.recorded and match.recorded_place_id == 5


@pytest.mark.parametrize(
    ('place', 'session', 'kind', 'pose_kind'),
    [
        (POSED, 1, LoopClosure.KIND_INTRA_SESSION, LoopClosure.POSE_FROM_MAP),
        (POSED, 9, LoopClosure.KIND_INTER_SESSION, LoopClosure.POSE_FROM_MAP),
        (UNPOSED, None, LoopClosure.KIND_INTER_SESSION, LoopClosure.POSE_NONE),
    ],
)
def test_a_closure_is_keyed_by_stamps_and_says_what_its_pose_is(place, session, kind, pose_kind):
    closure = closed(recognition(Verdict.ACCEPTED, place), session)
    assert (closure.closure_id, closure.from_id, closure.to_id) == (11, 4, place.id)
    assert closure.header.stamp == closure.from_stamp == HEADER.stamp
    assert stamp_ns(closure.to_stamp) == place.stamp_ns
    assert (closure.to_session, closure.kind) == (place.session_id, kind)
    assert closure.header.frame_id == 'base_link'
    assert (closure.pose_kind, closure.method) == (pose_kind, 'retrieval')
    assert closure.relative_pose.pose.orientation.w == 1.0
    assert closure.similarity == pytest.approx(0.9)
    assert (closure.map_uuid, closure.model_id) == ('uuid', 'sage_test:abab')
    check_sound(closure.relative_pose.covariance)


def test_evidence_is_told():
    match = place_match(verified(30, 40), HEADER, ARRIVAL, SIGNATURE)
    assert match.probability == pytest.approx(0.97) and match.ambiguity == 0.25
    first, second = match.candidates
    assert (first.verification, first.matches, first.inliers) == (first.VERIFY_PASSED, 40, 30)
    assert first.inlier_ratio == 0.75 and first.score == 1.5
    assert second.verification == second.VERIFY_NOT_TRIED and math.isnan(second.score)
    for counts in ((3, 40), (0, 0)):
        match = place_match(verified(*counts, tried=True), HEADER, ARRIVAL, SIGNATURE)
        assert match.candidates[0].verification == first.VERIFY_FAILED
        assert match.candidates[1].verification == second.VERIFY_UNAVAILABLE
    off = replace(SIGNATURE.config, verification=VerificationConfig(candidates=0))
    bare = place_match(
        recognition(Verdict.ACCEPTED, POSED), HEADER, ARRIVAL, replace(SIGNATURE, config=off)
    )
    assert bare.candidates[0].verification == first.VERIFY_NOT_TRIED
    closure = closed(verified(30, 40))
    assert (closure.matches, closure.inliers, closure.inlier_ratio) == (40, 30, 0.75)
    assert closure.probability == pytest.approx(0.97)


def test_a_measured_pose_is_told_with_its_kind_and_places_the_robot():
    motion = Pose((2.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))  # the place lies two metres ahead
    covariance = np.diag([0.1, 0.2, 0.3, 0.01, 0.02, 0.03])
    measured = RelativePose(PoseKind.METRIC, motion, covariance)
    closure = closed(verified(30, 40, measured))
    assert (closure.pose_kind, closure.method) == (LoopClosure.POSE_METRIC, 'pnp_depth')
    assert closure.relative_pose.pose.position.x == 2.0
    np.testing.assert_allclose(closure.relative_pose.covariance, covariance.ravel())
    match = place_match(verified(30, 40, measured), HEADER, ARRIVAL, SIGNATURE)
    robot, place = pose_from_message(PoseStamped(pose=match.pose.pose)), POSED.pose
    np.testing.assert_allclose((robot @ motion).matrix(), place.matrix(), atol=1e-9)
    turned = np.reshape(match.pose.covariance, (6, 6))
    np.testing.assert_allclose(np.linalg.eigvalsh(turned[:3, :3]), [0.1, 0.2, 0.3], atol=1e-9)
    direction = RelativePose(PoseKind.UP_TO_SCALE, motion, covariance)
    assert closed(verified(30, 40, direction)).pose_kind == LoopClosure.POSE_UP_TO_SCALE
    match = place_match(verified(30, 40, direction), HEADER, ARRIVAL, SIGNATURE)
    assert match.pose.pose.position.x == POSED.pose.position_m[0]  # one metre is not a measure


def test_a_camera_that_looks_back_turns_the_robot_round():
    """The rear camera found what the front one had seen: the place's base, in the query's."""
    turned = Pose((-0.5, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))
    found = recognition(Verdict.ACCEPTED, POSED, assumed=turned)
    match = place_match(found, HEADER, ARRIVAL, SIGNATURE)
    here = pose_from_message(PoseStamped(pose=match.pose.pose))
    np.testing.assert_allclose((here @ turned).matrix(), POSED.pose.matrix(), atol=1e-9)
    closure = closed(found)
    assert closure.pose_kind == LoopClosure.POSE_FROM_MAP
    assert pose_from_message(PoseStamped(pose=closure.relative_pose.pose)) == turned


def test_cameras_of_unknown_mounting_say_nothing_of_the_heading():
    found = recognition(Verdict.ACCEPTED, POSED, assumed=None)
    for covariance in (
        place_match(found, HEADER, ARRIVAL, SIGNATURE).pose.covariance,
        closed(found).relative_pose.covariance,
    ):
        check_sound(covariance)
        assert covariance[35] == pytest.approx(math.pi**2)


def test_descriptors_are_rounded_to_half_precision():
    values = np.linspace(-1.0, 1.0, 8).astype(np.float32)
    found = recognition(Verdict.NO_MAP, descriptors={'front': values, 'rear': -values})
    match = place_match(found, HEADER, ARRIVAL, SIGNATURE)
    front, rear = descriptors(found, match)
    assert (front.camera, rear.camera, front.dim) == ('front', 'rear', 8)
    assert front.encoding == front.FLOAT16
    np.testing.assert_allclose(np.frombuffer(rear.data.tobytes(), '<f2'), -values, atol=1e-3)


@pytest.mark.parametrize('make', [PoseStamped, PoseWithCovarianceStamped, Odometry])
def test_poses_are_read_from_every_type(make):
    message = make()
    pose = message.pose if make is PoseStamped else message.pose.pose
    pose.position.x = 4.0
    pose.orientation.z = pose.orientation.w = 1.0  # not of unit length
    read = pose_from_message(message)
    assert read.position_m == (4.0, 0.0, 0.0)
    assert read.quaternion == pytest.approx((0.0, 0.0, 0.5**0.5, 0.5**0.5))


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_pose_that_is_not_finite_is_none(value):
    message = PoseStamped()
    message.pose.position.y = value
    assert pose_from_message(message) is None


def test_a_quaternion_of_zeros_is_none():
    message = PoseStamped()
    message.pose.orientation.w = 0.0
    assert pose_from_message(message) is None
