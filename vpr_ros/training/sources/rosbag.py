"""Recorded drives of one area, in one frame: keyframes with poses, over all sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vpr_ros.bags.reader import Bag, open_bag
from vpr_ros.errors import DatasetError
from vpr_ros.recognition.drive import NO_POSES, Drive, DriveOptions
from vpr_ros.records import Pose
from vpr_ros.training.sources.grouping import group_views
from vpr_ros.training.sources.pictures import StoredPictures
from vpr_ros.training.sources.store import Store, cache_folder, key_of, state_of
from vpr_ros.training.views import Joined, ViewSet

Progress = Callable[[int, int], None]
Note = Callable[[str], None]
Columns = dict[str, list]

OWN_FRAME = 'odom'  # REP 105: it begins where a drive does, and drifts
LOOKS = 16  # at pictures of one time in two recordings
LEAST_SHARED = 0.1  # of the shorter one; less may be chance where a simulator begins at time 0
SAME_LEVELS = 4.0  # of 255, mean difference of one picture that was compressed and one not


def read_drives(
    paths: list[Path],
    options: DriveOptions,
    progress: Progress = lambda done, total: None,
    viewing_axis: int = 0,
    note: Note = lambda sentence: None,
) -> ViewSet:
    """Keyframes with poses of several sessions, and the places they share.

    Keyframes without a finite pose are left out. Pictures are decoded once and kept in the cache.

    Args:
        paths: recordings whose poses have one frame.
        options: topics and keyframes.
        progress: called with images read and in all, of each recording in turn.
        viewing_axis: axis of the base that the camera looks along, 0: x.
        note: told what could not be used, and of frames that differ in name.

    Raises:
        BagError: a recording or a topic cannot be read.
        DatasetError: one has no poses, or two hold the same pictures.
    """
    drives = [Recorded(path, *_read(path, options, progress, viewing_axis)) for path in paths]
    for drive in drives:
        for sentence in drive.table['notes'].tolist():
            note(f'{drive.path}: {sentence}')
    _refuse_copies(drives)
    for sentence in _doubts(drives):
        note(sentence)
    pose = np.concatenate([drive.table['pose'] for drive in drives])
    sessions = np.repeat(np.arange(len(drives)), [len(drive.pictures) for drive in drives])
    return ViewSet(
        Joined([drive.pictures for drive in drives]), pose[:, :2], pose[:, 2],
        group_views(pose[:, :2], pose[:, 2]), np.zeros(len(pose), np.int64), sessions,
        ('+'.join(path.name for path in paths),),
    )  # fmt: skip


class Recorded(NamedTuple):
    """A recording as it was read: keyframes, and what is known of each and of all."""

    path: Path
    pictures: StoredPictures
    table: dict[str, np.ndarray]


def _refuse_copies(drives: list[Recorded]) -> None:
    """A drive and its copy, or a part of it: places would be trivial."""
    for one, other in combinations(drives, 2):
        stamps = one.table['stamp_ns'], other.table['stamp_ns']
        _, mine, its = np.intersect1d(*stamps, return_indices=True)
        if len(mine) < max(1, LEAST_SHARED * min(len(stamps[0]), len(stamps[1]))):
            continue
        some = np.linspace(0, len(mine) - 1, min(LOOKS, len(mine))).astype(int)
        apart = [
            cv2.absdiff(one.pictures.read(a), other.pictures.read(b)).mean()
            for a, b in zip(mine[some], its[some], strict=True)
        ]
        if max(apart) < SAME_LEVELS:
            raise DatasetError(
                f'{one.path} and {other.path} hold the same pictures of the same times: name '
                'each drive once'
            )


def _doubts(drives: list[Recorded]) -> Iterator[str]:
    """Why positions of several recordings may not belong together."""
    frames: dict[str, list[Path]] = {}  # recordings of each
    for drive in drives:
        frames.setdefault(str(drive.table['frame'][0]), []).append(drive.path)
    if len(frames) > 1:
        said = ', '.join(f'{name!r} in {paths[0]}' for name, paths in frames.items())
        yield f'poses have different frames, {said}: places are right only if these are one frame'
    for name, paths in frames.items():
        if name.strip('/').split('/')[-1] == OWN_FRAME and len(paths) > 1:
            yield (
                f'poses of {len(paths)} recordings are in the frame {name!r}, which by REP 105 '
                'begins anew with each drive: places are right only if it is one for all of them; '
                'else name poses of SLAM or GNSS with --pose-topic'
            )


def _read(
    path: Path, options: DriveOptions, progress: Progress, viewing_axis: int
) -> tuple[StoredPictures, dict[str, np.ndarray]]:
    if not path.exists():
        raise DatasetError(f'nothing at {path}: expected a recording')
    store = Store(cache_folder(), key_of(state_of(path), options, viewing_axis))
    table = store.read()
    if table is None:
        columns: Columns = {'stamp_ns': [], 'pose': [], 'frame': [], 'notes': []}
        table = store.write(_keyframes(path, options, progress, viewing_axis, columns), columns)
    if not len(table['stamp_ns']):
        raise DatasetError(
            f'{path} has no image with a pose: name its topic with --pose-topic, or record one'
        )
    names = [f'{path} at {stamp}' for stamp in table['stamp_ns']]
    return StoredPictures(store.images, names), table


def _keyframes(
    path: Path, options: DriveOptions, progress: Progress, viewing_axis: int, columns: Columns
) -> Iterator[np.ndarray]:
    """Pictures of the keyframes with a pose; `columns` say the rest when they have ended."""
    lost = 0
    with open_bag(path) as bag:
        _require_poses(bag, options)
        drive = Drive(bag, options)
        for keyframe in drive.keyframes(progress):
            pose = flat(keyframe.pose, viewing_axis)
            if pose is None:
                lost += 1
                continue
            columns['stamp_ns'].append(keyframe.frame.stamp_ns)
            columns['pose'].append(pose)
            yield keyframe.frame.image
        if lost:
            columns['notes'].append(f'{lost} keyframes without a pose were left out')
        columns['notes'] += [*(drive.trajectory.notes if drive.trajectory else ())]
        columns['notes'] += drive.losses()
        columns['frame'].append(drive.trajectory.frame_id if drive.trajectory else '')


def _require_poses(bag: Bag, options: DriveOptions) -> None:
    """Refuse a recording without the poses that are asked for; `NO_POSES` asks for none."""
    wanted, found = options.pose_topic, bag.pose_topics()
    if not wanted and len(found) > 1:
        raise DatasetError(
            f'{bag.path} has several topics of poses, {", ".join(found)}: name the one whose '
            'frame all drives share with --pose-topic'
        )
    if wanted == NO_POSES or wanted in found or (found and not wanted):
        return
    what = f'no topic of poses {wanted}' if wanted else 'no topic of poses'
    choices = f'those with poses are {", ".join(found)}' if found else 'none of them has poses'
    raise DatasetError(
        f'{bag.path} has {what}, and training needs to know where it was: its topics are '
        f'{", ".join(bag.topics)}; {choices}'
    )


def flat(pose: Pose | None, viewing_axis: int) -> tuple[float, float, float] | None:
    """East, north and heading; None where there is no finite pose."""
    if pose is None or not np.isfinite([*pose.position_m, *pose.quaternion]).all():
        return None
    direction = pose.matrix()[:3, viewing_axis]
    return *pose.position_m[:2], float(np.arctan2(direction[1], direction[0]))
