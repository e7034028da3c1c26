"""The live node, configured and activated: map:=office.vprmap image:=/camera/image_raw.

Several cameras (`cameras: [front, rear]` in the parameter file) listen to front/image and so on:
give the namespace of their drivers, or include this file in a group of your own with
`launch_ros.actions.SetRemap('front/image', '/camera_1/image_raw')` before it. So is `depth`.

FASTDDS_BUILTIN_TRANSPORTS is left alone on purpose, unless large_data is true: with LARGE_DATA
here and not in the camera driver the two would not find each other. The node says what to set
where.
"""

from __future__ import annotations

from vpr_ros.nodes.launching import LOCALIZING, SWITCH, Argument, description, is_on, live_node

ARGUMENTS = {
    **LOCALIZING,
    'map': Argument('map file; empty: as the parameter file says'),
    'use_respawn': Argument('start the node again when it ends', 'false', SWITCH),
}


def generate_launch_description():
    return description(ARGUMENTS, start)


def start(given):
    settings = {'map': given['map'], 'pose_input': given['odom_type']}
    return live_node(given, settings, is_on(given['use_respawn']))
