"""Places of several views, from recordings, from the synthetic town and from ie_tower's layout.

Everything is decoded once, scaled to STORED_SIZE and kept in memory: 0.33 MB an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.records import Pose

STORED_SIZE = (288, 384)
PLACES_PER_TOWN = 200

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PlaceSet:
    """N training images, and which of them show the same place."""

    images: np.ndarray  # (N, H, W, 3) uint8, RGB
    places: np.ndarray  # (N,) int64; negative: in no place
    sources: np.ndarray  # (N,) int64, position in `names`
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def place_count(self) -> int:
        return len(np.unique(self.places[self.places >= 0]))


def place_set(images: Iterable[np.ndarray], places: np.ndarray, name: str) -> PlaceSet:
    """Collect one source.

    Args:
        images: N RGB images (H, W, 3), uint8, of any size.
        places: (N,), integer, negative for an image in no place.
        name: of the source, for the training log.

    Raises:
        DatasetError: fewer than two places.
    """
    count = len(np.unique(places[places >= 0]))
    if count < 2:
        raise DatasetError(f'{name} has {count} places: training needs at least 2 to tell apart')
    stored = np.empty((len(places), *STORED_SIZE, 3), np.uint8)
    for row, image in zip(stored, images, strict=True):
        row[...] = _stored(image)
    return PlaceSet(stored, places.astype(np.int64), np.zeros(len(places), np.int64), (name,))


def join(sets: list[PlaceSet]) -> PlaceSet:
    """All sets as one; places of different sets stay different."""
    places, first = [], 0
    for part in sets:
        places.append(np.where(part.places >= 0, part.places + first, -1))
        first += int(part.places.max(initial=-1)) + 1
    return PlaceSet(
        np.concatenate([part.images for part in sets]),
        np.concatenate(places),
        np.concatenate([np.full(len(part), i) for i, part in enumerate(sets)]),
        tuple(name for part in sets for name in part.names),
    )


def places_by_pose(
    poses: list[Pose | None], radius_m: float = 4.0, heading_rad: float = 0.6
) -> np.ndarray:
    """Group the poses of a drive into places that lie well apart.

    Greedy: a pose joins the first place whose first pose lies within the radius and heading; it
    begins a new place if none lies within three radii. Poses between places belong to none, so
    that two places of a batch never show the same thing.

    Returns:
        Place of each pose, (N,), int64, negative for none.
    """
    labels = np.full(len(poses), -1, np.int64)
    anchors: list[Pose] = []
    for i, pose in enumerate(poses):
        if pose is None:
            continue
        near = [(pose.distance_m(a), pose.angle_rad(a), n) for n, a in enumerate(anchors)]
        inside = [n for d, angle, n in near if d <= radius_m and angle <= heading_rad]
        if inside:
            labels[i] = inside[0]
        elif all(d > 3.0 * radius_m or angle > 2.0 * heading_rad for d, angle, _ in near):
            labels[i] = len(anchors)
            anchors.append(pose)
    return labels


def from_bag(
    path: Path | str, topic: str | None, pose_topic: str | None, progress: Progress | None = None
) -> PlaceSet:
    """Places of a recorded drive; the poses' frame is taken as it is.

    Raises:
        BagError: the recording or a topic cannot be read.
        DatasetError: it has no poses, or too few places.
    """
    from vpr_ros.bags.reader import open_bag
    from vpr_ros.recognition.drive import Drive, DriveOptions

    images, poses = [], []
    with open_bag(path) as bag:
        drive = Drive(bag, DriveOptions(topic or '', pose_topic or ''))
        for keyframe in drive.keyframes(progress or (lambda done, total: None)):
            images.append(_stored(keyframe.frame.image))
            poses.append(keyframe.pose)
    return place_set(images, places_by_pose(poses), Path(path).name)


def from_town(
    seed: int,
    places: int,
    views: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PlaceSet:
    """Render places of synthetic towns, each view in another light.

    Args:
        seed: of the towns and of the views.
        places: how many; every PLACES_PER_TOWN of them a new town.
        views: of each.
        workers: processes that render; None takes one a core.
        progress: called with images done and in all.
    """
    stored: list[np.ndarray] = []
    for number, first in enumerate(range(0, places, PLACES_PER_TOWN)):
        count = min(PLACES_PER_TOWN, places - first)
        for pictures in _town_places([seed, number], count, views, workers):
            stored.extend(_stored(picture) for picture in pictures)
            if progress is not None:
                progress(len(stored), places * views)
    return place_set(stored, np.repeat(np.arange(places), views), f'town {seed}')


def _town_places(
    seed: list[int], places: int, views: int, workers: int | None
) -> Iterator[np.ndarray]:
    """Pictures (K, H, W, 3) of the places of one town."""
    from vpr_ros.synthetic.lights import LIGHTS, Session
    from vpr_ros.synthetic.places import plan_shots, render_places, sample_places
    from vpr_ros.synthetic.scene import Scene
    from vpr_ros.synthetic.town import Town

    rng = np.random.default_rng(seed)
    town = Town.build(int(rng.integers(1 << 31)))
    scenes = [Scene.build(town, Session.random(rng, light)) for light in LIGHTS]
    chosen = sample_places(town, places, views, rng)
    yield from render_places(scenes, plan_shots(chosen, scenes, rng), workers=workers)


def from_tower(
    folder: Path | str, floors: tuple[str, ...], window_s: int = 4, gap_s: int = 3
) -> PlaceSet:
    """Places of walk-through videos at one frame a second, in ie_tower's layout.

    A place is `window_s` seconds of one video; the `gap_s` seconds that follow belong to none.

    Raises:
        DatasetError: a file is missing.
    """
    from vpr_ros.evaluation.datasets import tower_rows
    from vpr_ros.imagefile import read_image

    rows = tower_rows(Path(folder), floors)
    period = window_s + gap_s
    seconds = [int(row['second']) for row in rows]
    windows = [(row['video'], s // period) for row, s in zip(rows, seconds, strict=True)]
    names = {window: number for number, window in enumerate(sorted(set(windows)))}
    labels = [
        names[window] if second % period < window_s else -1
        for window, second in zip(windows, seconds, strict=True)
    ]
    images = (read_image(Path(folder) / row['image_path']) for row in rows)
    return place_set(images, np.array(labels), f'ie_tower {"+".join(floors)}'.strip())


def _stored(image: np.ndarray) -> np.ndarray:
    if image.shape[:2] == STORED_SIZE:
        return image
    return cv2.resize(image, STORED_SIZE[::-1], interpolation=cv2.INTER_AREA)
