"""ROS arguments that make the live node listen to a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vpr_ros.bags.reader import Bag
from vpr_ros.config import NodeConfig, to_dict, updated
from vpr_ros.errors import BagError, ConfigError
from vpr_ros.nodes.outputs.messages import IMAGE_TYPES, POSE_TYPES, type_name

NODE = 'place_recognition'
SUFFIX = '/compressed'
TRANSPORTS = {type_name(type_): name for name, type_ in IMAGE_TYPES.items()}
POSE_INPUTS = {type_name(type_): name for name, type_ in POSE_TYPES.items()}


@dataclass(frozen=True)
class Topics:
    """What of a recording is played to the node; the poses may be left out."""

    image: str
    pose: str = ''

    def played(self) -> list[str]:
        return [topic for topic in (self.image, self.pose) if topic]


def node_arguments(
    bag: Bag, topics: Topics, params: Mapping[str, Any], path: Path, reliable: bool
) -> list[str]:
    """Write the settings to a parameter file and name it with the remappings.

    Args:
        bag: the recording.
        topics: of the recording.
        params: settings by their dotted names; the types of the topics are found here.
        path: of the parameter file.
        reliable: ask for images that cannot be lost on the way, for a run in lockstep.

    Raises:
        BagError: a topic is not there, or carries something else.
        ConfigError: a setting is unknown or does not fit.
    """
    found = {'image_transport': _among(TRANSPORTS, bag, topics.image)}
    if topics.pose:
        found['pose_input'] = _among(POSE_INPUTS, bag, topics.pose)
    config = updated(NodeConfig(), {**found, **params, 'autostart': True})
    if len(config.cameras) > 1:
        raise ConfigError(
            f'one camera of a recording is played, found {len(config.cameras)} in cameras: name '
            'one, or play the recording to a node that you start yourself with `vpr replay`'
        )
    settings = to_dict(config)
    topic = published_name(bag, topics)
    if reliable:
        settings['qos_overrides'] = {topic: {'subscription': {'reliability': 'reliable'}}}
    text = yaml.safe_dump({NODE: {'ros__parameters': settings}}, sort_keys=False)
    path.write_text(text, encoding='utf-8')
    image = topic.removesuffix(SUFFIX)
    [camera] = config.cameras
    name = f'{camera}/image' if camera else 'image'
    remaps = [f'{name}:={image}', *([f'odom:={topics.pose}'] if topics.pose else [])]
    return ['--params-file', str(path), *(x for remap in remaps for x in ('-r', remap))]


def published_name(bag: Bag, topics: Topics) -> str:
    """Name of the image topic as image_transport expects it: compressed ones have a suffix."""
    raw = _among(TRANSPORTS, bag, topics.image) == 'raw'
    return topics.image if raw or topics.image.endswith(SUFFIX) else topics.image + SUFFIX


def _among(names: Mapping[str, str], bag: Bag, topic: str) -> str:
    type_ = bag.info(topic).type
    if type_ not in names:
        raise BagError(f'{topic} carries {type_}; expected one of {", ".join(names)}')
    return names[type_]
