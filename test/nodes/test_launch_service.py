"""Launch files run by launch itself, where there is a ROS installation and the package in it."""

import runpy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from lifecycle_msgs.srv import GetState
from pictures import image_message, odometry_message, write_messages
from small_views import write_textures
from waiting import WAIT_S

from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.nodes.playback.replay import replay
from vpr_ros.nodes.session import spinning_node

FOLDER = Path(__file__).resolve().parents[2] / 'launch'
NAMES = sorted(path.name.partition('.')[0] for path in FOLDER.glob('*.launch.py'))
TOPIC = '/camera/image_raw'
LISTENING = f'listening to {TOPIC}'  # logged by a node that becomes active
LAUNCH_S = 4 * WAIT_S  # torch, twice, on a busy machine


@pytest.fixture
def unsettled():
    """Here there are two processes, which need their time to find each other."""


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    """Five pictures, 30 metres apart."""
    messages = []
    for k in range(5):
        messages.append(('/odom', odometry_message(30.0 * k, k), k))
        messages.append((TOPIC, image_message(k, k), k))
    return write_messages(tmp_path_factory.mktemp('bag') / 'monday', messages)


def params_file(folder, weights, **settings):
    given = {'model': {'name': 'sage_test', 'weights': str(weights)}, **settings}
    path = folder / 'params.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': given}}))
    return str(path)


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Run a launch file; skipped where there is no ROS installation."""
    reason = 'NEEDS A ROS INSTALLATION: launch and launch_ros are not on PyPI'
    pytest.importorskip('launch.actions', reason=reason)
    pytest.importorskip('launch_ros.actions', reason=reason)
    packages = pytest.importorskip('ament_index_python.packages', reason=reason)
    try:
        packages.get_package_prefix('vpr_ros')
    except packages.PackageNotFoundError:
        pytest.skip('NEEDS AN INSTALLED PACKAGE: build vpr_ros with colcon and source it')
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    # Processes come and go here: none may leave a locked segment of shared memory to the next.
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    return run_launch


@dataclass
class Ended:
    """What a launch came to."""

    code: int = -1
    processes: dict[str, int] = field(default_factory=dict)
    log: str = ''


def run_launch(name, until=lambda ended: False, **arguments):
    """Launch a file of ours until it ends, or a condition on what is known of it holds."""
    from launch.actions import IncludeLaunchDescription, RegisterEventHandler
    from launch.event_handlers import OnProcessExit, OnProcessIO
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchDescription, LaunchService

    ended = Ended()

    def exited(event, _):
        ended.processes[event.process_name.rpartition('-')[0]] = event.returncode

    def said(event):
        ended.log += event.text.decode()

    watch = [OnProcessExit(on_exit=exited), OnProcessIO(on_stdout=said, on_stderr=said)]
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(FOLDER / f'{name}.launch.py')),
        launch_arguments=arguments.items(),
    )
    service = LaunchService(noninteractive=True)
    service.include_launch_description(
        LaunchDescription([*map(RegisterEventHandler, watch), included])
    )
    over = threading.Event()

    def end_in_time():
        deadline = time.monotonic() + LAUNCH_S
        try:
            while not over.wait(0.05) and not until(ended):
                assert time.monotonic() < deadline, ended.log
        finally:
            while not over.wait(0.05):
                service.shutdown()  # in vain before the service runs

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(end_in_time)
        ended.code = service.run()
        over.set()
        waiting.result()
    return ended


@pytest.mark.parametrize('name', NAMES)
def test_launch_reads_every_file(launch, name):
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchContext

    source = PythonLaunchDescriptionSource(str(FOLDER / f'{name}.launch.py'))
    declared = source.get_launch_description(LaunchContext()).get_launch_arguments()
    promised = runpy.run_path(str(FOLDER / f'{name}.launch.py'))['ARGUMENTS']
    assert [argument.name for argument in declared] == [*promised]
    assert all(argument.description for argument in declared)


def test_launch_makes_the_node_active(launch, tmp_path, weights):
    ended = launch(
        'place_recognition', lambda ended: ended.processes or LISTENING in ended.log,
        namespace='robot1', image=TOPIC, use_respawn='True',
        params_file=params_file(tmp_path, weights, mode='map'),
    )  # fmt: skip
    assert LISTENING in ended.log
    assert '[robot1.place_recognition]' in ended.log
    assert (ended.code, ended.processes) == (0, {'place_recognition': 0}), ended.log


def test_launch_leaves_the_node_alone_without_autostart(launch, tmp_path, weights):
    with spinning_node('onlooker') as node:
        client = node.create_client(GetState, '/place_recognition/get_state')

        def asked(ended):
            return ended.processes or client.service_is_ready()

        ended = launch(
            'place_recognition', asked, autostart='false', log_level='warn',
            params_file=params_file(tmp_path, weights, mode='map'),
        )  # fmt: skip
    assert (ended.code, ended.processes) == (0, {'place_recognition': 0}), ended.log
    assert 'settings:' not in ended.log


def test_launch_starts_rviz_beside_it(launch, tmp_path, weights, monkeypatch):
    """With something in its place that says how it was called."""
    index = tmp_path / 'share/ament_index/resource_index/packages/rviz2'
    program = tmp_path / 'lib/rviz2/rviz2'
    for path in (index, program):
        path.parent.mkdir(parents=True)
    index.touch()
    program.write_text('#!/bin/sh\necho "rviz2 $* with $FASTDDS_BUILTIN_TRANSPORTS"\n')
    program.chmod(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path), prepend=':')
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS')
    ended = launch(
        'place_recognition', lambda ended: 'rviz2 -d' in ended.log, rviz='true', autostart='False',
        large_data='true', params_file=params_file(tmp_path, weights),
    )  # fmt: skip
    [called] = [line for line in ended.log.splitlines() if line.startswith('rviz2 -d')]
    assert Path(called.split()[2]).is_file()
    assert called.endswith('with LARGE_DATA')
    assert (ended.code, ended.processes['rviz2']) == (0, 0)


def test_launch_records_a_map(launch, tmp_path, weights, drive):
    path = tmp_path / 'new.vprmap'

    def played(_):
        return replay(drive, lockstep=True)

    ended = launch(
        'mapping', played, map=str(path), image=TOPIC, odom='/odom',
        params_file=params_file(tmp_path, weights),
    )  # fmt: skip
    assert (ended.code, ended.processes) == (0, {'place_recognition': 0}), ended.log
    with PlaceMap.open(path, fingerprint=None) as place_map:
        assert [place.pose.position_m[0] for place in place_map.places] == [0, 30, 60, 90, 120]


def test_launch_makes_a_map_from_a_bag_and_figures_from_a_bag(launch, tmp_path, weights, drive):
    path, report = tmp_path / 'office.vprmap', tmp_path / 'figures'
    given = {'bag': str(drive), 'map': str(path), 'params_file': params_file(tmp_path, weights)}
    ended = launch('map_from_bag', pose_topic='/odom', **given)
    assert (ended.code, ended.processes) == (0, {'map_builder': 0}), ended.log
    with PlaceMap.open(path, fingerprint=None) as place_map:
        assert len(place_map) == 5
    ended = launch('map_from_bag', **given)
    assert ended.code == 1
    assert 'exists already' in ended.log
    ended = launch('replay_evaluation', report=str(report), truth_topic='/odom', **given)
    assert (ended.code, ended.processes) == (0, {'replay_evaluation': 0}), ended.log
    assert (report / 'index.html').is_file()


def test_launch_trains(launch, tmp_path):
    output = tmp_path / 'mine.safetensors'
    settings = {
        'model': 'sage_test', 'scratch': True, 'device': 'cpu', 'steps': 2,
        'places_per_batch': 4, 'views_per_place': 3, 'validation.patience': 0, 'decoders': 1,
    }  # fmt: skip
    path = tmp_path / 'train.yaml'
    path.write_text(yaml.safe_dump({'trainer': {'ros__parameters': settings}}))
    survey = write_textures(tmp_path / 'survey')
    ended = launch('train', params_file=str(path), data=str(survey), output=str(output))
    assert (ended.code, ended.processes) == (0, {'trainer': 0}), ended.log
    assert output.is_file()
    ended = launch('train', params_file=str(path), output=str(output))
    assert ended.code == 1
    assert 'data is empty' in ended.log


def test_a_wrong_argument_is_refused_by_launch(launch):
    assert launch('mapping', odom_type='wheels').code == 1
    assert launch('map_from_bag').code == 1  # without a bag
