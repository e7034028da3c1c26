"""Recorded drives of one area, in one frame: keyframes with poses, over all sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

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
        DatasetError: one has no poses.
    """
    pictures, poses, sessions = [], [], []
    frames: dict[str, Path] = {}  # the first recording of each
    for number, path in enumerate(paths):
        images, table = _read(path, options, progress, viewing_axis)
        for sentence in table['notes'].tolist():
            note(f'{path}: {sentence}')
        frames.setdefault(str(table['frame'][0]), path)
        pictures.append(images)
        poses.append(table['pose'])
        sessions.append(np.full(len(images), number))
    if len(frames) > 1:
        note(_different(frames))
    pose = np.concatenate(poses)
    none = np.zeros(len(pose), np.int64)
    return ViewSet(
        Joined(list(pictures)), pose[:, :2], pose[:, 2], group_views(pose[:, :2], pose[:, 2]),
        none, np.concatenate(sessions), ('+'.join(path.name for path in paths),),
    )  # fmt: skip


def _different(frames: dict[str, Path]) -> str:
    said = ', '.join(f'{name!r} in {path}' for name, path in frames.items())
    return f'poses have different frames, {said}: places are right only if these are one frame'


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
