"""The live node, configured and activated: map:=office.vprmap image:=/camera/image_raw.

FASTDDS_BUILTIN_TRANSPORTS is left alone on purpose: with LARGE_DATA here and not in the camera
driver the two would not find each other. The node says what to set where.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

ARGUMENTS = {
    'namespace': ('', 'namespace of the node'),
    'params_file': ('', 'parameters of the node; empty: those of the package'),
    'use_sim_time': ('false', 'take the time from /clock'),
    'autostart': ('true', 'configure and activate the node'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'map': ('', 'map file; empty: as the parameter file says'),
    'image': ('image', 'topic of the camera, without /compressed'),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    parameters = [
        given['params_file'] or default_params_file(),
        {'use_sim_time': given['use_sim_time'].lower() == 'true'},
    ]
    if given['map']:
        parameters.append({'map': ParameterValue(given['map'], value_type=str)})
    node = LifecycleNode(
        package='vpr_ros',
        executable='place_recognition',
        name='place_recognition',
        namespace=given['namespace'],
        parameters=parameters,
        remappings=[('image', given['image'])],
        ros_arguments=['--log-level', given['log_level']],
        output='screen',
    )
    if given['autostart'].lower() != 'true':
        return [node]
    activate = OnStateTransition(
        target_lifecycle_node=node,
        start_state='configuring',
        goal_state='inactive',
        entities=[change(node, Transition.TRANSITION_ACTIVATE)],
    )
    return [
        RegisterEventHandler(activate),
        node,
        change(node, Transition.TRANSITION_CONFIGURE),
    ]


def default_params_file() -> str:
    package = Path(get_package_share_directory('vpr_ros'))
    return str(package / 'config' / 'place_recognition.yaml')


def change(node: LifecycleNode, transition: int) -> EmitEvent:
    return EmitEvent(
        event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition)
    )
