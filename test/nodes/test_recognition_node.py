"""Transitions: each failure is one sentence and FAILURE, and can be put right."""

import sqlite3
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from conftest import weights_of_chance
from diagnostic_msgs.msg import DiagnosticStatus
from pictures import image_message
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from waiting import WAIT_S, eventually

from vpr_msgs.msg import VprStatus
from vpr_ros.errors import DeviceError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import build_model
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.nodes.inputs.received import Received
from vpr_ros.nodes.outputs.diagnostics import diagnostics
from vpr_ros.nodes.outputs.status import state_of
from vpr_ros.records import Place

OK = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR


def state_name(node):
    return node._state_machine.current_state[1]


def make_map(path, weights):
    model = build_model('sage_test', 'cpu', weights)
    with PlaceMap.create(path, model.name, model.fingerprint, model.descriptor_dim) as place_map:
        descriptor = np.eye(model.descriptor_dim, dtype=np.float32)[0]
        place_map.add(Place(0, place_map.add_session('before'), 1), descriptor)
    return str(path)


@pytest.fixture
def office(tmp_path, weights):
    return make_map(tmp_path / 'office.vprmap', weights)


def errors(capfd):
    return [line for line in capfd.readouterr().err.splitlines() if '[ERROR]' in line]


def bad_map_name(folder, office, weights, other):
    return {'map': str(folder / 'nowhere.vprmap')}, 'no map at', {'map': office}


def no_map_name(folder, office, weights, other):
    return {}, 'mode localize needs a map', {'map': office}


def no_map_to_extend(folder, office, weights, other):
    return {'mode': 'both'}, 'mode both needs a map', {'map': office}


def foreign_map(folder, office, weights, other):
    foreign = make_map(folder / 'foreign.vprmap', other)
    return {'map': foreign}, 'was made with sage_test:', {'map': office}


def no_map_at_all(folder, office, weights, other):
    (folder / 'text.vprmap').write_text('hello')
    return {'map': str(folder / 'text.vprmap')}, 'not a readable map', {'map': office}


def map_there_already(folder, office, weights, other):
    return {'mode': 'map', 'map': office}, 'exists already: use mode both', {'mode': 'both'}


def no_folder_for_the_map(folder, office, weights, other):
    path = str(folder / 'nowhere' / 'new.vprmap')
    return {'mode': 'map', 'map': path}, 'cannot write a map', {'map': str(folder / 'new.vprmap')}


def no_weights_file(folder, office, weights, other):
    given = {'map': office, 'model.weights': str(folder / 'none.safetensors')}
    return given, 'no weights at', {'model.weights': str(weights)}


def no_weights(folder, office, weights, other):
    return {'map': office, 'model.weights': ''}, 'no weights yet', {'model.weights': str(weights)}


def damaged_weights(folder, office, weights, other):
    path = folder / 'half.safetensors'
    path.write_bytes(Path(weights).read_bytes()[:1000])
    given = {'map': office, 'model.weights': str(path)}
    return given, 'not a safetensors file', {'model.weights': str(weights)}


def no_such_model(folder, office, weights, other):
    return (
        {'map': office, 'model.name': 'alexnet'},
        "no model 'alexnet'",
        {'model.name': 'sage_test'},
    )


def bad_value(folder, office, weights, other):
    given = {'map': office, 'decision.similarity_threshold': 2.0}
    told = 'parameter decision.similarity_threshold: expected at most 1'
    return given, told, {'decision.similarity_threshold': 0.5}


def bad_type(folder, office, weights, other):
    return {'map': office, 'search.top_k': 'all'}, 'parameter search.top_k', {'search.top_k': 5}


def bad_choice(folder, office, weights, other):
    return {'map': office, 'mode': 'guess'}, 'parameter mode', {'mode': 'localize'}


def empty_frame(folder, office, weights, other):
    given = {'map': office, 'base_frame': ''}
    return given, 'parameter base_frame is empty', {'base_frame': 'base_link'}


MISTAKES = [
    bad_map_name,
    no_map_name,
    no_map_to_extend,
    foreign_map,
    no_map_at_all,
    map_there_already,
    no_folder_for_the_map,
    no_weights_file,
    no_weights,
    damaged_weights,
    no_such_model,
    bad_value,
    bad_type,
    bad_choice,
    empty_frame,
]


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_one_sentence_and_can_be_corrected(
    mistake, make_node, tmp_path, office, weights, other_weights, capfd
):
    given, told, correction = mistake(tmp_path, office, weights, other_weights)
    node = make_node(**given)
    assert node.trigger_configure() == FAILURE
    assert state_name(node) == 'unconfigured'
    (line,) = errors(capfd)
    assert told in line and 'cannot configure: ' in line
    assert 'Traceback' not in line
    corrected = node.set_parameters([Parameter(k, value=v) for k, v in correction.items()])
    assert all(result.successful for result in corrected)
    assert node.trigger_configure() == OK
    assert node.trigger_activate() == OK


def test_a_parameter_that_there_is_not_is_refused(make_node, office, capfd):
    node = make_node(map=office, **{'decision.treshold': 0.5})
    assert node.trigger_configure() == FAILURE
    (line,) = errors(capfd)
    assert 'there is no parameter decision.treshold' in line


def test_weights_without_threshold_need_one(make_node, tmp_path, capfd):
    path = weights_of_chance(tmp_path / 'a.safetensors', threshold=None)
    settings = {'mode': 'map', 'map': str(tmp_path / 'new.vprmap')}
    node = make_node(**settings, **{'model.weights': str(path)})
    assert node.trigger_configure() == FAILURE
    assert 'set decision.similarity_threshold' in errors(capfd)[0]
    assert not (tmp_path / 'new.vprmap').exists()  # nothing is in the way of the next attempt
    assert node.set_parameters([Parameter('decision.similarity_threshold', value=0.9)])
    assert node.trigger_configure() == OK


def subscribed(node):
    return {s.topic_name for s in node.subscriptions} & {'/image', '/odom', '/image/compressed'}


@pytest.mark.parametrize(
    ('settings', 'topics'),
    [
        ({}, {'/image'}),
        ({'image_transport': 'compressed'}, {'/image/compressed'}),
        ({'pose_input': 'odometry'}, {'/image', '/odom'}),
        ({'pose_input': 'pose'}, {'/image', '/odom'}),
    ],
)
def test_subscriptions_exist_only_while_active(make_node, settings, topics):
    node = make_node(mode='map', **settings)
    for _ in range(2):
        assert node.trigger_configure() == OK and not subscribed(node)
        for _ in range(2):
            assert node.trigger_activate() == OK and subscribed(node) == topics
            assert node.trigger_deactivate() == OK and not subscribed(node)
        assert node.trigger_cleanup() == OK
    assert state_name(node) == 'unconfigured'
    assert node.responder is None


TOPICS = {
    'place_match', 'loop_closure', 'pose', 'descriptor', 'map_info', 'status', 'markers',
    'map_cloud', 'debug_image', 'diagnostics',
}  # fmt: skip


def published(node):
    return {p.topic_name.rpartition('/')[-1] for p in node.publishers}


def test_clean_up_gives_back_publishers_timer_and_map(make_node, tmp_path):
    path = tmp_path / 'new.vprmap'
    node = make_node(mode='map', map=str(path))
    before = published(node)
    assert node.trigger_configure() == OK
    assert published(node) - before == TOPICS
    assert path.exists() and list(node.timers) and list(node.services)
    assert node.trigger_cleanup() == OK
    assert published(node) == before and not list(node.timers)
    assert not path.exists()  # it stayed empty


def test_mode_both_extends_the_map_by_a_session(make_node, office):
    node = make_node(mode='both', map=office)
    assert node.trigger_configure() == OK
    received = Received('', serialize_message(image_message(3, 7.0)), 0.0)
    node.worker.ask(lambda: node.responder.handle(Arrival((received,), 0.0, 0))).wait(WAIT_S)
    assert node.trigger_cleanup() == OK
    with PlaceMap.open(office, fingerprint=None) as place_map:
        assert [place.stamp_ns for place in place_map.places] == [1, 7 * 10**9]
        sessions = [(name, source) for _, name, source, _ in place_map.sessions()]
    assert sessions == [('before', ''), ('live', '/image')]


def test_a_map_that_somebody_else_writes_is_refused(make_node, office, monkeypatch, capfd):
    monkeypatch.setattr(sqlite3, 'connect', partial(sqlite3.connect, timeout=0.1))
    with PlaceMap.open(office, fingerprint=None, writable=True) as place_map:
        place_map.add_session('other')
        node = make_node(mode='both', map=office)
        assert node.trigger_configure() == FAILURE
    assert 'database is locked' in errors(capfd)[0]
    assert node.trigger_configure() == OK


@pytest.mark.parametrize('steps', [0, 1, 2])
def test_shutdown_from_every_state(make_node, steps):
    node = make_node(mode='map')
    for trigger in [node.trigger_configure, node.trigger_activate][:steps]:
        assert trigger() == OK
    assert node.trigger_shutdown() == OK
    assert state_name(node) == 'finalized'
    assert not subscribed(node) and node.responder is None


def test_an_error_of_ours_leaves_its_traceback_and_the_node_usable(make_node, monkeypatch, capfd):
    node = make_node(mode='map')

    def broken(*_):
        raise ZeroDivisionError('ours')

    monkeypatch.setattr('vpr_ros.nodes.recognition_node.warm_up', broken)
    assert node.trigger_configure() == ERROR
    assert state_name(node) == 'unconfigured'
    told = capfd.readouterr().err
    assert 'Traceback' in told and 'ZeroDivisionError: ours' in told
    monkeypatch.undo()
    assert node.trigger_configure() == OK


def test_a_failed_activation_is_undone(make_node, monkeypatch):
    node = make_node(mode='map', pose_input='odometry')
    assert node.trigger_configure() == OK

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr('vpr_ros.nodes.recognition_node.ImageInput', broken)
    assert node.trigger_activate() == ERROR
    assert state_name(node) == 'unconfigured' and not subscribed(node)


def set_one(node, name, value):
    return node.set_parameters([Parameter(name, value=value)])[0]


def test_thresholds_change_at_run_time_and_what_needs_reloading_says_so(make_node):
    node = make_node(mode='map')
    assert node.trigger_configure() == OK
    refused = set_one(node, 'model.name', 'sage_vitb')
    assert not refused.successful and 'deactivate and clean it up' in refused.reason
    assert set_one(node, 'decision.consistent_frames', 7).successful
    same = {'mode': 'map', 'cameras': [''], 'decision.consistent_frames': 7}  # a file, once more
    loaded = node.set_parameters_atomically([Parameter(k, value=v) for k, v in same.items()])
    assert loaded.successful, loaded.reason
    eventually(lambda: node.responder.recognizer.config.decision.consistent_frames == 7)
    impossible = set_one(node, 'decision.max_false_closure_rate', 0.01)
    assert not impossible.successful and 'cannot be promised' in impossible.reason
    assert node.responder.config.decision.max_false_closure_rate == 0.0
    assert node.trigger_cleanup() == OK
    assert set_one(node, 'model.name', 'sage_vitb').successful


@pytest.mark.parametrize(
    ('transports', 'settings', 'warned'),
    [
        ('LARGE_DATA', {}, False),
        ('DEFAULT', {}, True),
        ('DEFAULT', {'image_transport': 'compressed'}, False),
    ],
)
def test_one_is_warned_of_transports_that_lose_images(
    make_node, monkeypatch, capfd, transports, settings, warned
):
    node = make_node(mode='map', **settings)
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', transports)
    assert node.trigger_configure() == OK
    assert ('default transports' in capfd.readouterr().err) == warned


def told(node):
    """Diagnostics and status as they would be published now."""
    situation = node._reporter.situation()
    array = diagnostics('robot', situation, Time())
    return {x.name: x for x in array.status}, state_of(situation)


def test_diagnostics_name_the_silent_topic(make_node, capfd):
    node = make_node(mode='map', input_timeout_s=0.1)
    assert node.trigger_configure() == OK
    assert told(node)[1][0] == VprStatus.INACTIVE
    assert node.trigger_activate() == OK
    assert told(node)[1][0] == VprStatus.MAPPING
    time.sleep(0.2)
    entries, (state, _) = told(node)
    assert state == VprStatus.STALE_INPUT
    silent = entries['robot: input /image']
    assert silent.level == DiagnosticStatus.ERROR
    assert silent.message.startswith('no image on /image, which nobody publishes')
    assert 'no image on /image' in capfd.readouterr().err


def test_reports_go_on_when_lost_images_are_followed_by_silence(make_node, capfd):
    node = make_node(mode='map', input_timeout_s=0.1)
    assert node.start()
    node.flows[''].lost += 3
    node._reporter.report()
    time.sleep(0.2)
    node._reporter.report()
    said = capfd.readouterr().err
    assert 'are lost on the way' in said and 'no image on /image' in said


def test_poses_that_were_asked_for_and_do_not_come_are_told(make_node, capfd):
    node = make_node(mode='map', pose_input='odometry', input_timeout_s=0.1)
    assert node.start()
    for _ in range(2):
        node.worker.ask(lambda: node.responder.poses(10**9)).wait(WAIT_S)
        time.sleep(0.15)
    node.inputs[0].flow.arrived()
    entries, (state, text) = told(node)
    assert (state, entries['robot: poses /odom'].level) == (
        VprStatus.DEGRADED,
        DiagnosticStatus.ERROR,
    )
    assert 'no pose on /odom, which nobody publishes' in text
    assert text in capfd.readouterr().err
    assert node.trigger_deactivate() == OK
    assert 'robot: poses /odom' not in told(node)[0]


def test_a_clock_that_never_starts_is_told(make_node, capfd):
    node = make_node(mode='map', use_sim_time=True)
    assert node.start()
    node.inputs[0].flow.arrived()
    entries, (state, text) = told(node)
    assert state == VprStatus.DEGRADED and 'play the recording with --clock' in text
    assert entries['robot: recognition'].level == DiagnosticStatus.WARN
    assert text in capfd.readouterr().err
    clock = next(s for s in node.subscriptions if s.topic_name == '/clock')
    clock.callback(Clock(clock=Time(sec=5)))
    node.inputs[0].flow.arrived()
    entries, (state, _) = told(node)
    assert state == VprStatus.MAPPING
    assert entries['robot: recognition'].level == DiagnosticStatus.OK


def test_images_too_late_for_the_other_camera_are_told(make_node):
    node = make_node(mode='map', cameras=['front', 'rear'])
    assert node.start()
    front = next(s for s in node.subscriptions if s.topic_name == '/front/image')
    rear = next(s for s in node.subscriptions if s.topic_name == '/rear/image')
    for second in (1.0, 1.1, 1.2):
        front.callback(serialize_message(image_message(1, second)))
    rear.callback(serialize_message(image_message(1, 1.0)))
    entries, (state, text) = told(node)
    assert state == VprStatus.DEGRADED and '/rear/image come after those' in text
    assert entries['robot: input /rear/image'].level == DiagnosticStatus.WARN
    assert entries['robot: input /front/image'].level == DiagnosticStatus.OK


def test_a_lost_device_takes_the_node_down_and_it_comes_back(make_node, capfd):
    node = make_node(mode='map')
    assert node.start()
    node.responder.failed(DeviceError('the GPU is gone'))
    node._reporter._tick()
    assert state_name(node) == 'unconfigured' and not subscribed(node)
    assert 'the GPU is gone: the node goes down' in capfd.readouterr().err
    assert node.start()


def test_several_cameras_have_their_own_topics(make_node):
    node = make_node(mode='map', cameras=['front', 'rear'])
    assert node.start()
    topics = {s.topic_name for s in node.subscriptions}
    assert topics >= {'/front/image', '/rear/image', '/front/camera_info', '/rear/camera_info'}


def test_a_camera_is_named_once(make_node, capfd):
    node = make_node(mode='map', cameras=['front', 'front'])
    assert node.trigger_configure() == FAILURE
    assert 'every name once' in errors(capfd)[0]
