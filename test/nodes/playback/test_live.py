"""Two processes over DDS: what was driven before is recognised, what was not is not."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from pictures import image_message, odometry_message, write_messages
from waiting import eventually

from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import BagError, ConfigError, RosError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models.registry import MODELS, bundled_weights
from vpr_ros.nodes.playback.live import run_live
from vpr_ros.nodes.playback.node_arguments import Topics
from vpr_ros.nodes.playback.node_process import MODULE, node_process
from vpr_ros.nodes.playback.player import Player
from vpr_ros.nodes.playback.replay import OwnTiming, play
from vpr_ros.nodes.session import spinning_node
from vpr_ros.nodes.transport import free_domain_id, process_environment
from vpr_ros.synthetic.bag import write_bag
from vpr_ros.synthetic.demo import plan_demo
from vpr_ros.synthetic.town import Town

DRIVE = Topics('/camera/image_raw', '/odom')
SOURCES = Path(__file__).resolve().parents[2]
START_S = 120.0


@pytest.fixture
def unsettled():
    """Here there are two processes, which need their time to find each other."""


def drive(path, numbers, start_s):
    """A recording with one picture and one pose a second, ten metres apart."""
    messages = []
    for k, number in enumerate(numbers):
        second = start_s + k
        messages.append(('/odom', odometry_message(10.0 * k, second), second))
        messages.append(('/camera/image_raw', image_message(number, second), second))
    return write_messages(path, messages)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def settings(weights, **other):
    return {'model.name': 'sage_test', 'model.weights': str(weights), **other}


@pytest.fixture(scope='module')
def mapped(tmp_path_factory, weights):
    """A first drive round ten places and on past three of them again, and what came of it."""
    folder = tmp_path_factory.mktemp('first')
    path = folder / 'office.vprmap'
    bag = drive(folder / 'drive', [*range(10), 2, 3, 4], 100)
    given = settings(
        weights,
        mode='map',
        map=str(path),
        **{'decision.consistent_frames': 1, 'decision.exclude_recent_s': 4.0},
    )
    return path, run_live(bag, given, folder / 'out', DRIVE, lockstep=True)


def test_a_first_drive_makes_a_map_and_closes_its_loop(mapped):
    path, result = mapped
    assert (result.images, result.answered, result.exit_code) == (13, 13, 0)
    closures = [
        (c['from_stamp_ns'] // 10**9, c['to_stamp_ns'] // 10**9, c['kind'])
        for c in lines(result.closures_file)
    ]
    assert closures == [(110, 102, 0), (111, 103, 0), (112, 104, 0)]
    with PlaceMap.open(path, fingerprint=None) as place_map:
        xs = [place.pose.position_m[0] for place in place_map.places]
    assert xs == [10.0 * k for k in range(13)]
    assert not path.with_name(path.name + '-wal').exists()  # closed, one file to copy


def test_a_second_drive_is_recognised_and_strangers_are_not(mapped, tmp_path, weights):
    path, _ = mapped
    strangers, known = [90, 91, 92], [5, 6, 7, 8]
    bag = drive(tmp_path / 'drive', [*strangers, *known, *strangers], 5000)
    given = settings(weights, map=str(path), **{'decision.consistent_frames': 2})
    given['decision.consistent_distance_m'] = 15.0
    done = []
    result = run_live(
        bag, given, tmp_path / 'out', DRIVE, lockstep=True, progress=lambda *x: done.append(x)
    )
    matches = lines(result.matches_file)
    assert (result.images, result.answered, result.exit_code) == (10, 10, 0)
    stranger = ['LOW_SIMILARITY'] * 3
    assert [m['status'] for m in matches] == [
        *stranger, 'TEMPORAL_PENDING', *['ACCEPTED'] * 3, *stranger,
    ]  # fmt: skip
    assert [m['position_m'] and m['position_m'][0] for m in matches[4:7]] == [60.0, 70.0, 80.0]
    assert [c['kind'] for c in lines(result.closures_file)] == [1, 1, 1]
    assert (result.accepted, result.closures, result.dropped) == (3, 3, 0)
    assert 0 < result.latency_ms['p50'] <= result.latency_ms['max']
    assert done[-1] == (20, 20)
    with PlaceMap.open(path, fingerprint=None) as place_map:
        assert len(place_map) == 13  # localising records nothing


def test_what_is_wrong_is_told_before_or_by_the_node(mapped, tmp_path, weights):
    bag = drive(tmp_path / 'drive', [0], 0)
    with pytest.raises(ConfigError, match='no such setting'):
        run_live(bag, {'mod': 'map'}, tmp_path / 'a', DRIVE)
    with pytest.raises(BagError, match='/rear'):
        run_live(bag, settings(weights), tmp_path / 'b', Topics('/rear'))
    with pytest.raises(BagError, match='carries sensor_msgs/msg/Image; expected one of'):
        run_live(bag, settings(weights), tmp_path / 'b', Topics('/camera/image_raw', DRIVE.image))
    with pytest.raises(RosError, match='ended with exit code 1: cannot configure: no map at'):
        run_live(bag, settings(weights, map='nowhere.vprmap'), tmp_path / 'c', DRIVE)
    (tmp_path / 'd').write_text('a file')
    with pytest.raises(ConfigError, match='d is a file: expected a folder for answers'):
        run_live(bag, settings(weights), tmp_path / 'd', DRIVE)


@pytest.fixture
def process(tmp_path, weights):
    """The node as a process that records a map, and a node here that can talk to it."""
    path = tmp_path / 'new.vprmap'
    given = settings(weights, mode='map', map=path, autosave_s=0.1)
    arguments = [x for name, value in given.items() for x in ('-p', f'{name}:={value}')]
    arguments += ['-r', 'image:=/camera/image_raw']
    environment = process_environment(free_domain_id())

    @contextmanager
    def start(*more):
        with (
            spinning_node('camera', environment) as here,
            node_process([*arguments, *more], environment, tmp_path / 'log') as node,
        ):
            yield node, here, path

    return start


def play_to(node, here, folder):
    with open_bag(drive(folder / 'drive', range(5), 0)) as bag:
        player = Player(here, bag, ['/camera/image_raw'])
        player.wait_for_subscriber(START_S, node.check)
        play(bag, player, OwnTiming(20.0))


def request(client, transition, timeout_s=START_S):
    """Ask for a transition; None when there is no answer: rclpy 7 gives none out of turn."""
    assert client.wait_for_service(START_S)
    done = threading.Event()
    future = client.call_async(ChangeState.Request(transition=Transition(label=transition)))
    future.add_done_callback(lambda _: done.set())
    return future.result().success if done.wait(timeout_s) else None


def test_driven_by_services_and_ended_by_sigterm(process, tmp_path):
    with process() as (node, here, path):
        client = here.create_client(ChangeState, '/place_recognition/change_state')
        assert not request(client, 'activate', 2.0)  # out of turn
        assert request(client, 'configure')
        assert request(client, 'activate')
        play_to(node, here, tmp_path)
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(START_S) == 0
    assert not path.with_name(path.name + '-wal').exists()  # closed, one file to copy
    assert committed(path)


def test_a_map_survives_sigkill(process, tmp_path):
    with process('-p', 'autostart:=true') as (node, here, path):
        play_to(node, here, tmp_path)
        eventually(lambda: committed(path))
        node.process.kill()
        assert node.process.wait(START_S) == -signal.SIGKILL
    with PlaceMap.open(path, fingerprint=None, writable=True) as place_map:
        assert 0 < len(place_map) <= 5


def committed(path):
    """How many places another process finds in the file."""
    with sqlite3.connect(path) as database:
        return database.execute('SELECT count(*) FROM places').fetchone()[0]


ENDS = {
    'unknown argument': (['--mode', 'map'], 2, 'unknown argument --mode'),
    'unknown ROS argument': (
        ['--ros-args', '--mode', 'map'],
        2,
        "wrong arguments: ['--mode', 'map']",
    ),
    'no parameter file': (['--ros-args', '--params-file', 'nowhere.yaml'], 2, 'nowhere.yaml'),
    'cannot start': (
        ['--ros-args', '-p', 'autostart:=true', '-p', 'model.weights:=nowhere.safetensors'],
        1,
        'cannot configure: no weights at nowhere.safetensors',
    ),
}


def test_exit_codes_and_one_sentence():
    environment = process_environment(free_domain_id())
    running = {
        name: subprocess.Popen(
            [sys.executable, '-m', MODULE, *arguments],
            env={**environment, 'PYTHONPATH': str(SOURCES)}, stderr=subprocess.PIPE, text=True,
        )
        for name, (arguments, _, _) in ENDS.items()
    }  # fmt: skip
    for name, (_, code, told) in ENDS.items():
        _, errors = running[name].communicate(timeout=START_S)
        assert (name, running[name].returncode) == (name, code)
        assert told in errors
        assert 'Traceback' not in errors


def thinned(drive, step=8):
    """Every so many-th image of a drive: enough to recognise, quick to draw."""
    arrays = {
        f.name: getattr(drive, f.name)[::step]
        for f in fields(drive)
        if isinstance(getattr(drive, f.name), np.ndarray)
    }
    return replace(drive, **arrays)


def test_sage_nano_on_the_demo_drives(tmp_path):
    """The real model, live on the drives of `vpr demo`: known streets are, new ones are not.

    Needs the weights that are bundled with sage_nano.
    """
    weights = bundled_weights(MODELS['sage_nano'].bundled)
    if not weights.is_file():
        pytest.skip(f'NEEDS WEIGHTS: {weights.name} is not in the package')
    town = Town.build(3)
    first, second = (thinned(drive) for drive in plan_demo(town, 3))
    topics = Topics('/camera/image_raw/compressed', '/ground_truth/pose')
    # In lockstep an image is answered before the pose of its own stamp is played.
    mapping = {'mode': 'map', 'map': str(tmp_path / 'town.vprmap'), 'pose.max_gap_s': 1.0}
    again = {'map': mapping['map'], 'decision.consistent_distance_m': 20.0}
    results = [
        run_live(write_bag(tmp_path / name, town, drive), given, tmp_path / f'{name}_out', topics,
                 lockstep=True)
        for name, drive, given in [('first', first, mapping), ('second', second, again)]
    ]  # fmt: skip
    assert [r.answered for r in results] == [len(first), len(second)]
    distance_m = np.linalg.norm(second.positions_m[:, None] - first.positions_m[None], axis=2)
    turn = np.abs(np.angle(np.exp(1j * np.subtract.outer(yaw(second), yaw(first)))))
    known = ((distance_m < 8.0) & (turn < 0.5)).any(axis=1)
    new = distance_m.min(axis=1) > 30.0
    answers = lines(results[1].matches_file)
    accepted = np.array([answer['status'] == 'ACCEPTED' for answer in answers])
    assert known.sum() > 20 and new.sum() > 5
    assert accepted[known].mean() > 0.1
    assert not accepted[new].any()
    stated = [k for k in np.flatnonzero(accepted) if answers[k]['position_m'] is not None]
    assert len(stated) >= 0.8 * accepted.sum()
    for k in stated:
        assert np.linalg.norm(second.positions_m[k] - answers[k]['position_m']) < 30.0


def yaw(drive):
    return drive.angles_rad[:, 2]
