"""The live node records a map, and its loops are closed without SLAM: docs/loop_closing.md.

    map:=new.vprmap image:=/camera/image_raw odom:=/odom publish_tf:=true

Cameras and FASTDDS_BUILTIN_TRANSPORTS: as place_recognition.launch.py says. The live node is not
started again when it ends: the map would be there, and a map is not written over.
"""

from __future__ import annotations

from vpr_ros.nodes.launching import (
    LIVE_NODE,
    SOCKET,
    SWITCH,
    Argument,
    description,
    is_on,
    live_node,
    socket_node,
)

ARGUMENTS = {
    **LIVE_NODE,
    **SOCKET,
    'map': Argument('map file to write, which must not exist; empty: as the parameter file says'),
    'odom': Argument('topic of nav_msgs/Odometry', 'odom'),
    'publish_tf': Argument('publish map -> odom on /tf; nobody else may', 'false', SWITCH),
    'output': Argument('folder that ~/save writes the trajectory and the graph to'),
    'use_respawn': Argument('start loop_closing again when it ends', 'false', SWITCH),
}


def generate_launch_description():
    return description(ARGUMENTS, start)


def start(given):
    live = live_node(given, {'mode': 'map', 'map': given['map'], 'pose_input': 'odometry'})
    settings = {'publish_tf': is_on(given['publish_tf']), 'output': given['output']}
    remaps = [('odom', given['odom']), ('move_places', 'place_recognition/move_places')]
    return [*live, socket_node('loop_closing', given, settings, remaps)]
