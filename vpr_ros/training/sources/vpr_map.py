"""Places of our maps, by their thumbnails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.training.sources.grouping import group_views
from vpr_ros.training.sources.pictures import MapPictures
from vpr_ros.training.sources.rosbag import flat
from vpr_ros.training.views import ViewSet

Note = Callable[[str], None]


def read_map(path: Path, note: Note = lambda sentence: None) -> ViewSet:
    """Places with poses and thumbnails; each map is an area of its own.

    Thumbnails are small: enough to adapt a head, not to train a network from nothing.

    Args:
        path: the `.vprmap` file.
        note: told how many places lack one of them and are left out.

    Raises:
        MapError: no map, or damaged.
        DatasetError: no place has both.
    """
    with PlaceMap.open(path, None) as places:
        rows = [
            (place, flat(place.pose, 0), bool(places.thumbnail(place.id)))
            for place in places.places
        ]
    posed, seen = (sum(1 for row in rows if row[k]) for k in (1, 2))
    kept = [(place, pose) for place, pose, thumbnail in rows if pose is not None and thumbnail]
    if not kept:
        raise DatasetError(
            f'{path} has no place with a pose and a thumbnail (of {len(rows)} places {posed} have '
            f'poses and {seen} have thumbnails): train from the recordings it was made of'
        )
    if len(kept) < len(rows):
        note(f'{path}: {len(rows) - len(kept)} places without pose or thumbnail were left out')
    pose = np.array([pose for _, pose in kept])
    none = np.zeros(len(kept), np.int64)
    return ViewSet(
        MapPictures(path, [place.id for place, _ in kept]), pose[:, :2], pose[:, 2],
        group_views(pose[:, :2], pose[:, 2]), none,
        np.array([place.session_id for place, _ in kept]), (path.name,),
    )  # fmt: skip
