"""Loop closures of mapped drives with themselves and each other, found in what the map holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from vpr_ros.config import DecisionConfig, NodeConfig, RecognizerConfig
from vpr_ros.errors import ImageError
from vpr_ros.maps.closures import FoundClosure
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.described import Described, Query
from vpr_ros.recognition.over_time.own_past import OwnPast
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.recognition.thumbnails import decode_thumbnail
from vpr_ros.records import Place, Pose, PoseKind, Recognition

Progress = Callable[[int, int], None]

NOWHERE = Pose((0.0, 0.0, 0.0))


def find_closures(
    place_map: PlaceMap,
    model: PlaceModel,
    config: RecognizerConfig | None = None,
    progress: Progress = lambda done, total: None,
) -> list[FoundClosure]:
    """Ask every place of a map where the robot had been before, as a live node would.

    Each place is a query, in the order of the map: later places are not searched, nor is the
    recent past of its own session. Images are the thumbnails.

    Args:
        place_map: opened with its model.
        model: that one.
        config: of all stages.
        progress: called with places asked and places in all.

    Raises:
        ConfigError: as `Recognizer`.
        MapError: the map cannot be searched.
    """
    replay = _Replay(model, place_map, config or RecognizerConfig())
    closures, done = [], 0
    for rows in _moments(place_map.places):
        found = replay.ask(rows)
        done += len(rows)
        progress(done, len(place_map))
        if found is not None:
            closures.append(found)
    return closures


class _Past(OwnPast):
    """What a query may not match: the recent past of its own session, and what comes later."""

    def __init__(self, config: DecisionConfig, count: int) -> None:
        super().__init__(config)
        self._count = count
        self.now = 0  # row of the query

    def hidden(self, stamp_ns: int) -> list[int]:
        return [*super().hidden(stamp_ns), *range(self.now, self._count)]

    def add(self, place: Place, row: int) -> None:
        """The way counted from pose to pose, as that of the queries is.

        A map may know it from finer odometry, which is longer, or not for every place.
        """
        super().add(replace(place, travelled_m=self.travelled_m), row)


class _Replay(Recognizer):
    """The front door, at which the places of the map itself ask."""

    def __init__(self, model: PlaceModel, place_map: PlaceMap, config: RecognizerConfig) -> None:
        super().__init__(model, place_map, config)
        self._descriptors = place_map.descriptors()
        self._session: int | None = None
        self._begin()

    def ask(self, rows: range) -> FoundClosure | None:
        """The closure of the places in these rows, which are one moment; None: there is none."""
        places = self.place_map.places[rows.start : rows.stop]
        first = places[0]
        if first.session_id != self._session:
            self._session = first.session_id
            self._begin()
        self._known.now = rows.start
        query = Query(tuple(map(self._described_again, rows)), first.stamp_ns, first.pose)
        answer = self.answer(query)
        for row, place in zip(rows, places, strict=True):
            self._known.add(place, row)
        return _closure(first, answer)

    def _begin(self) -> None:
        """A session knows nothing of the way of the one before."""
        self.forget()
        self._past = self._known = _Past(self.config.decision, len(self.place_map))

    def _described_again(self, row: int) -> Described:
        """A place as the query that it was."""
        place, projection = self.place_map.places[row], self.place_map.projection
        descriptor = self._descriptors[row]
        if projection is not None:  # shortened again, it is the same
            descriptor = descriptor @ projection.components
            descriptor = descriptor if projection.mean is None else descriptor + projection.mean
        local, known = self.place_map.local_features([place.id])
        jpeg = self.place_map.thumbnail(place.id)
        try:
            image = None if jpeg is None else decode_thumbnail(jpeg)
        except ImageError:
            image = None  # a damaged picture is none
        return Described(descriptor, local if known[0] else None, image, camera=place.camera)


def _moments(places: Sequence[Place]) -> Iterator[range]:
    """Rows of places that belong to one moment: one of each camera."""
    start = 0
    for _, same in groupby(places, key=lambda place: (place.session_id, place.stamp_ns)):
        count = len(list(same))
        yield range(start, start + count)
        start += count


def _closure(asked: Place, answer: Recognition) -> FoundClosure | None:
    best = answer.accepted
    if best is None:
        return None
    found = best.verification
    relative = found.relative if found is not None else None
    if relative is not None:
        kind, pose, covariance = relative.kind, relative.pose, relative.covariance
    else:
        kind = PoseKind.NONE if best.place.pose is None else PoseKind.FROM_MAP
        pose, covariance = _assumed(answer.assumed)
    return FoundClosure(
        asked.stamp_ns, asked.session_id, best.place.id, kind, pose, covariance,
        best.similarity, found.inliers if found else 0, answer.probability,
    )  # fmt: skip


def _assumed(pose: Pose | None) -> tuple[Pose, np.ndarray]:
    """A pose that nobody measured, as the node states it; of None no rotation is known."""
    rotation = math.pi if pose is None else NodeConfig.rotation_sigma_rad
    variances = [NodeConfig.position_sigma_m**2] * 3 + [rotation**2] * 3
    return pose or NOWHERE, np.diag(variances)
