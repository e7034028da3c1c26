"""A recorded drive becomes a map: bag:=monday map:=office.vprmap. Ends when that is written."""

from __future__ import annotations

from vpr_ros.nodes.launching import ANY_NODE, SWITCH, Argument, batch_node, description, is_on

ARGUMENTS = {
    **ANY_NODE,
    'bag': Argument('rosbag2 folder, .mcap, .db3 or ROS 1 .bag', None),
    'map': Argument('map file to write', None),
    'overwrite': Argument('replace an existing map', 'false', SWITCH),
    'image_topic': Argument('of the recording; needed where it has several'),
    'pose_topic': Argument('of the recording; needed where it has several; none: no poses'),
}


def generate_launch_description():
    return description(ARGUMENTS, start)


def start(given):
    settings = {name: given[name] for name in ('bag', 'map', 'image_topic', 'pose_topic')}
    settings['overwrite'] = is_on(given['overwrite'])
    return [batch_node('map_builder', given, settings)]
