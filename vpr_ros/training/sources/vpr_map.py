"""Places of our maps, by their thumbnails."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.training.sources.grouping import group_views
from vpr_ros.training.sources.pictures import MapPictures
from vpr_ros.training.sources.rosbag import flat
from vpr_ros.training.views import ViewSet


def read_map(path: Path) -> ViewSet:
    """Places with poses and thumbnails; each map is an area of its own.

    Thumbnails are small: enough to adapt a head, not to train a network from nothing.

    Raises:
        MapError: no map, or damaged.
        DatasetError: no place has both.
    """
    with PlaceMap.open(path, None) as places:
        rows = [(place, flat(place.pose, 0)) for place in places.places]
        kept = [
            (place, pose) for place, pose in rows
            if pose is not None and places.thumbnail(place.id)
        ]  # fmt: skip
    if not kept:
        raise DatasetError(
            f'{path} has no place with a pose and a thumbnail: train from the recordings it was '
            'made of'
        )
    pose = np.array([pose for _, pose in kept])
    none = np.zeros(len(kept), np.int64)
    return ViewSet(
        MapPictures(path, [place.id for place, _ in kept]), pose[:, :2], pose[:, 2],
        group_views(pose[:, :2], pose[:, 2]), none,
        np.array([place.session_id for place, _ in kept]), (path.name,),
    )  # fmt: skip
