"""The live node beside nav2, whose AMCL it finds: map:=office.vprmap image:=/camera/image_raw.

nav2 is started as ever, and AMCL keeps its own parameters: docs/nav2.md. With a namespace, nav2
has to be in the same one.
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
    'global_frame': Argument('global_frame_id of AMCL', 'map'),
    'lost_when': Argument('when AMCL is told where the robot is', 'startup', LOST_WHEN),
}


def generate_launch_description():
    return description(ARGUMENTS, start)


def start(given):
    seen = {'map': given['map'], 'pose_input': given['odom_type']}
    live = live_node(given, seen, is_on(given['use_respawn']))
    settings = {name: given[name] for name in ('global_frame', 'lost_when')}
    return [*live, socket_node('initial_pose', given, {'localizer': 'amcl', **settings})]
