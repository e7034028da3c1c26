"""The only room that knows ROS: the live node, and recordings replayed to it."""

from __future__ import annotations

from importlib.util import find_spec

from vpr_ros.errors import RosError

REMEDIES = {
    'rclpy': 'source a ROS 2 installation, such as /opt/ros/jazzy/setup.bash, or run `make setup`',
    'vpr_msgs': 'build it with `colcon build --base-paths src src/vpr_ros/vpr_msgs` and source '
    'install/setup.bash, or run `make setup`',
}


def require_ros() -> None:
    """Make sure that the modules of this room can be imported.

    Raises:
        RosError: rclpy or vpr_msgs is missing.
    """
    for package, remedy in REMEDIES.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:  # a folder of that name is no package
            raise RosError(f'the ROS package {package} is not there: {remedy}')
