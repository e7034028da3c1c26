"""A recording in, figures out: bag:=tuesday map:=office.vprmap report:=figures.

The live node is started on the recording, in a ROS domain of its own, and ended. Both sides are
ours: FASTDDS_BUILTIN_TRANSPORTS is LARGE_DATA for both, unless it is set. The parameter file may
be that of the node, where it says `/**`.
"""

from __future__ import annotations

from vpr_ros.nodes.launching import ANY_NODE, Argument, batch_node, description

ARGUMENTS = {
    **ANY_NODE,
    'bag': Argument('rosbag2 folder, .mcap, .db3 or ROS 1 .bag', None),
    'map': Argument('map file; empty: as the parameter file says'),
    'report': Argument('folder to write figures and pages to', None),
    'image_topic': Argument('of the recording; needed where it has several'),
    'pose_topic': Argument('of the recording, played to the node; empty: no poses'),
    'truth_topic': Argument('of the recording: poses to judge by; needed where it has several'),
    'rate': Argument('times as fast as recorded; 0: as fast as every image is answered', '0.0'),
}
TEXTS = ('bag', 'map', 'report', 'image_topic', 'pose_topic', 'truth_topic')


def generate_launch_description():
    return description(ARGUMENTS, start)


def start(given):
    settings = {name: given[name] for name in TEXTS}
    return [batch_node('replay_evaluation', given, {**settings, 'rate': float(given['rate'])})]
