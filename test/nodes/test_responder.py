"""Every image gets an answer, whatever it is and whatever goes wrong."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from pictures import NS, image_message, texture
from rclpy.logging import get_logger
from rclpy.serialization import serialize_message

from vpr_ros.config import DecisionConfig, KeyframeConfig, NodeConfig
from vpr_ros.errors import ConfigError, DeviceError, MapError, MapWriteError
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import build_model
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.nodes.inputs.odometry import PoseBuffer
from vpr_ros.nodes.inputs.received import Received
from vpr_ros.nodes.responder import Outlets, Responder
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Place, Pose, Verdict

DRIVE = NodeConfig(
    mode='map',
    decision=DecisionConfig(consistent_frames=2, exclude_recent_s=5.0, exclude_recent_m=0.0),
    keyframes=KeyframeConfig(period_s=1.0),
)


ONE = NodeConfig(decision=DecisionConfig(consistent_frames=1))


class Desk:
    """A responder, and what it has sent."""

    def __init__(self, model, config=DRIVE):
        self.matches, self.closures, self.poses, self.descriptors = [], [], [], []
        place_map = PlaceMap.create(
            IN_MEMORY, model.name, model.fingerprint, model.descriptor_dim, config.map_frame
        )
        session = None if config.mode == 'localize' else place_map.add_session('live')
        self.recognizer = Recognizer(model, place_map, config, session)
        outlets = Outlets(
            self.matches.append, self.closures.append, self.poses.append, self.descriptors.append
        )
        self.responder = Responder(config, self.recognizer, outlets, get_logger('desk'))

    @property
    def places(self):
        return self.recognizer.place_map.places

    def answer(self, message, dropped=0):
        return self.answer_bytes(serialize_message(message), dropped=dropped)

    def answer_bytes(self, *data, dropped=0):
        now_s = time.perf_counter()
        received = [
            Received(name, one, now_s)
            for name, one in zip(self.responder.config.cameras, data, strict=True)
        ]
        self.responder.handle(Arrival(tuple(received), 1.0, dropped))
        return self.matches[-1]


@pytest.fixture(scope='module')
def model(weights):
    return build_model('sage_test', 'cpu', weights)


@pytest.fixture
def desk(model):
    return Desk(model)


def drive(desk, numbers):
    return [Verdict(desk.answer(image_message(n, k)).status) for k, n in enumerate(numbers)]


def test_a_loop_is_closed_and_strangers_are_not(desk):
    out, back = list(range(10)), [2, 3, 4, 5]
    verdicts = drive(desk, [*out, *back, 77, 78])
    assert verdicts[0] is Verdict.NO_MAP
    assert Verdict.ACCEPTED not in verdicts[:10]
    assert (
        verdicts[10:]
        == [Verdict.TEMPORAL_PENDING] + [Verdict.ACCEPTED] * 3 + [Verdict.LOW_SIMILARITY] * 2
    )
    assert [(c.from_stamp.sec, c.to_stamp.sec) for c in desk.closures] == [
        (11, 3),
        (12, 4),
        (13, 5),
    ]
    assert [c.closure_id for c in desk.closures] == [0, 1, 2]
    assert {c.kind for c in desk.closures} == {0}  # within the session
    assert [m.query_id for m in desk.matches] == list(range(16))


def test_what_happened_is_counted(desk):
    drive(desk, [0, 1])
    desk.answer(image_message(2, 2.0), dropped=3)
    figures = desk.responder.statistics.figures()
    assert (figures.answered, figures.dropped) == (3, 3)
    assert figures.verdicts == {Verdict.NO_MAP: 1, Verdict.EXCLUDED_RECENT: 2}
    desk.responder.reset()
    assert desk.responder.statistics.figures().answered == 0


def test_what_comes_next_is_made_ready_after_the_answer(desk, monkeypatch):
    sent = []
    monkeypatch.setattr(desk.recognizer, 'look_ahead', lambda: sent.append(len(desk.matches)))
    drive(desk, [0, 1, 2])
    assert sent == [1, 2, 3]


def test_a_bad_image_is_refused_with_the_reason(desk):
    message = image_message(0)
    message.encoding = 'octarine8'
    match = desk.answer(message)
    assert match.status == Verdict.BAD_IMAGE and 'octarine8' in match.status_text
    assert not desk.places
    assert desk.answer(image_message(0, 1.0)).status == Verdict.NO_MAP


def test_a_failure_of_ours_is_answered_and_the_next_image_is_too(desk, monkeypatch, capfd):
    def broken(*_, **__):
        raise ZeroDivisionError('ours')

    monkeypatch.setattr(desk.recognizer, 'recognize_views', broken)
    match = desk.answer(image_message(0))
    assert (match.status, match.status_text) == (Verdict.ERROR, 'ours')
    assert 'ZeroDivisionError: ours' in capfd.readouterr().err
    monkeypatch.undo()
    assert desk.answer(image_message(0, 1.0)).status == Verdict.NO_MAP


def test_a_map_that_cannot_be_written_is_told_in_one_sentence(desk, monkeypatch):
    def full(*_):
        raise MapError('no space left')

    monkeypatch.setattr(desk.recognizer.place_map, 'add', full)
    match = desk.answer(image_message(0))
    assert (match.status, match.status_text) == (Verdict.ERROR, 'no space left')


def test_poses_are_recorded_with_the_places(desk):
    poses = PoseBuffer(0.5)
    desk.responder.poses = poses.at
    for second in range(4):
        poses.put(second * NS, Pose((10.0 * second, 0.0, 0.0)))
        desk.answer(image_message(second, second + 0.1))
    assert [place.pose.position_m[0] for place in desk.places] == [0.0, 10.0, 20.0, 30.0]
    assert desk.places[-1].travelled_m == 30.0


def localizing(model, **settings):
    """A desk that searches the pictures 0 to 9, at 0 to 90 m."""
    desk = Desk(model, replace(ONE, **settings))
    session = desk.recognizer.place_map.add_session('before')
    for number in range(10):
        descriptor = model.describe([texture(number)]).descriptor[0].numpy()
        place = Place(0, session, number * NS, Pose((10.0 * number, 0.0, 0.0)))
        desk.recognizer.place_map.add(place, descriptor)
    desk.recognizer.follow_map()
    return desk


def test_the_pose_is_published_when_accepted(model):
    desk = localizing(model)
    assert drive(desk, [3, 77]) == [Verdict.ACCEPTED, Verdict.LOW_SIMILARITY]
    (pose,) = desk.poses
    assert (pose.header.frame_id, pose.header.stamp) == ('map', desk.matches[0].header.stamp)
    assert pose.pose.pose.position.x == 30.0
    assert np.linalg.eigvalsh(pose.pose.covariance.reshape(6, 6)).min() > 0.0


def test_descriptors_on_request(model):
    desk = localizing(model, publish_descriptor=True)
    match = desk.answer(image_message(3, 5.0))
    (message,) = desk.descriptors
    assert (message.query_id, message.header.stamp.sec) == (match.query_id, 5)
    found = np.frombuffer(message.data.tobytes(), '<f2').astype(np.float32)
    expected = model.describe([texture(3)]).descriptor[0].numpy()
    assert message.dim == len(found) and np.allclose(found, expected, atol=1e-3)
    drive(localizing(model), [3])
    assert len(desk.descriptors) == 1


def test_a_question_leaves_the_live_queries_alone(model):
    desk = localizing(model, decision=replace(ONE.decision, consistent_frames=2))
    assert drive(desk, [3]) == [Verdict.TEMPORAL_PENDING]
    asked = desk.responder.query(image_message(7), top_k=3)
    assert (asked.status, len(asked.candidates)) == (Verdict.ACCEPTED, 3)
    assert asked.candidates[0].stamp.sec == 7
    again = image_message(3, 1.0)
    again.data[0] ^= 1  # the very same image would be no new evidence
    match = desk.answer(again)
    assert (match.query_id, match.status) == (1, Verdict.ACCEPTED)


def test_images_are_looked_at_at_the_rate_and_the_distance_asked_for(model):
    desk = localizing(model, query_rate=2.0)
    for k in range(40):
        desk.responder.handle(
            Arrival((Received('', serialize_message(image_message(k, 1 + k / 10)), 0.0),), 0.0, 1)
        )
    assert len(desk.matches) == 8
    assert sum(m.images_dropped for m in desk.matches) == pytest.approx(40, abs=5)
    desk.responder.retune(replace(desk.responder.config, query_rate=0.0))
    assert desk.answer(image_message(3, 5.01)).status == Verdict.ACCEPTED


def test_a_paused_node_looks_at_nothing(model):
    desk = localizing(model)
    desk.responder.paused = True
    with pytest.raises(IndexError):
        desk.answer(image_message(3, 1.0))
    desk.responder.paused = False
    assert desk.answer(image_message(3, 2.0)).status == Verdict.ACCEPTED


def test_thresholds_change_while_it_runs(model):
    desk = localizing(model)
    strict = replace(ONE, decision=replace(ONE.decision, consistent_frames=3))
    desk.responder.check(strict)
    desk.responder.retune(strict)
    assert desk.answer(image_message(3, 1.0)).required_frames == 3
    impossible = replace(ONE, decision=replace(ONE.decision, max_false_closure_rate=0.01))
    with pytest.raises(ConfigError):
        desk.responder.check(impossible)


def test_another_map_from_now_on(model):
    desk, other = localizing(model), localizing(model)
    told = []
    desk.responder.map_changed = lambda: told.append(desk.responder.place_map)
    desk.responder.use(other.recognizer.place_map)
    match = desk.answer(image_message(3, 1.0))
    assert told == [other.recognizer.place_map]
    assert match.map_uuid == other.recognizer.place_map.info.uuid
    assert match.status == Verdict.ACCEPTED


def test_an_image_that_is_too_old(model):
    desk = localizing(model, max_image_age_s=2.0)
    now = desk.responder._now_ns()
    match = desk.answer(image_message(3, now / NS - 60.0))
    assert match.status == Verdict.BAD_IMAGE and 's old' in match.status_text
    assert desk.answer(image_message(3, now / NS)).status == Verdict.ACCEPTED


def test_two_cameras_one_answer(model):
    desk = localizing(model, cameras=('front', 'rear'))
    ahead, behind = image_message(88, 1.0, 'front_optical'), image_message(4, 1.01, 'rear_optical')
    match = desk.answer_bytes(serialize_message(ahead), serialize_message(behind))
    assert (match.camera, match.header.frame_id) == ('rear', 'rear_optical')
    assert match.candidates[0].stamp.sec == 4 and match.candidates[0].seen_by == 'rear'
    ahead.encoding = 'octarine8'
    match = desk.answer_bytes(serialize_message(ahead), serialize_message(behind))
    assert match.camera == 'rear'  # one eye is better than none


def test_a_lost_device_is_told(desk, monkeypatch):
    def lost(*_, **__):
        raise DeviceError('the GPU is gone')

    monkeypatch.setattr(desk.recognizer, 'recognize_views', lost)
    assert desk.answer(image_message(0)).status == Verdict.ERROR
    assert str(desk.responder.device_error) == 'the GPU is gone'


def test_nothing_is_recorded_in_mode_localize(model):
    desk = Desk(model, replace(DRIVE, mode='localize'))
    assert set(drive(desk, range(3))) == {Verdict.NO_MAP}
    assert not desk.places


def test_a_growing_map_is_committed_in_time(desk, monkeypatch):
    now = [0.0]
    monkeypatch.setattr('vpr_ros.nodes.responder.time.monotonic', lambda: now[0])
    desk.responder._committed_s = 0.0
    desk.answer(image_message(0))
    desk.responder.commit_when_due()
    assert desk.recognizer.place_map.info.revision == 0
    now[0] = DRIVE.autosave_s
    desk.responder.commit_when_due()
    assert desk.recognizer.place_map.info.revision == 1


def test_a_map_that_cannot_be_saved_is_told_until_it_can(desk, monkeypatch):
    def full():
        raise MapWriteError('the disk is full')

    desk.responder._committed_s = -math.inf
    with monkeypatch.context() as patch, pytest.raises(MapWriteError):
        patch.setattr(desk.recognizer.place_map, 'commit', full)
        desk.responder.commit_when_due()
    assert desk.responder.unsaved == 'the disk is full'
    desk.responder._committed_s = -math.inf
    desk.responder.commit_when_due()
    assert desk.responder.unsaved == ''


def test_stamps_of_zero_and_of_the_past_are_answered(desk):
    for second in (100.0, 0.0, 99.0, 101.0):
        match = desk.answer(image_message(0, second))
        assert match.header.stamp.sec == second
        assert match.status in (Verdict.NO_MAP, Verdict.EXCLUDED_RECENT, Verdict.TEMPORAL_PENDING)
    stamps = [place.stamp_ns for place in desk.places]
    assert stamps == sorted(stamps) and stamps[0] == 100 * NS
