"""Every image gets an answer, whatever it is and whatever goes wrong."""

from dataclasses import replace

import numpy as np
import pytest
from pictures import NS, image_message, odometry_message, pose_message
from rclpy.logging import get_logger
from rclpy.serialization import serialize_message

from vpr_ros.config import DecisionConfig, KeyframeConfig, NodeConfig
from vpr_ros.errors import MapError
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import build_model
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.nodes.responder import Outlets, Responder
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Verdict

DRIVE = NodeConfig(
    mode='map',
    decision=DecisionConfig(consistent_frames=2, exclude_recent_s=5.0, exclude_recent_m=0.0),
    keyframes=KeyframeConfig(period_s=1.0),
)


class Desk:
    """A responder, and what it has sent."""

    def __init__(self, model, config=DRIVE):
        self.matches, self.closures = [], []
        place_map = PlaceMap.create(
            IN_MEMORY, model.name, model.fingerprint, model.descriptor_dim, config.map_frame
        )
        session = None if config.mode == 'localize' else place_map.add_session('live')
        self.recognizer = Recognizer(model, place_map, config, session, config.camera)
        outlets = Outlets(self.matches.append, self.closures.append)
        self.responder = Responder(config, self.recognizer, outlets, get_logger('desk'))

    @property
    def places(self):
        return self.recognizer.place_map.places

    def answer(self, message, dropped=0):
        self.responder.handle(Arrival(serialize_message(message), 1.0, dropped))
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


def test_figures_count_what_happened(desk):
    drive(desk, [0, 1])
    desk.answer(image_message(2, 2.0), dropped=3)
    figures = desk.responder.figures()
    assert figures['images processed'] == '3'
    assert figures['images dropped for a newer one'] == '3'
    assert (figures['no_map'], figures['excluded_recent']) == ('1', '2')
    assert (figures['mode'], figures['places']) == ('map', '3')
    assert figures['device'].startswith('cpu, ')
    assert float(figures['mean wait, ms']) == pytest.approx(1.0)
    assert '3 images answered, 0 accepted' in desk.responder.summary()


def test_a_bad_image_is_refused_with_the_reason(desk):
    message = image_message(0)
    message.encoding = 'octarine8'
    match = desk.answer(message)
    assert match.status == Verdict.BAD_IMAGE and 'octarine8' in match.status_text
    assert not desk.places
    assert desk.answer(image_message(0, 1.0)).status == Verdict.NO_MAP


def test_a_failure_of_ours_is_answered_and_the_next_image_is_too(desk, monkeypatch, capfd):
    def broken(*_):
        raise ZeroDivisionError('ours')

    monkeypatch.setattr(desk.recognizer, 'describe', broken)
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


@pytest.mark.parametrize('make', [pose_message, odometry_message])
def test_poses_are_recorded_with_the_places(desk, make):
    for second in range(4):
        desk.responder.take_pose(make(10.0 * second, second))
        desk.answer(image_message(second, second + 0.1))
    assert [place.pose.position_m[0] for place in desk.places] == [0.0, 10.0, 20.0, 30.0]
    assert desk.places[-1].travelled_m == 30.0


def test_poses_that_are_not_finite_are_dropped(desk):
    desk.responder.take_pose(pose_message(np.nan, 0.0))
    desk.answer(image_message(0))
    assert desk.places[0].pose is None


@pytest.mark.parametrize(('frame', 'posed'), [('map', True), ('odom', False)])
def test_a_map_is_not_extended_with_poses_of_another_frame(model, frame, posed, capfd):
    desk = Desk(model, replace(DRIVE, mode='both'))
    desk.responder.take_pose(pose_message(1.0, 0.0, frame))
    desk.answer(image_message(0))
    assert (desk.places[0].pose is not None) == posed
    assert ("poses are in frame 'odom' and the map in 'map'" in capfd.readouterr().err) != posed


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
    now[0] = DRIVE.map_commit_s
    desk.responder.commit_when_due()
    assert desk.recognizer.place_map.info.revision == 1


def test_stamps_of_zero_and_of_the_past_are_answered(desk):
    for second in (100.0, 0.0, 99.0, 101.0):
        match = desk.answer(image_message(0, second))
        assert match.header.stamp.sec == second
        assert match.status in (Verdict.NO_MAP, Verdict.EXCLUDED_RECENT, Verdict.TEMPORAL_PENDING)
    stamps = [place.stamp_ns for place in desk.places]
    assert stamps == sorted(stamps) and stamps[0] == 100 * NS
