"""Launch files, as far as they can be tried without launch: see test_launch_service.py."""

import re
import runpy
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from waiting import WAIT_S, eventually

from vpr_ros.config import NodeConfig, TrainerConfig, from_dict, to_dict, updated
from vpr_ros.config.executables import MapBuilderConfig, ReplayEvaluationConfig
from vpr_ros.config.sockets import (
    InitialPoseConfig,
    LoopClosingConfig,
    RtabmapConfig,
    SlamToolboxConfig,
)
from vpr_ros.nodes import launching
from vpr_ros.nodes.inputs.transforms import open_transforms
from vpr_ros.nodes.recognition_node import PlaceRecognition

ROOT = Path(__file__).resolve().parents[2]
PARAMS_FILE = ROOT / 'config' / 'place_recognition.yaml'
NAV2 = {'namespace', 'params_file', 'use_sim_time', 'autostart', 'log_level', 'map', 'use_respawn'}
CAMERA = {'image', 'camera_info', 'odom', 'rviz', 'large_data'}
SOCKET = NAV2 | CAMERA | {'socket_params_file'}
BATCH = {'namespace', 'params_file', 'log_level', 'bag', 'map', 'image_topic', 'pose_topic'}
PROMISED = {
    'place_recognition': NAV2 | CAMERA | {'odom_type'},
    'mapping': NAV2 - {'use_respawn'} | CAMERA | {'odom_type'},
    'map_from_bag': BATCH | {'overwrite'},
    'replay_evaluation': BATCH | {'report', 'truth_topic', 'rate'},
    'train': {
        'namespace',
        'params_file',
        'log_level',
        'data',
        'output',
        'resume',
        'image_topic',
        'pose_topic',
    },
    'loop_closing': SOCKET | {'publish_tf', 'output'},
    'with_rtabmap': SOCKET | {'mode', 'rtabmap', 'least_kind'},
    'with_nav2': SOCKET | {'odom_type', 'global_frame', 'lost_when'},
    'with_slam_toolbox': SOCKET | {'odom_type', 'global_frame', 'lost_when', 'slam_map'},
}
SETTINGS = {
    'place_recognition': NodeConfig,
    'mapping': NodeConfig,
    'map_from_bag': MapBuilderConfig,
    'replay_evaluation': ReplayEvaluationConfig,
    'train': TrainerConfig,
    'loop_closing': LoopClosingConfig,
    'with_rtabmap': RtabmapConfig,
    'with_nav2': InitialPoseConfig,
    'with_slam_toolbox': InitialPoseConfig,
}
TOPIC = '/camera/image_raw'


def launch_file(name):
    return ROOT / 'launch' / f'{name}.launch.py'


@pytest.fixture(params=sorted(PROMISED))
def name(request):
    return request.param


def test_every_launch_file_is_known():
    assert {path.name.partition('.')[0] for path in (ROOT / 'launch').glob('*.py')} == {*PROMISED}


def test_the_arguments_are_as_promised(name):
    arguments = runpy.run_path(str(launch_file(name)))['ARGUMENTS']
    assert arguments.keys() == PROMISED[name]
    for argument in arguments.values():
        assert argument.description
        assert not argument.choices or argument.default in argument.choices


def started(name, **given):
    """What a launch file hands to the node: parameters, and whatever follows."""
    module = runpy.run_path(str(launch_file(name)))
    handed = []
    start = module['start']
    for function in ('live_node', 'batch_node', 'socket_node'):
        if function in module:
            start.__globals__[function] = lambda *x, **_: handed.append(x) or []
    start({key: argument.default or '' for key, argument in module['ARGUMENTS'].items()} | given)
    return next(x for x in reversed(handed[-1]) if isinstance(x, dict))


def test_the_node_understands_what_it_is_given(name):
    settings = started(name)
    stated = {key: value for key, value in settings.items() if value != ''}
    assert settings.keys() <= to_dict(SETTINGS[name]()).keys()
    assert updated(SETTINGS[name](), stated)


def test_arguments_become_parameters():
    assert started('mapping', odom_type='tf', map='a.vprmap') == {
        'mode': 'map', 'map': 'a.vprmap', 'pose_input': 'tf',
    }  # fmt: skip
    assert started('place_recognition', odom_type='tf') == {'map': '', 'pose_input': 'tf'}
    assert started('place_recognition')['pose_input'] == ''  # as the parameter file says
    assert started('replay_evaluation', rate='2')['rate'] == 2.0
    assert started('map_from_bag', overwrite='True')['overwrite'] is True
    start = started('with_slam_toolbox', slam_map='/maps/office')
    assert updated(SlamToolboxConfig(), start).map_file == '/maps/office'
    for name in ('with_nav2', 'with_slam_toolbox'):
        for when in runpy.run_path(str(launch_file(name)))['LOST_WHEN']:
            assert updated(InitialPoseConfig(), started(name, lost_when=when)).lost_when == when
    rtabmap = runpy.run_path(str(launch_file('with_rtabmap')))
    for kind in rtabmap['KINDS']:
        linked = started('with_rtabmap', least_kind=kind)
        assert updated(RtabmapConfig(), linked).least_kind == kind
    for mode in rtabmap['MODES']:
        assert updated(NodeConfig(), {'mode': mode})
    for kind in runpy.run_path(str(launch_file('mapping')))['ODOM_TYPES']:
        assert updated(NodeConfig(), {'pose_input': kind})


@pytest.mark.parametrize(
    ('image', 'info'),
    [
        ('image', 'camera_info'),
        ('/camera/image_raw', '/camera/camera_info'),
        ('front/image/compressed', 'front/camera_info'),
        ('/image', '/camera_info'),
    ],
)
def test_camera_info_is_looked_for_beside_the_image(image, info):
    assert launching.beside(image) == info


def test_in_a_namespace_tf_is_heard_there_as_nav2_has_it(monkeypatch, context):
    made = []
    stub = SimpleNamespace(
        LifecycleNode=lambda **x: made.append(x), Node=lambda **x: made.append(x)
    )
    value = SimpleNamespace(ParameterValue=lambda value, value_type: value)
    monkeypatch.setitem(sys.modules, 'launch_ros', SimpleNamespace())
    monkeypatch.setitem(sys.modules, 'launch_ros.actions', stub)
    monkeypatch.setitem(sys.modules, 'launch_ros.parameter_descriptions', value)
    monkeypatch.setattr(launching, 'shared', lambda *parts: 'file')
    arguments = {**launching.LIVE_NODE, **launching.SOCKET}
    given = {name: x.default or '' for name, x in arguments.items()}
    given |= {'rviz': 'true', 'use_respawn': 'false'}
    launching.live_node(given, {})
    launching.socket_node('initial_pose', given, {})
    assert len(made) == 3 and all({*launching.TF} <= {*x['remappings']} for x in made)
    viewer = next(x for x in made if x['executable'] == 'rviz2')
    file = (ROOT / 'rviz' / 'place_recognition.rviz').read_text(encoding='utf-8')
    shown = re.findall(r'Value: (/place_recognition/\w+)', file)
    assert len(shown) > 3 and {*shown} <= {old for old, new in viewer['remappings']}
    remaps = [word for pair in launching.TF for word in ('-r', ':='.join(pair))]
    node = PlaceRecognition(
        context=context,
        cli_args=['--ros-args', '-r', '__ns:=/robot1', *remaps],
    )
    with ExitStack() as stack:
        stack.callback(node.end)
        open_transforms(node, NodeConfig(pose_input='tf'), stack)
        topics = {x.topic_name for x in node.subscriptions}
    assert topics >= {'/robot1/tf', '/robot1/tf_static'}


def test_room_for_images_is_made_where_it_is_wanted_and_nobody_else_has(monkeypatch):
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS', raising=False)
    assert launching.room_for_images({'large_data': 'false'}) == {}
    wanted = {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'}
    assert launching.room_for_images({'large_data': 'True'}) == wanted
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    assert launching.room_for_images({'large_data': 'true'}) == {}


def test_the_parameter_file_has_every_setting_at_its_default():
    settings = yaml.safe_load(PARAMS_FILE.read_text())['/**']['ros__parameters']
    assert from_dict(NodeConfig, settings) == NodeConfig()  # no unknown key, no other type
    assert settings == yaml.safe_load(yaml.safe_dump(to_dict(NodeConfig())))  # none is missing


def test_a_node_understands_the_parameter_file(context):
    arguments = ['--ros-args', '--params-file', str(PARAMS_FILE), '-p', 'mode:=map']
    node = PlaceRecognition(context=context, cli_args=arguments)
    assert node.parameters.read() == NodeConfig(mode='map')
    node.end()


def params_file(folder, weights, **settings):
    given = {'model': {'name': 'sage_test', 'weights': str(weights)}, **settings}
    path = folder / 'params.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': given}}))
    return str(path)


def test_the_process_of_the_launch_file_without_launch(tmp_path, weights):
    """The same command as launch puts together, in a namespace, ended as launch ends it."""
    arguments = [
        *('--ros-args', '--log-level', 'info', '-r', '__node:=place_recognition'),
        *('-r', '__ns:=/robot1', '--params-file', params_file(tmp_path, weights)),
        *('-p', 'use_sim_time:=false', '-p', 'autostart:=true', '-p', 'mode:=map'),
        *('-r', f'image:={TOPIC}', '-r', 'camera_info:=/camera/camera_info', '-r', 'odom:=/odom'),
    ]
    log = tmp_path / 'log'
    with log.open('w') as file:
        process = subprocess.Popen(
            [sys.executable, '-m', 'vpr_ros.nodes.place_recognition', *arguments], stderr=file
        )
    eventually(lambda: 'listening to /camera/image_raw' in log.read_text())
    assert '[robot1.place_recognition]' in log.read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 0
    assert 'Traceback' not in log.read_text()
