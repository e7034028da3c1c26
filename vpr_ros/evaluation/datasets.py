"""Evaluation sets: images, and the truth about them. One reader for each data set.

A reader checks every file it needs when it is called and names what is missing; images are
decoded only when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.images import ImageFiles, Images, VideoFrames, image_names
from vpr_ros.evaluation.protocols import PRESETS, Track, Truth, TruthRule, labelled, truth
from vpr_ros.evaluation.tables import (
    numbers,
    same_length,
    stamps_in_names,
    table,
    tum_track,
    utm_positions,
)

KITTI_SHORT = TruthRule('kitti-4m, last 2 s masked', 4.0, 10.0, gap_s=2.0)


@dataclass(frozen=True)
class LoopSet:
    """One drive that may meet its own past, and the rule for a true loop."""

    name: str
    images: Images
    track: Track
    rule: TruthRule

    def truth(self) -> Truth:
        return truth(self.rule, self.track)


@dataclass(frozen=True)
class RetrievalSet:
    """Queries, references, and who is a right answer to whom."""

    name: str
    queries: Images
    references: Images
    truth: Truth
    query_track: Track = Track()
    reference_track: Track = Track()


@dataclass(frozen=True)
class PairSet:
    """Pairs of images of the same or of different places: rows of `images` (P, 2)."""

    name: str
    images: Images
    pairs: np.ndarray
    same: np.ndarray  # (P,) bool

    def similarities(self, descriptors: np.ndarray) -> np.ndarray:
        """Cosine of each pair (P,) from unit descriptors (N, D)."""
        return np.sum(descriptors[self.pairs[:, 0]] * descriptors[self.pairs[:, 1]], axis=1)


def euroc(folder: Path, camera: str = 'cam0') -> LoopSet:
    """EuRoC key frames: stamps in nanoseconds are the file names; the camera looks along z."""
    poses = tum_track(folder / 'groundtruth.txt', viewing_axis='z')
    names = image_names(folder / camera)
    same_length(folder / camera, len(names), len(poses))
    track = replace(poses, stamps_ns=stamps_in_names(folder / camera, names, poses))
    images = ImageFiles(folder / camera, names)
    return LoopSet('euroc_v101_keyframes', images, track, PRESETS['indoor'])


def duckietown(folder: Path, rate_hz: float = 5.0) -> LoopSet:
    """Rendered laps, thinned from 30 frames a second to `rate_hz`."""
    whole = tum_track(folder / 'groundtruth.txt')
    step = round(30.0 / rate_hz)
    images = VideoFrames(folder / 'video.mp4', len(whole), step)
    track = whole.take(np.arange(0, len(whole), step))
    return LoopSet('duckietown_sim', images, track, PRESETS['tabletop'])


def kitti(folder: Path) -> LoopSet:
    """A KITTI sequence at 10 frames a second; poses are those of the camera, which looks along z.

    The rule is that of `kitti-4m`, but only the last two seconds are masked: in the 51 frames of
    `kitti_noloop_1` every closure over a longer time is a false one.
    """
    rows = numbers(folder / 'poses.txt', 12)
    poses = rows.reshape(-1, 3, 4)
    names = image_names(folder / 'image_l')
    same_length(folder / 'image_l', len(names), len(poses))
    track = Track(
        np.arange(len(poses), dtype=np.int64) * 100_000_000,
        poses[:, :, 3],
        Rotation.from_matrix(poses[:, :, :3]).as_quat(),
        viewing_axis='z',
    )
    images = ImageFiles(folder / 'image_l', names)
    return LoopSet(folder.name, images, track, KITTI_SHORT)


def listed(folder: Path, queries: str, references: str) -> RetrievalSet:
    """Two folders and `ground_truth.csv`: for each query the accepted references."""
    rows = table(folder / 'ground_truth.csv', ('query', 'refs'))
    names = image_names(folder / references)
    column = {name: i for i, name in enumerate(names)}
    positive = np.zeros((len(rows), len(names)), bool)
    for i, row in enumerate(rows):
        for name in row['refs'].split():
            if name not in column:
                raise DatasetError(f'{folder}: reference {name} is in no file of {references}/')
            positive[i, column[name]] = True
    asked = ImageFiles(folder / queries, [row['query'] for row in rows])
    answers = ImageFiles(folder / references, names)
    return RetrievalSet(folder.name, asked, answers, labelled(positive))


def corridor(folder: Path) -> RetrievalSet:
    """Two traversals of a corridor, as in VPR-Bench."""
    return listed(folder, 'query', 'ref')


def toy_streetview(folder: Path) -> RetrievalSet:
    """Five queries against street-view images."""
    return listed(folder, 'queries', 'database')


def tower_floors(folder: Path, floors: Sequence[str] = ()) -> RetrievalSet:
    """Second pass of the hallway (`*_hallway_alt`) against all else; right = same floor.

    `floors` keeps only these labels, among queries and references alike.
    """
    rows = tower_rows(folder, floors)
    second = np.array([row['video'].endswith('_hallway_alt') for row in rows])
    label = np.array([row['label'] for row in rows])
    positive = label[second][:, None] == label[~second][None]
    return split(folder, 'ie_tower floors', rows, second, positive)


def tower_seconds(folder: Path, floors: Sequence[str] = ()) -> RetrievalSet:
    """The published split; right = the same video within two seconds."""
    rows = tower_rows(folder, floors)
    query = np.array([row['split'] == 'query' for row in rows])
    video = np.array([row['video'] for row in rows])
    second = np.array([float(row['second']) for row in rows])
    near = np.abs(second[query][:, None] - second[~query][None]) <= 2.0
    positive = near & (video[query][:, None] == video[~query][None])
    return split(folder, 'ie_tower seconds', rows, query, positive)


def tower_rows(folder: Path, floors: Sequence[str]) -> list[dict[str, str]]:
    """Rows of `images.csv` on these floors; all floors if none are named."""
    columns = ('image_path', 'label', 'split', 'video', 'second')
    rows = table(folder / 'images.csv', columns)
    unknown = set(floors) - {row['label'] for row in rows}
    if unknown:
        raise DatasetError(f'{folder}: no such floor: {", ".join(sorted(unknown))}')
    return [row for row in rows if not floors or row['label'] in floors]


def split(
    folder: Path, name: str, rows: list[dict[str, str]], query: np.ndarray, positive: np.ndarray
) -> RetrievalSet:
    if query.all() or not query.any():
        raise DatasetError(f'{folder}: expected queries and references, found only one of them')
    paths = np.array([row['image_path'] for row in rows])
    asked, answers = (ImageFiles(folder, list(paths[some])) for some in (query, ~query))
    return RetrievalSet(name, asked, answers, labelled(positive))


def landmark_pairs(folder: Path) -> PairSet:
    """Pairs of photographs of the same or of different landmarks."""
    rows = table(folder / 'pairs.csv', ('image_a', 'image_b', 'same_place'))
    names = sorted({row[side] for row in rows for side in ('image_a', 'image_b')})
    index = {name: i for i, name in enumerate(names)}
    pairs = np.array([[index[row['image_a']], index[row['image_b']]] for row in rows])
    same = np.array([row['same_place'] == '1' for row in rows])
    return PairSet('pairs_landmarks', ImageFiles(folder, names), pairs, same)


def geo_folder(
    folder: Path, queries: str = 'queries', references: str = 'database'
) -> RetrievalSet:
    """Images named `@utm_east@utm_north@...@.jpg` in two folders; right = within 25 m."""
    asked, answers = (located(folder / side) for side in (queries, references))
    table = truth(PRESETS['geo-25m'], asked[1], answers[1])
    return RetrievalSet(folder.name, asked[0], answers[0], table, asked[1], answers[1])


def located(folder: Path) -> tuple[ImageFiles, Track]:
    """Images of one folder and the positions in their names."""
    names = image_names(folder)
    return ImageFiles(folder, names), Track(positions_m=utm_positions(folder, names))


Dataset = LoopSet | RetrievalSet | PairSet
DATASETS: dict[str, tuple[str, Callable[[Path], Dataset]]] = {
    'euroc': ('euroc_v101_keyframes', euroc),
    'duckietown': ('duckietown_sim', duckietown),
    'kitti-noloop': ('kitti_noloop_1', kitti),
    'corridor': ('corridor_vprbench', corridor),
    'toy-streetview': ('toy_streetview', toy_streetview),
    'tower-floors': ('ie_tower', tower_floors),
    'tower-seconds': ('ie_tower', tower_seconds),
    'landmark-pairs': ('pairs_landmarks', landmark_pairs),
}


def read_dataset(name: str, root: Path) -> Dataset:
    """Read a set by name from the folder that holds all of them.

    Raises:
        DatasetError: no set of this name, or something in it is missing or inconsistent.
    """
    if name not in DATASETS:
        known = ', '.join(DATASETS)
        raise DatasetError(f'no evaluation set is called {name!r}; known are {known}')
    folder, reader = DATASETS[name]
    return reader(root / folder)
