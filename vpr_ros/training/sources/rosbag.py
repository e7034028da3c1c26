"""Recorded drives of one area, in one frame: keyframes with poses, over all sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import DatasetError
from vpr_ros.recognition.drive import Drive, DriveOptions
from vpr_ros.records import Pose
from vpr_ros.training.sources.grouping import group_views
from vpr_ros.training.sources.pictures import StoredPictures
from vpr_ros.training.sources.store import Store, cache_folder, key_of
from vpr_ros.training.views import Joined, ViewSet

Progress = Callable[[int, int], None]


def read_drives(
    paths: list[Path],
    options: DriveOptions,
    progress: Progress = lambda done, total: None,
    viewing_axis: int = 0,
) -> ViewSet:
    """Keyframes with poses of several sessions, and the places they share.

    Keyframes without a finite pose are left out. Pictures are decoded once and kept in the cache.

    Args:
        paths: recordings whose poses have one frame.
        options: topics and keyframes.
        progress: called with images read and in all, of each recording in turn.
        viewing_axis: axis of the base that the camera looks along, 0: x.

    Raises:
        BagError: a recording or a topic cannot be read.
        DatasetError: one has no poses.
    """
    pictures, poses, sessions = [], [], []
    for number, path in enumerate(paths):
        images, found = _read(path, options, progress, viewing_axis)
        pictures.append(images)
        poses.append(found)
        sessions.append(np.full(len(found), number))
    pose = np.concatenate(poses)
    none = np.zeros(len(pose), np.int64)
    return ViewSet(
        Joined(list(pictures)), pose[:, :2], pose[:, 2], group_views(pose[:, :2], pose[:, 2]),
        none, np.concatenate(sessions), ('+'.join(path.name for path in paths),),
    )  # fmt: skip


def _read(
    path: Path, options: DriveOptions, progress: Progress, viewing_axis: int
) -> tuple[StoredPictures, np.ndarray]:
    state = path.stat()
    key = key_of(str(path.absolute()), state.st_size, state.st_mtime_ns, options, viewing_axis)
    store = Store(cache_folder(), key)
    table = store.read()
    if table is None:
        columns: dict[str, list] = {'stamp_ns': [], 'pose': []}
        table = store.write(_keyframes(path, options, progress, viewing_axis, columns), columns)
    if not len(table['stamp_ns']):
        raise DatasetError(
            f'{path} has no image with a pose: name its topic with --pose-topic, or record one'
        )
    names = [f'{path} at {stamp}' for stamp in table['stamp_ns']]
    return StoredPictures(store.images, names), table['pose']


def _keyframes(
    path: Path,
    options: DriveOptions,
    progress: Progress,
    viewing_axis: int,
    columns: dict[str, list],
) -> Iterator[np.ndarray]:
    with open_bag(path) as bag:
        if not bag.pose_topics() and not options.pose_topic:
            raise DatasetError(
                f'{path} has no topic of poses: training needs to know where it was'
            )
        for keyframe in Drive(bag, options).keyframes(progress):
            pose = flat(keyframe.pose, viewing_axis)
            if pose is not None:
                columns['stamp_ns'].append(keyframe.frame.stamp_ns)
                columns['pose'].append(pose)
                yield keyframe.frame.image


def flat(pose: Pose | None, viewing_axis: int) -> tuple[float, float, float] | None:
    """East, north and heading; None where there is no finite pose."""
    if pose is None or not np.isfinite([*pose.position_m, *pose.quaternion]).all():
        return None
    direction = pose.matrix()[:3, viewing_axis]
    return *pose.position_m[:2], float(np.arctan2(direction[1], direction[0]))
