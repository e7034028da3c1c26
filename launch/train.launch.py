"""A training: data:='drive1 drive2' output:=mine.safetensors, and a file of settings."""

from __future__ import annotations

from vpr_ros.nodes.launching import ANY_NODE, SWITCH, Argument, batch_node, description, is_on

ARGUMENTS = {
    **ANY_NODE,
    'data': Argument('bags, folders or maps to learn from, separated by spaces'),
    'output': Argument('the .safetensors file to write'),
    'resume': Argument('go on with an interrupted run', 'false', SWITCH),
    'image_topic': Argument('of the bags; needed where they have several'),
    'pose_topic': Argument('of the bags, in a frame they share; needed where they have several'),
}


def generate_launch_description():
    return description(ARGUMENTS, start)


def start(given):
    settings = {name: given[name] for name in ('data', 'output', 'image_topic', 'pose_topic')}
    return [batch_node('trainer', given, {**settings, 'resume': is_on(given['resume'])})]
