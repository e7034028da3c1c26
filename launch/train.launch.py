"""A training: data:='drive1 drive2' output:=mine.safetensors, and a file of settings."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

ARGUMENTS = {
    'namespace': ('', 'namespace of the node'),
    'params_file': ('', 'settings; empty: the defaults'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'data': ('', 'bags, folders or maps to learn from, separated by spaces'),
    'output': ('', 'the .safetensors file to write'),
    'resume': ('false', 'go on with an interrupted run'),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    parameters: list = [given['params_file']] if given['params_file'] else []
    for name in ('data', 'output'):
        if given[name]:
            parameters.append({name: ParameterValue(given[name], value_type=str)})
    parameters.append({'resume': given['resume'].lower() == 'true'})
    node = Node(
        package='vpr_ros',
        executable='trainer',
        name='trainer',
        namespace=given['namespace'],
        parameters=parameters,
        ros_arguments=['--log-level', given['log_level']],
        output='screen',
    )
    return [node]
