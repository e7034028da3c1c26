"""The node in its own process, and what `benchmarks/node_latency.py` sends to it and hears."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from node_latency_report import STAGES, Answer, Case, Usage
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from vpr_msgs.msg import PlaceMatch
from vpr_ros.config import NodeConfig, to_dict, updated
from vpr_ros.errors import RosError
from vpr_ros.evaluation.datasets import LoopSet
from vpr_ros.nodes.playback.node_process import NodeProcess, node_process
from vpr_ros.nodes.session import spinning_node
from vpr_ros.nodes.transport import free_domain_id, process_environment

TOPIC = '/place_recognition/place_match'
NODE = 'place_recognition'
SENT = 30  # different images of a case, again and again
START_TIMEOUT_S = 120.0
TRY_S = 0.5  # between two images while the node starts
LAST_ANSWER_S = 5.0
TICKS = os.sysconf('SC_CLK_TCK')
PAGES_OF_A_MIB = 2**20 / os.sysconf('SC_PAGE_SIZE')
NS = 1_000_000_000
STAMP = struct.Struct('<iI')
STAMP_AT = 4  # in a serialised message that begins with a header: after the encapsulation


class Link:
    """Sends images to the node and hears its answers, both serialised: this side costs little."""

    def __init__(self, node: Node, type_: type, topic: str) -> None:
        self._sent_s: dict[int, float] = {}  # by stamp
        self._heard: list[tuple[float, bytes]] = []
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._publisher = node.create_publisher(type_, topic, qos)
        node.create_subscription(PlaceMatch, TOPIC, self._hear, QoSProfile(depth=1000), raw=True)

    def wait_for_node(self, process: NodeProcess, message: bytearray) -> None:
        """Send an image now and then until the node answers, then begin to count.

        That we have found its subscription does not mean that it has found our publisher.

        Raises:
            RosError: it ended, or did not answer in time.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._heard:
            process.check()
            if time.monotonic() > deadline_s:
                raise RosError(f'the node answered no image within {START_TIMEOUT_S:g} s')
            self.send([message], 1 / TRY_S, 2)
        self.wait_for_last()
        self._sent_s.clear()
        self._heard.clear()

    def send(self, messages: list[bytearray], rate_hz: float, count: int) -> None:
        """Send images at a rate, again and again, stamped with the time they are due."""
        start_s, epoch_ns = time.perf_counter(), time.time_ns()
        for number in range(count):
            message = messages[number % len(messages)]
            due_s = number / rate_hz
            STAMP.pack_into(message, STAMP_AT, *divmod(epoch_ns + round(NS * due_s), NS))
            data = bytes(message)
            time.sleep(max(0.0, start_s + due_s - time.perf_counter()))
            self._sent_s[_stamp(data)] = time.perf_counter()
            self._publisher.publish(data)

    def wait_for_last(self) -> None:
        """Wait for the answer to the newest image, which is never dropped."""
        deadline_s = time.monotonic() + LAST_ANSWER_S
        last = max(self._sent_s)
        while time.monotonic() < deadline_s:
            if self._heard and _stamp(self._heard[-1][1]) == last:
                return
            time.sleep(0.01)

    def answers(self) -> tuple[int, list[Answer]]:
        """Images sent up to the one answered last, and the answers so far.

        Raises:
            RosError: there is none.
        """
        found = []
        for heard_s, data in self._heard:
            match = deserialize_message(data, PlaceMatch)
            stages = {name: getattr(match, f'{name}_ms') for name in STAGES}
            latency_ms = 1e3 * (heard_s - self._sent_s[_stamp(data)])
            found.append(Answer(latency_ms, match.images_dropped, stages))
        if not found:
            raise RosError('the node answered no image: look for settings that refuse them')
        last = _stamp(self._heard[-1][1])
        return sum(stamp <= last for stamp in self._sent_s), found

    def _hear(self, data: bytes) -> None:
        self._heard.append((time.perf_counter(), data))


@contextmanager
def running(
    case: Case, settings: Mapping[str, Any], folder: Path, message: bytearray
) -> Iterator[tuple[Link, NodeProcess]]:
    """The node in a process and a ROS domain of its own, which has answered a first image."""
    compressed = case.encoding == 'jpeg'
    given = {
        'image_transport': 'compressed' if compressed else 'raw',
        'verification.candidates': case.candidates,
        **settings,
        'autostart': True,
    }
    path = folder / 'node.yaml'
    parameters = to_dict(updated(NodeConfig(), given))
    path.write_text(yaml.safe_dump({NODE: {'ros__parameters': parameters}}), encoding='utf-8')
    environment = process_environment(free_domain_id())
    arguments = ['--params-file', str(path), '-r', 'image:=/camera/image']
    type_, suffix = (CompressedImage, '/compressed') if compressed else (Image, '')
    with (
        spinning_node('node_latency', environment) as node,
        node_process(arguments, environment, folder / 'node.log') as process,
    ):
        link = Link(node, type_, f'/camera/image{suffix}')
        link.wait_for_node(process, message)
        yield link, process


def images(data: LoopSet, case: Case) -> list[bytearray]:
    """Serialised messages of frames that are not in the map; their stamps are still to be set."""
    messages = []
    for frame in islice(data.images, 1, 2 * SENT, 2):
        pixels = frame
        if frame.shape[:2] != case.size:
            pixels = cv2.resize(frame, case.size[::-1], interpolation=cv2.INTER_CUBIC)
        messages.append(bytearray(serialize_message(image_message(pixels, case.encoding))))
    return messages


def image_message(frame: np.ndarray, encoding: str) -> Image | CompressedImage:
    """A message of an RGB picture (H, W, 3), uint8, with the frame camera."""
    if encoding == 'jpeg':
        message = CompressedImage(format='rgb8; jpeg compressed bgr8')
        message.data.frombytes(cv2.imencode('.jpg', frame[:, :, ::-1])[1].tobytes())
    else:
        pixels = frame if encoding == 'rgb8' else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        height, width = frame.shape[:2]
        message = Image(height=height, width=width, encoding=encoding)
        message.step = pixels.nbytes // height
        message.data.frombytes(pixels.tobytes())
    message.header.frame_id = 'camera'
    return message


def usage(process: NodeProcess) -> Usage:
    """What the process has taken so far."""
    folder = Path('/proc') / str(process.process.pid)
    ticks = (folder / 'stat').read_text().rpartition(')')[2].split()[11:13]
    pages = int((folder / 'statm').read_text().split()[1])
    return Usage(time.perf_counter(), sum(map(int, ticks)) / TICKS, pages / PAGES_OF_A_MIB)


def _stamp(message: bytes) -> int:
    """Nanoseconds of a serialised message that begins with a header."""
    seconds, rest = STAMP.unpack_from(message, STAMP_AT)
    return seconds * NS + rest
