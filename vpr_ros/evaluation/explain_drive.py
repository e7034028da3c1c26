"""The images of a recording that lead up to one moment, and the answer to the last of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vpr_ros.bags.keyframes import KeyframeSelector
from vpr_ros.bags.reader import Bag, open_bag
from vpr_ros.errors import BagError
from vpr_ros.evaluation.explain_record import stamp_words
from vpr_ros.recognition.drive import Drive, DriveOptions
from vpr_ros.records import Frame, Pose, Recognition

NS = 1_000_000_000
NEAR_NS = 50_000_000  # an image this near to the stamp asked for is meant by it
LATE_S = 2.0  # recording time may be this much off the stamps of the headers

Answer = Callable[[Frame, Pose | None], Recognition]


@dataclass(frozen=True)
class Moment:
    """The image asked for, the answer to it, and how many keyframes were answered before it."""

    frame: Frame
    pose: Pose | None
    recognition: Recognition
    before: int
    losses: tuple[str, ...]


class _Target(NamedTuple):
    """An image: its stamp, and when it was recorded, in seconds since the start, where known."""

    stamp_ns: int
    recorded_s: float | None


def answer_moment(
    bag_path: Path | str,
    stamp_ns: int | None,
    at_s: float,
    context_s: float,
    options: DriveOptions,
    answer: Callable[[str], Answer],
) -> Moment:
    """Answer the keyframes before a moment of a recording, and then the image of that moment.

    Args:
        bag_path: the recording.
        stamp_ns: of the image; None: `at_s` says which.
        at_s: the first image from so many seconds after the start of the recording on.
        context_s: keyframes of this many seconds before it are answered, too.
        options: topics and keyframe rule.
        answer: given the image topic, what answers the images one by one.

    Raises:
        BagError: the recording cannot be read, or has no image of that stamp.
    """
    with open_bag(bag_path) as bag:
        drive = Drive(bag, options)
        drive.open_depth()
        if stamp_ns is None:
            target = _at(bag, drive.topic, at_s)
        else:
            target = _of_stamp(bag, drive.topic, stamp_ns)
        frames = _leading_to(bag, drive.topic, target, context_s)
        return _answered(drive, options, frames, target, answer(drive.topic))


def _answered(
    drive: Drive, options: DriveOptions, frames: Iterator[Frame], target: _Target, ask: Answer
) -> Moment:
    """Ask about the keyframes among the images, and about the one that is meant in any case."""
    selector, before = KeyframeSelector(options.keyframes), 0
    for frame in frames:
        pose = None
        if drive.trajectory:
            pose = drive.trajectory.at(frame.stamp_ns, options.poses.max_gap_s)
        if frame.stamp_ns == target.stamp_ns:
            seen = drive.with_depth(frame)
            return Moment(seen, pose, ask(seen, pose), before, drive.losses())
        if selector.take(frame.stamp_ns, pose):
            ask(drive.with_depth(frame), pose)
            before += 1
    raise BagError(
        f'the recording had an image of stamp {stamp_words(target.stamp_ns)} a moment ago and has '
        'it no more: let it end first'
    )


def _leading_to(bag: Bag, topic: str, target: _Target, context_s: float) -> Iterator[Frame]:
    """Images of the context and, last, the one that is meant."""
    earliest_ns = target.stamp_ns - round(context_s * NS)
    start_s = None
    if target.recorded_s is not None:
        start_s = max(0.0, target.recorded_s - context_s - LATE_S)
    for frame in bag.frames(topic, start_s):
        if earliest_ns <= frame.stamp_ns <= target.stamp_ns:
            yield frame
            if frame.stamp_ns == target.stamp_ns:
                return


def _at(bag: Bag, topic: str, at_s: float) -> _Target:
    """The first image from a second of the recording on."""
    for frame in bag.frames(topic, at_s):
        return _Target(frame.stamp_ns, at_s)
    raise BagError(
        f'{bag.path} has no image on {topic} from {at_s:g} s after its start on: it lasts '
        f'{bag.duration_s:.1f} s'
    )


def _of_stamp(bag: Bag, topic: str, stamp_ns: int) -> _Target:
    """The image of a stamp: looked for about that time of the recording, then everywhere."""
    recorded_s = (stamp_ns - bag.start_ns) / NS
    nearest = None
    if -LATE_S <= recorded_s <= bag.duration_s + LATE_S:
        nearest = _nearest(
            bag, topic, stamp_ns, max(0.0, recorded_s - LATE_S), recorded_s + LATE_S
        )
        if nearest is not None and abs(nearest - stamp_ns) <= NEAR_NS:
            return _Target(nearest, recorded_s)
    nearest = _nearest(bag, topic, stamp_ns)
    if nearest is None:
        raise BagError(f'{bag.path} has no readable image on {topic}')
    if abs(nearest - stamp_ns) > NEAR_NS:
        raise BagError(
            f'{bag.path} has no image of stamp {stamp_words(stamp_ns)} on {topic}: the nearest is '
            f'{stamp_words(nearest)}'
        )
    return _Target(nearest, None)


def _nearest(bag: Bag, topic: str, stamp_ns: int, *window: float) -> int | None:
    stamps = (frame.stamp_ns for frame in bag.frames(topic, *window))
    return min(stamps, key=lambda stamp: abs(stamp - stamp_ns), default=None)
