"""Recorded depth: the topic beside a camera, and the depth image of one of its images."""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from vpr_ros.bags.depth_images import depth_from_message, nearest
from vpr_ros.bags.message_types import IMAGE_TYPES, stamp_ns_of
from vpr_ros.bags.reader import Bag
from vpr_ros.errors import BagError, ImageError
from vpr_ros.records import Frame

LATE_S = 0.5  # a depth image may be recorded so much before or after its image


def depth_topic(bag: Bag, image_topic: str, topic: str = '') -> str | None:
    """Topic of the depth images that are aligned with those of a camera.

    Where none is named it is looked for beside the camera, from its folder outwards: a topic with
    `depth` in its name that carries depth images in the frame of the camera's images, which is
    what REP 118 calls registered. Depth in another frame belongs to another view.

    Args:
        bag: an open recording.
        image_topic: of the camera.
        topic: the one to take; empty: look for it.

    Returns:
        None where there is none.

    Raises:
        BagError: the topic named is not there, or carries no depth images.
    """
    if topic:
        return _checked(bag, topic)
    candidates = [x for x in bag.image_topics() if x != image_topic and bag.carries_depth(x)]
    frame = _frame(bag, image_topic) if candidates else ''
    aligned = [x for x in candidates if frame and _frame(bag, x) == frame]
    folder = image_topic
    while aligned and folder not in ('', '/'):
        folder = posixpath.dirname(folder)
        beside = [x for x in aligned if x.startswith(folder.rstrip('/') + '/')]
        if beside:
            return beside[0]
    return None


class RecordedDepth:
    """Depth images of a topic, asked for image by image in the order of the recording.

    Read on from image to image: what is kept is what was recorded within LATE_S of the last one.
    """

    def __init__(self, bag: Bag, topic: str, max_gap_s: float) -> None:
        """Bind a topic.

        Args:
            bag: an open recording.
            topic: of its depth images.
            max_gap_s: largest time between an image and its depth image, by their headers.
        """
        self.topic = topic
        self.asked = self.found = 0  # images, and those of them with depth
        self.faults: dict[str, None] = {}
        self._bag, self._max_gap_s = bag, max_gap_s
        self._kept: deque[tuple[int, Any]] = deque()  # when recorded, and the message
        self._read_ns: int | None = None  # time of the recording that was read up to
        self._messages: Iterator[tuple[str, int, Any]] = iter(())

    def at(self, frame: Frame) -> np.ndarray | None:
        """Depth (H, W), float32, metres, of an image, 0 where not known; None: there is none."""
        self.asked += 1
        self._read_about(frame.recorded_ns)
        stamps = [stamp_ns_of(message.header) for _, message in self._kept]
        index = nearest(stamps, frame.stamp_ns, self._max_gap_s)
        if index is None:
            return None
        try:
            depth = depth_from_message(self._kept[index][1])
        except ImageError as error:
            self.faults[str(error)] = None
            return None
        self.found += 1
        return depth

    def losses(self) -> tuple[str, ...]:
        """What could not be used so far, a sentence each."""
        faults = tuple(f'{self.topic}: {fault}' for fault in self.faults)
        if not self.asked or self.found or faults:
            return faults
        return (
            f'{self.topic}: expected depth within {self._max_gap_s:g} s of an image, found none '
            f'for any of {self.asked} images; allow a longer gap, or correct the stamps',
        )

    def _read_about(self, recorded_ns: int) -> None:
        late_ns = round(LATE_S * 1e9)
        if self._read_ns is None:
            start_s = (recorded_ns - late_ns - self._bag.start_ns) / 1e9
            self._messages = self._bag.messages([self.topic], max(0.0, start_s))
            self._read_ns = recorded_ns - late_ns
        while self._kept and self._kept[0][0] < recorded_ns - late_ns:
            self._kept.popleft()
        while self._read_ns <= recorded_ns + late_ns:
            item = next(self._messages, None)
            if item is None:
                break
            _, self._read_ns, message = item
            if self._read_ns >= recorded_ns - late_ns:
                self._kept.append((self._read_ns, message))


def _checked(bag: Bag, topic: str) -> str:
    """The topic, once its first message was seen to be a depth image."""
    type_, found = bag.info(topic).type, ''
    if type_ not in IMAGE_TYPES:
        found = f'it carries {type_}'
    else:
        messages = bag.first(topic)
        found = '' if messages else 'nothing of it can be read'
        try:
            for message in messages:
                depth_from_message(message)
        except ImageError as error:
            found = str(error)
    if found:
        raise BagError(f'{topic} of {bag.path} gives no depth images: {found}')
    return topic


def _frame(bag: Bag, topic: str) -> str:
    return ''.join(message.header.frame_id.lstrip('/') for message in bag.first(topic))
