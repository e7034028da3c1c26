"""Where the robot was: a trajectory out of the pose, odometry or tf topic of a recording."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from vpr_ros.bags.message_types import POSES, TRANSFORM_TYPE, stamp_ns_of
from vpr_ros.bags.reader import Bag
from vpr_ros.bags.trajectory import Samples, Trajectory
from vpr_ros.bags.transforms import read_transforms
from vpr_ros.config import PoseConfig
from vpr_ros.errors import BagError


def read_trajectory(
    bag: Bag,
    topic: str,
    parent_frame: str = '',
    child_frame: str = '',
    max_gap_s: float = PoseConfig.max_gap_s,
) -> Trajectory:
    """Read the poses of a topic; the stamps are those of the headers.

    A tf topic needs `parent_frame` (map, odom) and `child_frame` (base_link), and `max_gap_s`
    limits the interpolation of one transform at the stamps of another. Elsewhere the frames
    select poses; without them those of the most frequent pair of frames are taken.

    Raises:
        BagError: no such topic, no poses in it, none between these frames, or a frame is missing.
    """
    type_ = bag.info(topic).type
    if type_ == TRANSFORM_TYPE:
        if not parent_frame or not child_frame:
            raise BagError(
                f'{topic} carries transforms between many frames; name the parent frame '
                '(such as map or odom) and the child frame (such as base_link).'
            )
        return read_transforms(bag, topic, parent_frame, child_frame, max_gap_s)
    if type_ not in POSES:
        raise BagError(
            f'{topic} carries {type_}, not poses; pose topics are '
            f'{", ".join(bag.pose_topics()) or "none"}.'
        )
    return _read_poses(bag, topic, POSES[type_], parent_frame, child_frame)


def _read_poses(
    bag: Bag,
    topic: str,
    pose_of: Callable[[Any], tuple[Any, Any]],
    parent_frame: str,
    child_frame: str,
) -> Trajectory:
    samples: dict[tuple[str, str], Samples] = defaultdict(Samples)
    for _, _, message in bag.messages([topic]):
        frames = (message.header.frame_id, getattr(message, 'child_frame_id', ''))
        samples[frames].add(stamp_ns_of(message.header), *pose_of(message))
    # Only odometry and transforms state their child frame.
    wanted = {
        frames: found
        for frames, found in samples.items()
        if parent_frame in ('', frames[0]) and (not frames[1] or child_frame in ('', frames[1]))
    }
    if not wanted:
        found = ', '.join(f'{x!r} to {y!r}' if y else repr(x) for x, y in samples)
        raise BagError(
            f'{topic} has no poses from {parent_frame!r} to {child_frame!r}; '
            f'its frames are {found or "none"}.'
        )
    frames = max(wanted, key=lambda x: len(wanted[x]))
    count, total = len(wanted[frames]), sum(map(len, samples.values()))
    note = f'{total - count} of {total} poses of {topic} are between other frames and left out.'
    trajectory = wanted[frames].trajectory(*frames, [note] if count < total else [])
    if not len(trajectory):
        raise BagError(f'{topic} has no usable pose: {" ".join(trajectory.notes)}')
    return trajectory
