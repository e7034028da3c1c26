"""The live node beside slam_toolbox: map:=office.vprmap slam_map:=/maps/office.

slam_toolbox's localisation node is started as ever, without map_file_name and map_start_pose: its
map is loaded where the robot is recognised. Without slam_map it keeps the map that it has, and is
told where the robot is by initialpose: docs/slam_toolbox.md.
"""

from __future__ import annotations

from vpr_ros.nodes.launching import (
    LOCALIZING,
    SOCKET,
    SWITCH,
    Argument,
    description,
    is_on,
    live_node,
    socket_node,
)

LOST_WHEN = ('startup', 'disagreement', 'asked')
ARGUMENTS = {
    **LOCALIZING,
    **SOCKET,
    'map': Argument('map file of places; empty: as the parameter file says'),
    'use_respawn': Argument('start the nodes again when they end', 'false', SWITCH),
    'slam_map': Argument(
        "slam_toolbox's map without its ending, to be loaded at the recognised pose; empty: the "
        'map that it has'
    ),
    'global_frame': Argument('map_frame of slam_toolbox', 'map'),
    'lost_when': Argument('without slam_map: when slam_toolbox is told', 'startup', LOST_WHEN),
}


def generate_launch_description():
    return description(ARGUMENTS, start)


def start(given):
    seen = {'map': given['map'], 'pose_input': given['odom_type']}
    live = live_node(given, seen, is_on(given['use_respawn']))
    frame = {'global_frame': given['global_frame']}
    if given['slam_map']:
        socket = socket_node('slam_toolbox_start', given, {'map_file': given['slam_map'], **frame})
    else:
        told = {'localizer': 'slam_toolbox', 'lost_when': given['lost_when'], **frame}
        socket = socket_node('initial_pose', given, told)
    return [*live, socket]
