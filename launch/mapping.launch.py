"""The live node records a map: map:=new.vprmap image:=/camera/image_raw odom:=/odom.

Cameras and FASTDDS_BUILTIN_TRANSPORTS: as place_recognition.launch.py says. It is not started
again when it ends: the map would be there, and a map is not written over.
"""

from __future__ import annotations

from vpr_ros.nodes.launching import LIVE_NODE, ODOM_TYPES, Argument, description, live_node

ARGUMENTS = {
    **LIVE_NODE,
    'map': Argument('map file to write, which must not exist; empty: as the parameter file says'),
    'odom_type': Argument(
        'parameter pose_input, whatever the parameter file says: what the topic odom carries, or '
        'tf: from odom_frame to base_frame',
        'odometry',
        ODOM_TYPES,
    ),
}


def generate_launch_description():
    return description(ARGUMENTS, start)


def start(given):
    settings = {'mode': 'map', 'map': given['map'], 'pose_input': given['odom_type']}
    return live_node(given, settings)
