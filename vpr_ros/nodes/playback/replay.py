"""A recording published over DDS, at its own pace or as fast as the live node follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

from vpr_ros.bags.reader import Bag, RawMessage, open_bag
from vpr_ros.errors import ConfigError
from vpr_ros.nodes.playback.answers import TOPIC, Answers
from vpr_ros.nodes.playback.player import Player
from vpr_ros.nodes.session import spinning_node

DISCOVERY_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 10.0

Progress = Callable[[int, int], None]


@dataclass
class ReplaySummary:
    """What was published, and what was not."""

    messages: int = 0
    images: int = 0  # that somebody listened to
    unanswered: int = 0  # in lockstep: images whose answer did not come in time
    skipped: dict[str, str] = field(default_factory=dict)  # topics whose type is not installed
    losses: int = 0  # messages that could not be read
    duration_s: float = 0.0


class Pace(Protocol):
    """When the next message is published."""

    def before(self, message: RawMessage, image_stamp_ns: int | None) -> None:
        """Wait until a message is due; the stamp is that of an image somebody listens to."""

    def after(self, image_stamp_ns: int | None) -> bool:
        """Wait for what follows from it; False when that did not come."""


class OwnTiming:
    """As it was recorded, or `rate` times as fast."""

    def __init__(self, rate: float = 1.0) -> None:
        if not rate > 0:
            raise ConfigError(f'expected a rate above 0, found {rate:g}')
        self._rate = rate
        self._start = 0.0, 0  # when a round of the recording began, and its first stamp
        self._last_ns: int | None = None

    def before(self, message: RawMessage, image_stamp_ns: int | None) -> None:
        now_s = time.perf_counter()
        if self._last_ns is None or message.stamp_ns < self._last_ns:
            self._start = now_s, message.stamp_ns
        self._last_ns = message.stamp_ns
        start_s, start_ns = self._start
        time.sleep(max(0.0, start_s + (message.stamp_ns - start_ns) / 1e9 / self._rate - now_s))

    def after(self, image_stamp_ns: int | None) -> bool:
        return True


class Lockstep:
    """As fast as every image is answered."""

    def __init__(self, answers: Answers, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._answers = answers
        self._timeout_s = timeout_s

    def before(self, message: RawMessage, image_stamp_ns: int | None) -> None:
        if image_stamp_ns is not None:
            self._answers.expect(image_stamp_ns)

    def after(self, image_stamp_ns: int | None) -> bool:
        return image_stamp_ns is None or self._answers.wait(self._timeout_s)


def replay(
    bag_path: Path | str,
    topics: Iterable[str] | None = None,
    rate: float = 1.0,
    lockstep: bool = False,
    loop: bool = False,
    remaps: Mapping[str, str] | None = None,
    progress: Progress = lambda done, total: None,
    clock: bool = False,
    answers: str = TOPIC,
    discovery_timeout_s: float = DISCOVERY_TIMEOUT_S,
) -> ReplaySummary:
    """Publish a recording, once somebody subscribes to its images.

    Args:
        bag_path: the recording.
        topics: to publish; all of them when None.
        rate: times as fast as recorded.
        lockstep: wait for the answer to each image in place of keeping time.
        loop: begin anew at the end, until interrupted.
        remaps: other names for topics of the recording.
        progress: called with messages published and messages in all.
        clock: publish recording time on /clock, for nodes with use_sim_time.
        answers: topic of the PlaceMatch messages, for lockstep.
        discovery_timeout_s: how long to wait for a subscriber.

    Raises:
        BagError: the recording or a topic of it cannot be read, or has no images.
        ConfigError: the rate is not above 0.
        RosError: nobody subscribed in time.
    """
    with open_bag(bag_path) as bag, spinning_node('vpr_replay') as node:
        player = Player(node, bag, topics, remaps, clock)
        pace = Lockstep(Answers(node, answers)) if lockstep else OwnTiming(rate)
        player.wait_for_subscriber(discovery_timeout_s)
        return play(bag, player, pace, progress, rounds=count() if loop else range(1))


def play(
    bag: Bag,
    player: Player,
    pace: Pace,
    progress: Progress = lambda done, total: None,
    rounds: Iterable[int] = range(1),
    published: Callable[[int], None] = lambda image_stamp_ns: None,
) -> ReplaySummary:
    """Publish a recording at a pace.

    Args:
        bag: the recording.
        player: its publishers.
        pace: when each message is due.
        progress: called with messages published and messages in all.
        rounds: one item for each time the recording is played.
        published: called with the stamp of an image just before it is published.
    """
    summary = ReplaySummary(skipped=player.skipped)
    start_s = time.perf_counter()
    for message in _messages(bag, player, rounds):
        image_stamp_ns = player.heard_image_stamp_ns(message)
        pace.before(message, image_stamp_ns)
        if image_stamp_ns is not None:
            published(image_stamp_ns)
            summary.images += 1
        player.publish(message)
        summary.unanswered += not pace.after(image_stamp_ns)
        summary.messages += 1
        progress(summary.messages, player.total)
    summary.losses = len(bag.losses)
    summary.duration_s = time.perf_counter() - start_s
    return summary


def _messages(bag: Bag, player: Player, rounds: Iterable[int]) -> Iterator[RawMessage]:
    for _ in rounds:
        yield from bag.raw(player.topics)
