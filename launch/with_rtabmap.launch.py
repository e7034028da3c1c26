"""The live node beside RTAB-Map, which gets its loop closures as links: docs/rtabmap.md.

    map:=new.vprmap image:=/camera/image_raw odom:=/odom

RTAB-Map is started as ever, with the same camera and the same frame_id as our base_frame.
"""

from __future__ import annotations

from vpr_ros.nodes.launching import (
    LIVE_NODE,
    SOCKET,
    SWITCH,
    Argument,
    description,
    live_node,
    socket_node,
)

MODES = ('map', 'both', 'localize')
KINDS = ('metric', 'up_to_scale', 'rotation_only', 'from_map')
ARGUMENTS = {
    **LIVE_NODE,
    **SOCKET,
    'map': Argument('map file of places; empty: as the parameter file says'),
    'mode': Argument('map: record a new map; both: extend one; localize: leave it', 'map', MODES),
    'odom': Argument('topic of nav_msgs/Odometry, as RTAB-Map has it', 'odom'),
    'rtabmap': Argument('namespace of RTAB-Map', '/rtabmap'),
    'least_kind': Argument('what has to be known of a relative pose', 'metric', KINDS),
    'use_respawn': Argument('start rtabmap_links again when it ends', 'false', SWITCH),
}


def generate_launch_description():
    return description(ARGUMENTS, start)


def start(given):
    live = live_node(given, {'mode': given['mode'], 'map': given['map']})
    settings = {name: given[name] for name in ('rtabmap', 'least_kind')}
    return [*live, socket_node('rtabmap_links', given, settings, [('odom', given['odom'])])]
