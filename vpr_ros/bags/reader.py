"""Recordings of ROS 1 and ROS 2, with or without ROS: topics, images, messages, raw bytes.

A damaged recording is read as far as it goes: `notes` tells what is wrong with its files and
`losses` which messages could not be used. Both are complete once the iterator has ended.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from rosbags.interfaces import Connection

from vpr_ros.bags.codec import Codec, ros2_type
from vpr_ros.bags.depth_images import is_depth
from vpr_ros.bags.folder import open_folder
from vpr_ros.bags.images import image_from_message
from vpr_ros.bags.message_types import IMAGE_TYPES, POSES, TRANSFORM_TYPE, stamp_ns_of
from vpr_ros.bags.storage import Storage, open_file
from vpr_ros.errors import BagError, VprError
from vpr_ros.records import Frame

T = TypeVar('T')

FOREVER_NS = 2**63 - 1
WORD = 'depth'  # in the name of a depth topic


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """What a topic carries: type in the spelling of ROS 2, number of messages of that type."""

    type: str
    count: int


@dataclass(frozen=True, slots=True)
class Loss:
    """A message that could not be used: its number within the topic, and when it was recorded."""

    topic: str
    index: int
    stamp_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as DDS carries it: recording stamp, type and CDR bytes of ROS 2."""

    topic: str
    type: str
    stamp_ns: int
    cdr: bytes


class Bag:
    """An open recording. Iterators are lazy and read the files anew; memory stays bounded."""

    def __init__(self, path: Path, storages: list[Storage], notes: list[str], stack: ExitStack):
        self.path = path
        self._storages, self._notes, self._stack = storages, notes, stack
        self._codec = Codec()
        self._losses: dict[Loss, None] = {}
        self.start_ns = min(x.start_ns for x in storages)
        self.end_ns = max(x.end_ns for x in storages)
        self.topics = _topics(storages)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def notes(self) -> list[str]:
        """Sentences about what is wrong with the files; empty when nothing is."""
        return self._notes + [x for storage in self._storages for x in storage.notes]

    @property
    def losses(self) -> list[Loss]:
        """Messages that could not be used so far; reading twice does not count them twice."""
        return list(self._losses)

    def image_topics(self) -> list[str]:
        """Topics that carry at least one image message."""
        return [x for x, info in self.topics.items() if info.type in IMAGE_TYPES and info.count]

    def pose_topics(self) -> list[str]:
        """Topics that `poses.read_trajectory` takes, without the static transforms."""
        return [
            name
            for name, info in self.topics.items()
            if info.count
            and info.type in (*POSES, TRANSFORM_TYPE)
            and not name.endswith('tf_static')
        ]

    def info(self, topic: str) -> TopicInfo:
        """Type and number of messages of a topic.

        Raises:
            BagError: no such topic; it names those that exist.
        """
        if topic not in self.topics:
            known = ', '.join(f'{name} ({info.type})' for name, info in self.topics.items())
            raise BagError(f'{self.path} has no topic {topic!r}; it has {known}.')
        return self.topics[topic]

    def count(self, topic: str) -> int:
        """Number of messages of a topic, for progress bars; raises as `info` does."""
        return self.info(topic).count

    def image_topic(self, topic: str | None = None) -> str:
        """Check an image topic; None takes the only one that is not depth.

        Raises:
            BagError: none or several, or a topic that is not there or carries no images.
        """
        choices = self.image_topics()
        if topic is None:
            choices = [x for x in choices if not self.carries_depth(x)]
            if len(choices) != 1:
                raise BagError(self._which_images(choices))
            return choices[0]
        if self.info(topic).type not in IMAGE_TYPES:
            raise BagError(
                f'{self.path}: topic {topic!r} carries {self.topics[topic].type}, not images; '
                f'image topics are {", ".join(choices) or "none"}.'
            )
        return topic

    def _which_images(self, choices: list[str]) -> str:
        if choices:
            return f'{self.path}: name one image topic; it has {", ".join(choices)}.'
        found = ', '.join(self.topics)
        return f'{self.path} has no images to work with: expected an image topic, found {found}.'

    def carries_depth(self, topic: str) -> bool:
        """Whether an image topic says in its name and in its first message that it is depth."""
        if WORD not in topic.lower() or topic not in self.image_topics():
            return False
        return any(is_depth(message) for message in self.first(topic))

    def first(self, topic: str) -> list[Any]:
        """The first message of a topic that can be read; empty where there is none.

        Raises:
            BagError: no such topic.
        """
        return [message for _, _, message in islice(self.messages([topic]), 1)]

    def frames(
        self, topic: str | None = None, start_s: float | None = None, end_s: float | None = None
    ) -> Iterator[Frame]:
        """Yield the pictures of an image topic, by default of the only one.

        `start_s` and `end_s` are seconds of recording time since the start of the recording; the
        stamp of a frame is that of its header. A message that holds no picture becomes a `Loss`.

        Raises:
            BagError: no such topic, it carries no images, or there are several to choose from.
        """
        name = self.image_topic(topic)

        def frame(connection: Connection, data: bytes) -> Frame:
            message = self._codec.deserialize(connection, data)
            header = message.header
            return Frame(image_from_message(message), stamp_ns_of(header), name, header.frame_id)

        return (
            replace(x, recorded_ns=stamp_ns)
            for _, stamp_ns, x in self._decoded([name], frame, start_s, end_s)
        )

    def messages(
        self, topics: Iterable[str], start_s: float | None = None
    ) -> Iterator[tuple[str, int, Any]]:
        """Yield topic, recording stamp in nanoseconds and message object.

        `start_s` is as in `frames`.

        Raises:
            BagError: no such topic.
        """
        return self._decoded(self._known(topics), self._codec.deserialize, start_s)

    def raw(self, topics: Iterable[str] | None = None) -> Iterator[RawMessage]:
        """Yield messages for a replay over DDS, by default of all topics.

        Raises:
            BagError: no such topic.
        """
        names = self._known(self.topics if topics is None else topics)
        return (
            RawMessage(name, self.topics[name].type, stamp_ns, cdr)
            for name, stamp_ns, cdr in self._decoded(names, self._codec.to_cdr)
        )

    def _decoded(
        self,
        topics: list[str],
        decode: Callable[[Connection, bytes], T],
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> Iterator[tuple[str, int, T]]:
        """Decode messages one by one; note those that cannot be, or are of another type."""
        start_ns = 0 if start_s is None else self.start_ns + round(start_s * 1e9)
        stop_ns = FOREVER_NS if end_s is None else self.start_ns + round(end_s * 1e9) + 1
        seen = dict.fromkeys(topics, -1)
        for storage in self._storages:
            for connection, stamp_ns, data in storage.messages(seen, start_ns, stop_ns):
                topic = connection.topic
                seen[topic] += 1
                try:
                    self._require_type(connection)
                    decoded = decode(connection, data)
                except VprError as error:
                    self._losses[Loss(topic, seen[topic], stamp_ns, str(error))] = None
                    continue
                yield topic, stamp_ns, decoded

    def _require_type(self, connection: Connection) -> None:
        """Two publishers can disagree about a topic: it carries what most of its messages are."""
        found, wanted = ros2_type(connection.msgtype), self.topics[connection.topic].type
        if found != wanted:
            raise BagError(f'{connection.topic} carries {wanted}; this message is a {found}')

    def _known(self, topics: Iterable[str]) -> list[str]:
        names = list(topics)
        for name in names:
            self.info(name)
        return names


def open_bag(path: Path | str) -> Bag:
    """Open a rosbag1 file, or a rosbag2 folder or file (sqlite3 or mcap).

    Raises:
        BagError: there is no recording of ROS there, or nothing of it can be read.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise BagError(
            f'there is no recording {path}; expected a .bag, .mcap or .db3, or a folder.'
        )
    try:
        with ExitStack() as stack:
            if path.is_dir():
                storages, notes = open_folder(path, stack)
            else:
                storages, notes = [open_file(path)], []
                stack.callback(storages[0].close)
            return Bag(path, storages, notes, stack.pop_all())
    except OSError as error:
        raise BagError(f'{path} cannot be read: {error.strerror}.') from None


def _topics(storages: list[Storage]) -> dict[str, TopicInfo]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for connection in (x for storage in storages for x in storage.connections):
        counts[connection.topic][ros2_type(connection.msgtype)] += connection.msgcount
    return {topic: TopicInfo(*types.most_common(1)[0]) for topic, types in sorted(counts.items())}
