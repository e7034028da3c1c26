"""What the launch files share. Launch is imported late: their arguments can be read without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from vpr_ros.errors import RosError

if TYPE_CHECKING:
    from launch_ros.actions import Node

    from launch import LaunchDescription, LaunchDescriptionEntity

PACKAGE = 'vpr_ros'
COMPRESSED = '/compressed'
RESPAWN_DELAY_S = 2.0  # as nav2
SWITCH = ('true', 'false', 'True', 'False')  # the latter are what launch files hand on to others

# As nav2: with a namespace tf is heard in it. SetRemap('/tf', '/tf') in a group around the launch
# file goes before this, where several robots share one tf.
TF = (('/tf', 'tf'), ('/tf_static', 'tf_static'))

# RViz's file has whole names: with a namespace they are those of the live node in it.
SHOWN = tuple(
    (f'/place_recognition/{topic}', f'place_recognition/{topic}')
    for topic in ('map_cloud', 'markers', 'debug_image', 'pose')
)

Given = Mapping[str, str]  # values of the arguments


@dataclass(frozen=True)
class Argument:
    """Of a launch file; with the default None it must be given."""

    description: str
    default: str | None = ''
    choices: tuple[str, ...] = ()


ANY_NODE = {
    'namespace': Argument('namespace of the node'),
    'params_file': Argument('parameters of the node; empty: the defaults'),
    'log_level': Argument(
        'least severity that is logged', 'info', ('debug', 'info', 'warn', 'error', 'fatal')
    ),
}
LIVE_NODE = {
    **ANY_NODE,
    'namespace': Argument('namespace of the node, and of tf, as nav2 has it'),
    'use_sim_time': Argument('take the time from /clock', 'false', SWITCH),
    'autostart': Argument('configure and activate the node', 'true', SWITCH),
    'image': Argument('topic of the camera, without /compressed', 'image'),
    'camera_info': Argument('topic of its CameraInfo; empty: camera_info beside the image'),
    'odom': Argument('topic of odometry or poses, heard where pose_input asks for it', 'odom'),
    'rviz': Argument('start RViz, too', 'false', SWITCH),
    'large_data': Argument(
        'FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA for the node, unless it is set: raw images arrive, '
        'but both sides need it: a camera driver without it is not found any more',
        'false', SWITCH,
    ),
}  # fmt: skip

ODOM_TYPES = ('odometry', 'pose', 'pose_with_covariance', 'tf', 'none')
LOCALIZING = {
    **LIVE_NODE,
    'odom_type': Argument(
        'parameter pose_input: what the topic odom carries, or tf; empty: as the parameter file '
        'says', '', ('', *ODOM_TYPES),
    ),
}  # fmt: skip
SOCKET = {
    'socket_params_file': Argument('parameters of the socket; empty: the defaults'),
}
SAID = {
    'place_match': 'place_match',
    'loop_closure': 'loop_closure',
    'loop_closure_ack': 'loop_closure_ack',
    'vpr_status': 'status',
}  # topics of the live node, by the names of the sockets


def description(
    arguments: Mapping[str, Argument], start: Callable[[Given], list[LaunchDescriptionEntity]]
) -> LaunchDescription:
    """Declare the arguments, and start what their values ask for."""
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch.substitutions import LaunchConfiguration

    from launch import LaunchDescription

    declared = [
        DeclareLaunchArgument(
            name, default_value=x.default, description=x.description, choices=x.choices or None
        )
        for name, x in arguments.items()
    ]

    def run(context: Any) -> list[LaunchDescriptionEntity]:
        return start({name: LaunchConfiguration(name).perform(context) for name in arguments})

    return LaunchDescription([*declared, OpaqueFunction(function=run)])


def is_on(value: str) -> bool:
    return value.lower() == 'true'


def live_node(
    given: Given, settings: Mapping[str, str], respawn: bool = False
) -> list[LaunchDescriptionEntity]:
    """The live node, and RViz where it is wanted.

    It activates itself: launch's own node cannot reach one with other transports, and would not
    see one that is started again.

    Args:
        given: values of `LIVE_NODE`.
        settings: what else arguments override of its parameters; the empty ones are left alone.
        respawn: start the node again when it ends.
    """
    from launch_ros.actions import LifecycleNode, Node

    clock = {'use_sim_time': is_on(given['use_sim_time'])}
    environment = room_for_images(given)
    info = given['camera_info'] or beside(given['image'])
    remaps = [('image', given['image']), ('camera_info', info), ('odom', given['odom']), *TF]
    node = LifecycleNode(
        package=PACKAGE, executable='place_recognition', name='place_recognition',
        namespace=given['namespace'], output='screen', remappings=remaps,
        parameters=[
            *parameters(given, settings), {**clock, 'autostart': is_on(given['autostart'])}
        ],
        ros_arguments=['--log-level', given['log_level']], additional_env=environment,
        respawn=respawn, respawn_delay=RESPAWN_DELAY_S,
    )  # fmt: skip
    if not is_on(given['rviz']):
        return [node]
    rviz = Node(
        package='rviz2', executable='rviz2', name='rviz2', namespace=given['namespace'],
        arguments=['-d', shared('rviz', 'place_recognition.rviz')], parameters=[clock],
        remappings=[*TF, *SHOWN],
        additional_env=environment, output='screen',
    )  # fmt: skip
    return [node, rviz]


def batch_node(executable: str, given: Given, settings: Mapping[str, Any]) -> Node:
    """A node that does one thing and ends; the launch fails with it.

    Args:
        executable: and name of the node.
        given: values of `ANY_NODE`.
        settings: what else arguments override of its parameters; the empty ones are left alone.
    """
    from launch_ros.actions import Node

    def ended(event: Any, context: Any) -> None:
        if event.returncode:  # launch itself takes no notice of it, and would end with 0
            raise RosError(f'{executable} ended with exit code {event.returncode}')

    return Node(
        package=PACKAGE, executable=executable, name=executable, namespace=given['namespace'],
        parameters=parameters(given, settings), output='screen', on_exit=ended,
        ros_arguments=['--log-level', given['log_level']],
    )  # fmt: skip


def socket_node(
    executable: str,
    given: Given,
    settings: Mapping[str, Any],
    remaps: Sequence[tuple[str, str]] = (),
) -> Node:
    """A socket: what the live node of this namespace says, handed to a neighbour.

    Args:
        executable: and name of the node.
        given: values of `LIVE_NODE` and `SOCKET`, and use_respawn.
        settings: what else arguments override of its parameters; the empty ones are left alone.
        remaps: further topics and services, beside what the live node says.
    """
    from launch_ros.actions import Node

    own = {**given, 'params_file': given['socket_params_file']}
    return Node(
        package=PACKAGE, executable=executable, name=executable, namespace=given['namespace'],
        parameters=[
            *parameters(own, settings), {'use_sim_time': is_on(given['use_sim_time'])}
        ],
        remappings=[
            *((name, f'place_recognition/{topic}') for name, topic in SAID.items()), *remaps, *TF
        ],
        additional_env=room_for_images(given), output='screen',
        respawn=is_on(given['use_respawn']), respawn_delay=RESPAWN_DELAY_S,
        ros_arguments=['--log-level', given['log_level']],
    )  # fmt: skip


def parameters(given: Given, settings: Mapping[str, Any]) -> list:
    """The parameter file, and over it what arguments say; a text that is empty says nothing."""
    from launch_ros.parameter_descriptions import ParameterValue

    typed = {
        name: ParameterValue(value, value_type=type(value))
        for name, value in settings.items()
        if value != ''
    }
    return [x for x in (given['params_file'], typed) if x]


def beside(image: str) -> str:
    """Topic of CameraInfo as image_transport has it: a sister of the image's."""
    return str(PurePosixPath(image.removesuffix(COMPRESSED)).with_name('camera_info'))


def room_for_images(given: Given) -> dict[str, str]:
    """What Fast DDS needs for raw images, where it is wanted and the user has not set it."""
    from vpr_ros.nodes.transport import LARGE_DATA, TRANSPORTS

    if not is_on(given['large_data']) or TRANSPORTS in os.environ:
        return {}
    return {TRANSPORTS: LARGE_DATA}


def shared(*parts: str) -> str:
    """A file that is installed with the package."""
    from ament_index_python.packages import get_package_share_directory

    return str(Path(get_package_share_directory(PACKAGE)).joinpath(*parts))
