"""ROS arguments that make the live node listen to a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vpr_ros.bags.cameras import STATIC, info_topic
from vpr_ros.bags.depth import depth_topic
from vpr_ros.bags.depth_images import COMPRESSED
from vpr_ros.bags.reader import Bag
from vpr_ros.config import NodeConfig, to_dict, updated
from vpr_ros.errors import BagError, ConfigError
from vpr_ros.nodes.outputs.messages import IMAGE_TYPES, POSE_TYPES, type_name
from vpr_ros.recognition.drive import NO_DEPTH

NODE = 'place_recognition'
SUFFIX, DEPTH_SUFFIX = '/compressed', f'/{COMPRESSED}'
TRANSPORTS = {type_name(type_): name for name, type_ in IMAGE_TYPES.items()}
POSE_INPUTS = {type_name(type_): name for name, type_ in POSE_TYPES.items()}


@dataclass(frozen=True)
class Topics:
    """What of a recording is played to the node; all but the images may be left out."""

    image: str
    pose: str = ''
    info: str = ''
    depth: str = ''
    static: str = ''  # transforms: how the camera is mounted

    def played(self) -> list[str]:
        topics = (self.static, self.info, self.depth, self.image, self.pose)
        return [topic for topic in topics if topic]


def topics_of(bag: Bag, image: str = '', pose: str = '', depth: str = '') -> Topics:
    """What a recording knows of a camera.

    Args:
        bag: the recording.
        image: topic of the images; empty: the only one.
        pose: topic of the poses; empty: none are played.
        depth: topic of depth; empty: the one beside the camera; NO_DEPTH: none.

    Raises:
        BagError: a topic is not there, or carries something else.
    """
    image = bag.image_topic(image or None)
    found = '' if depth == NO_DEPTH else depth_topic(bag, image, depth) or ''
    static = STATIC if STATIC in bag.topics else ''
    return Topics(image, pose, info_topic(bag, image) or '', found, static)


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
    config = updated(NodeConfig(), {**_inputs(bag, topics), **params, 'autostart': True})
    if len(config.cameras) > 1:
        raise ConfigError(
            f'one camera of a recording is played, found {len(config.cameras)} in cameras: name '
            'one, or play the recording to a node that you start yourself with `vpr replay`'
        )
    settings, names = to_dict(config), published_names(bag, topics)
    if reliable:
        images = names.get(topics.image, topics.image)
        settings['qos_overrides'] = {images: {'subscription': {'reliability': 'reliable'}}}
    text = yaml.safe_dump({NODE: {'ros__parameters': settings}}, sort_keys=False)
    path.write_text(text, encoding='utf-8')
    remaps = _remaps(topics, names, *config.cameras)
    return ['--params-file', str(path), *(x for remap in remaps for x in ('-r', remap))]


def published_names(bag: Bag, topics: Topics) -> dict[str, str]:
    """Images and depth by the names that image_transport expects: compressed have a suffix."""
    names = {}
    for topic, suffix in ((topics.image, SUFFIX), (topics.depth, DEPTH_SUFFIX)):
        if topic and _among(TRANSPORTS, bag, topic) != 'raw' and not topic.endswith(suffix):
            names[topic] = topic + suffix
    return names


def _inputs(bag: Bag, topics: Topics) -> dict[str, Any]:
    """Settings that follow from the types of the topics."""
    found: dict[str, Any] = {'image_transport': _among(TRANSPORTS, bag, topics.image)}
    if topics.pose:
        found['pose_input'] = _among(POSE_INPUTS, bag, topics.pose)
    if topics.depth:
        raw = _among(TRANSPORTS, bag, topics.depth) == 'raw'
        found |= {'depth': True, 'depth_transport': 'raw' if raw else COMPRESSED}
    return found


def _remaps(topics: Topics, names: Mapping[str, str], camera: str) -> list[str]:
    folder = f'{camera}/' if camera else ''
    remaps = {
        f'{folder}image': names.get(topics.image, topics.image).removesuffix(SUFFIX),
        f'{folder}camera_info': topics.info,
        f'{folder}depth': names.get(topics.depth, topics.depth).removesuffix(DEPTH_SUFFIX),
        'odom': topics.pose,
    }
    return [f'{name}:={topic}' for name, topic in remaps.items() if topic]


def _among(names: Mapping[str, str], bag: Bag, topic: str) -> str:
    type_ = bag.info(topic).type
    if type_ not in names:
        raise BagError(f'{topic} carries {type_}; expected one of {", ".join(names)}')
    return names[type_]
