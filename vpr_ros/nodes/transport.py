"""What one has to know of DDS so that images arrive, and how to say it to people.

Measured with Fast DDS, 640x480 rgb8, best effort, 30 Hz, two processes of one machine: with its
default transports nearly every image is lost; with LARGE_DATA all arrive. LARGE_DATA on one side
only: the two sides never find each other. ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST puts the default
transports back, whatever else is set. Jazzy (Fast DDS 2.14) loses most raw images with plain
LARGE_DATA as well, and none with larger buffers at the sender, which the system must allow; with
these, however, two processes now and then did not find each other, so nothing here sets them.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rclpy.duration import Duration, Infinite
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.utilities import get_rmw_implementation_identifier

from vpr_ros.errors import RosError

TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
LARGE_DATA = 'LARGE_DATA'
RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
LOCALHOST_ONLY = 'ROS_LOCALHOST_ONLY'  # the older spelling, which wins where it is set
DOMAIN_ID = 'ROS_DOMAIN_ID'
LARGER = f'{LARGE_DATA}?max_msg_size=4MB&sockets_size=4MB'  # for images of up to 1080p
LARGER_BYTES = 4 << 20
SHARED_MEMORY = Path('/dev/shm')

BOTH_SIDES = (
    f'set {TRANSPORTS}={LARGE_DATA} for this node and for the camera driver alike (on one side '
    'only they do not find each other), or use image_transport compressed'
)
IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')


def advice(environment: Mapping[str, str]) -> str | None:
    """One sentence on why raw images will be lost in this environment, or None."""
    if 'fastrtps' not in get_rmw_implementation_identifier():
        return None
    if _localhost(environment):
        return (
            f'{RANGE}=LOCALHOST makes Fast DDS use buffers that are smaller than a raw image, '
            f'most of which are lost then: unset it and {BOTH_SIDES}'
        )
    if not environment.get(TRANSPORTS, '').startswith(LARGE_DATA):
        return f'with its default transports Fast DDS loses most raw images: {BOTH_SIDES}'
    return None


def process_environment(domain_id: int) -> dict[str, str]:
    """Environment of a process that we start ourselves: its own domain, room for images."""
    environment = {**os.environ, DOMAIN_ID: str(domain_id), RANGE: 'SUBNET'}
    environment.pop(LOCALHOST_ONLY, None)
    environment.setdefault(TRANSPORTS, LARGE_DATA)
    return environment


def free_domain_id() -> int:
    """A ROS_DOMAIN_ID in 1..100 that nobody on this machine uses, beginning with our own pid's.

    Raises:
        RosError: all of them are in use.
    """
    for offset in range(100):
        domain_id = 1 + (os.getpid() + offset) % 100
        if _is_free(domain_id):
            _sweep(domain_id)
            return domain_id
    raise RosError('every ROS_DOMAIN_ID from 1 to 100 is in use on this machine: end a process')


def _is_free(domain_id: int) -> bool:
    """Whether nobody listens where the participants of a domain do (DDSI-RTPS 2.5, 9.6.2.4).

    With discovery among LOCALHOST only the participants' own ports are in use.
    """
    base = 7400 + 250 * domain_id  # of multicast
    for port in (base, *range(base + 10, base + 30, 2)):  # those of the first ten participants
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', port))
            except OSError:
                return False
    return True


def _sweep(domain_id: int) -> None:
    """Remove what Fast DDS has left in shared memory for the ports of a domain that is free.

    Processes that were killed leave their ports there, and now and then a later participant of the
    same domain is never found because of them.
    """
    first = 7400 + 250 * domain_id
    for path in SHARED_MEMORY.glob('*fastdds_port*'):
        digits = re.search(r'fastdds_port(\d+)', path.name)
        if digits and first <= int(digits[1]) < first + 250:
            with suppress(OSError):  # somebody else's
                path.unlink()


def explain_silence(node: Node, topic: str, type_: str, qos: QoSProfile) -> str:
    """Why no image arrives on a topic, as far as this side can tell.

    Args:
        node: that waits.
        topic: fully qualified.
        type_: expected, for example sensor_msgs/msg/Image.
        qos: of the subscription.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return f'no image on {topic}, which nobody publishes; {_elsewhere(node, topic)}'
    alike = [publisher for publisher in publishers if publisher.topic_type == type_]
    if not alike:
        found = publishers[0].topic_type
        named = f'{_named(publishers)} publishes {found}, expected {type_}'
        return f'no image on {topic}: {named}: {_other_transport(found)}'
    fitting = [publisher for publisher in alike if _fits(publisher.qos_profile, qos)]
    if fitting:
        profiles = _profiles(qos, fitting)
        reason = advice(os.environ) or f'is {_named(fitting)} paused?'
        return f'no image on {topic} ({profiles}), though compatible: {reason}'
    change = _change(topic, alike[0].qos_profile, qos)
    profiles = _profiles(qos, alike)
    return f'no image on {topic}, incompatible quality of service ({profiles}): {change}'


def explain_no_pose(node: Node, topic: str, type_: str, inputs: Mapping[str, str]) -> str:
    """Why no pose arrives on a topic, as far as this side can tell.

    Args:
        node: that waits, best effort.
        topic: fully qualified.
        type_: expected, for example nav_msgs/msg/Odometry.
        inputs: what pose_input is to be for each type.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return (
            f'no pose on {topic}, which nobody publishes: remap odom, or set pose_input to tf or '
            'none'
        )
    found = {publisher.topic_type for publisher in publishers}
    if type_ in found:
        return f'no pose on {topic}, though {_named(publishers)} publishes it: is it paused?'
    other = publishers[0].topic_type
    change = f'set pose_input to {inputs[other]}' if other in inputs else 'remap odom'
    return (
        f'no pose on {topic}: {_named(publishers)} publishes {other}, expected {type_}: {change}'
    )


def describe_qos(profile: QoSProfile) -> str:
    """A profile in words: what is known of it, and what is not usual.

    Of another node's profile DDS does not tell history and depth.
    """
    words = [
        _RELIABILITY.get(profile.reliability, 'reliability unknown'),
        _DURABILITY.get(profile.durability, 'durability unknown'),
    ]
    if profile.history == HistoryPolicy.KEEP_ALL:
        words.append('keep all')
    elif profile.history == HistoryPolicy.KEEP_LAST:
        words.append(f'keep last {profile.depth}')
    for name in ('deadline', 'lifespan'):
        if _is_finite(getattr(profile, name)):
            words.append(f'{name} {getattr(profile, name).nanoseconds / 1e9:g} s')
    if profile.liveliness == LivelinessPolicy.MANUAL_BY_TOPIC:
        words.append('liveliness manual by topic')
    return ', '.join(words)


def explain_loss(count: int, topic: str) -> str:
    """Why images of a topic were lost between publisher and node."""
    reason = advice(os.environ) or (
        f'the machine is overloaded, or buffers are too small: start the camera driver with '
        f'{TRANSPORTS}={LARGER}, where net.core.rmem_max is at least {LARGER_BYTES}'
    )
    return f'images of {topic} are lost on the way, {count} since the last report: {reason}'


def explain_delay(count: int, topic: str) -> str:
    """Why images of a topic were not looked at although they came."""
    return (
        f'images of {topic} come after those of the other cameras of their moment were answered, '
        f'and are not looked at, {count} since the last report: shorten their way '
        '(image_transport compressed, a faster driver), or compare the clocks of the cameras'
    )


_RELIABILITY = {
    ReliabilityPolicy.RELIABLE: 'reliable',
    ReliabilityPolicy.BEST_EFFORT: 'best effort',
    ReliabilityPolicy.BEST_AVAILABLE: 'reliability best available',
    ReliabilityPolicy.SYSTEM_DEFAULT: 'reliability by default',
}
_DURABILITY = {
    DurabilityPolicy.TRANSIENT_LOCAL: 'transient local',
    DurabilityPolicy.VOLATILE: 'volatile',
    DurabilityPolicy.BEST_AVAILABLE: 'durability best available',
    DurabilityPolicy.SYSTEM_DEFAULT: 'durability by default',
}
SHOWN = 2  # publishers of one topic that a sentence names


def _fits(offered: QoSProfile, requested: QoSProfile) -> bool:
    return qos_check_compatible(offered, requested)[0] != QoSCompatibility.ERROR


def _is_finite(duration: Duration) -> bool:
    return 0 < duration.nanoseconds < Infinite.nanoseconds


def _profiles(requested: QoSProfile, publishers: Sequence[TopicEndpointInfo]) -> str:
    """Both sides of a topic in words."""
    offers = [
        f'offered by {_named([publisher])}: {describe_qos(publisher.qos_profile)}'
        for publisher in publishers[:SHOWN]
    ]
    return '; '.join([f'requested: {describe_qos(requested)}', *offers, *_more(publishers)])


def _named(publishers: Sequence[TopicEndpointInfo]) -> str:
    """Names of the nodes that publish."""
    names = [f'{x.node_namespace.rstrip("/")}/{x.node_name}' for x in publishers[:SHOWN]]
    return ' and '.join([*dict.fromkeys(names), *_more(publishers)])


def _more(publishers: Sequence[TopicEndpointInfo]) -> list[str]:
    return [f'{len(publishers) - SHOWN} more'] if len(publishers) > SHOWN else []


def _change(topic: str, offered: QoSProfile, requested: QoSProfile) -> str:
    """What to change so that a request is met."""
    reliable, lasting = ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL
    if requested.reliability == reliable and offered.reliability != reliable:
        return f'set qos_overrides.{topic}.subscription.reliability to best_effort'
    if requested.durability == lasting and offered.durability != lasting:
        return 'ask for volatile, or let the publisher offer transient local'
    return 'ask for no stricter deadline and liveliness than are offered'


def _other_transport(found: str) -> str:
    """What to do about a topic of another type."""
    if found not in IMAGE_TYPES:
        return 'remap it to a topic of images'
    return f'set image_transport to {"compressed" if "Compressed" in found else "raw"}'


def _elsewhere(node: Node, topic: str) -> str:
    ours = {topic, *(publisher.topic_name for publisher in node.publishers)}
    others = [
        name
        for name, types in node.get_topic_names_and_types()
        if name not in ours and set(types) & set(IMAGE_TYPES) and node.count_publishers(name)
    ]
    if others:
        return (
            f'there are images on {", ".join(sorted(others))}: remap image or set image_transport'
        )
    if os.environ.get(TRANSPORTS, '').startswith(LARGE_DATA):
        return f'a camera driver without {TRANSPORTS}={LARGE_DATA} cannot be seen from here'
    return 'is the camera driver running, with the same ROS_DOMAIN_ID?'


def _localhost(environment: Mapping[str, str]) -> bool:
    return environment.get(LOCALHOST_ONLY) == '1' or environment.get(RANGE) == 'LOCALHOST'
