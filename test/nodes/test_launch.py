"""The launch file and the parameter file say what the node understands."""

import ast
from pathlib import Path

import pytest
import yaml
from waiting import WAIT_S

from vpr_ros.config import NodeConfig, from_dict, to_dict
from vpr_ros.nodes.recognition_node import PlaceRecognition

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILE = ROOT / 'launch' / 'place_recognition.launch.py'
PARAMS_FILE = ROOT / 'config' / 'place_recognition.yaml'
NAV2_ARGUMENTS = {'namespace', 'params_file', 'use_sim_time', 'autostart', 'log_level', 'map'}


def test_the_parameter_file_has_every_setting_at_its_default():
    settings = yaml.safe_load(PARAMS_FILE.read_text())['/**']['ros__parameters']
    assert from_dict(NodeConfig, settings) == NodeConfig()  # no unknown key, no other type
    assert settings == to_dict(NodeConfig())  # none is missing


def test_a_node_understands_the_parameter_file(context):
    arguments = ['--ros-args', '--params-file', str(PARAMS_FILE), '-p', 'mode:=map']
    node = PlaceRecognition(context=context, cli_args=arguments)
    assert node.parameters.read() == NodeConfig(mode='map')
    node.end()


def test_the_launch_file_has_the_arguments_of_nav2():
    tree = ast.parse(LAUNCH_FILE.read_text())
    (arguments,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'ARGUMENTS'
    ]
    assert arguments.keys() == NAV2_ARGUMENTS | {'image'}
    assert all(description for _, description in arguments.values())


def test_launch_makes_the_node_active(tmp_path, weights):
    reason = 'NEEDS A ROS INSTALLATION: launch and launch_ros are not on PyPI'
    actions = pytest.importorskip('launch.actions', reason=reason)
    packages = pytest.importorskip('ament_index_python.packages', reason=reason)
    from launch.events import Shutdown
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.event_handlers import OnStateTransition

    from launch import LaunchDescription, LaunchService

    try:
        packages.get_package_prefix('vpr_ros')
    except packages.PackageNotFoundError:
        pytest.skip('NEEDS AN INSTALLED PACKAGE: build vpr_ros with colcon')
    params = {'mode': 'map', 'model': {'name': 'sage_test', 'weights': str(weights)}}
    params_file = tmp_path / 'params.yaml'
    params_file.write_text(yaml.safe_dump({'/**': {'ros__parameters': params}}))
    active = []
    stop = actions.EmitEvent(event=Shutdown())
    note = actions.OpaqueFunction(function=lambda _: active.append(True))
    included = actions.IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(LAUNCH_FILE)),
        launch_arguments={'params_file': str(params_file), 'namespace': 'robot1'}.items(),
    )
    heard = OnStateTransition(goal_state='active', entities=[note, stop])
    late = actions.TimerAction(period=WAIT_S, actions=[stop])
    service = LaunchService(noninteractive=True)
    service.include_launch_description(
        LaunchDescription([included, actions.RegisterEventHandler(heard), late])
    )
    assert service.run() == 0
    assert active
