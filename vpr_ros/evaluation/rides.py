"""One drive asked again and again with other settings: described once, answered often.

A ride is what the front door is given: queries in their order, and a map that is there before them
or grows with them. Images are kept small, as geometry sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.bags.reader import open_bag
from vpr_ros.config import RecognizerConfig
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.datasets import LoopSet, RetrievalSet
from vpr_ros.evaluation.drive_answers import EVERY_IMAGE, track_of
from vpr_ros.evaluation.protocols import Track, Truth, TruthRule
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.described import Described, Query
from vpr_ros.recognition.drive import Drive, DriveOptions, Progress
from vpr_ros.recognition.image_check import blindness
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.recognition.thumbnails import decode_thumbnail, encode_thumbnail
from vpr_ros.records import Camera, Place, Pose, Recognition, Timings, Verdict

STEP_NS = 1_000_000_000  # between the images of a set that has no stamps

Prepare = Callable[[PlaceMap, RecognizerConfig], None]


def nothing(place_map: PlaceMap, config: RecognizerConfig) -> None:
    """Leave a map as it is."""


@dataclass(frozen=True)
class Ride:
    """Queries in the order of time, what is searched, and the truth about them.

    `references` are the places of a map made for the ride; with `map_path` they are those of that
    file. With neither the ride meets its own past.
    """

    name: str
    queries: Sequence[Query]
    track: Track
    rule: TruthRule | Truth
    references: Sequence[Query] | None = None
    reference_track: Track | None = None
    map_path: Path | str | None = None
    camera: Camera | None = None
    camera_name: str = ''

    @property
    def meets_itself(self) -> bool:
        return self.references is None and self.map_path is None


def ride_through(model: PlaceModel, data: LoopSet | RetrievalSet, progress: Progress) -> Ride:
    """Describe an evaluation set. Sets without stamps are given one second between images."""
    if isinstance(data, LoopSet):
        track = _stamped(data.track, len(data.images))
        queries = described(model, data.images, track, progress)
        return Ride(data.name, queries, track, data.rule)
    ours = _stamped(data.query_track, len(data.queries))
    theirs = _stamped(data.reference_track, len(data.references))
    queries = described(model, data.queries, ours, progress)
    references = described(model, data.references, theirs, progress)
    return Ride(data.name, queries, ours, data.truth, references, theirs)


def ride_of_bag(
    bag_path: Path | str,
    model: PlaceModel,
    rule: TruthRule,
    options: DriveOptions,
    map_path: Path | str | None = None,
    viewing_axis: str = 'x',
    progress: Progress = lambda done, total: None,
) -> Ride:
    """Describe the keyframes of a recording that have a pose.

    Raises:
        BagError: the recording or a topic of it cannot be read.
        DatasetError: no image has a pose.
    """
    queries: list[Query] = []
    with open_bag(bag_path) as bag:
        drive = Drive(bag, options)
        camera = drive.camera()
        for keyframe in drive.keyframes(progress, depth=True):
            if keyframe.pose is not None:
                frame = keyframe.frame
                query = _described(model, frame.image, frame.stamp_ns, keyframe.pose, drive.topic)
                queries.append(_with_depth(query, frame.depth))
        topic = drive.topic
    if not queries:
        raise DatasetError(f'no image of {bag_path} has a pose to judge by: name a pose topic')
    poses = [query.pose for query in queries if query.pose is not None]
    track = track_of(poses, [query.stamp_ns for query in queries], viewing_axis)
    return Ride(
        Path(bag_path).name, queries, track, rule, map_path=map_path, camera=camera,
        camera_name=topic,
    )  # fmt: skip


def described(
    model: PlaceModel, images: Iterable[np.ndarray], track: Track, progress: Progress
) -> list[Query]:
    """Queries of RGB images (H, W, 3), uint8, at the stamps and poses of a track."""
    queries, total = [], len(track)
    assert track.stamps_ns is not None
    for row, image in enumerate(images):
        queries.append(_described(model, image, int(track.stamps_ns[row]), _pose(track, row)))
        progress(row + 1, total)
    return queries


def play(
    model: PlaceModel, ride: Ride, config: RecognizerConfig, prepare: Prepare = nothing
) -> list[Recognition]:
    """Answer the queries of a ride one after the other.

    Args:
        model: that described them.
        ride: what is asked.
        config: of the front door.
        prepare: is given the map and the settings before the first query.
    """
    with ExitStack() as stack:
        place_map = stack.enter_context(map_of(model, ride))
        session = place_map.add_session(ride.name) if ride.meets_itself else None
        if ride.camera and place_map.writable:
            place_map.beside.put_camera(ride.camera_name, ride.camera)
        prepare(place_map, config)
        recognizer = Recognizer(model, place_map, fitted(config, ride), session, ride.camera_name)
        if ride.camera:
            recognizer.see_through(ride.camera)
        return [_answered(recognizer, query) for query in ride.queries]


def fitted(config: RecognizerConfig, ride: Ride) -> RecognizerConfig:
    """Settings that take every image and leave out the recent past that the rule leaves out."""
    rule = ride.rule
    if isinstance(rule, Truth) or not ride.meets_itself:
        return replace(config, keyframes=EVERY_IMAGE)
    decision = replace(config.decision, exclude_recent_s=rule.gap_s, exclude_recent_m=rule.gap_m)
    return replace(config, decision=decision, keyframes=EVERY_IMAGE)


def _answered(recognizer: Recognizer, query: Query) -> Recognition:
    """As the front door does with an image in which nothing can be seen."""
    (view,) = query.views
    fault = '' if view.image is None else blindness(view.image)
    if fault:
        return recognizer.refuse(query.stamp_ns, Verdict.BAD_IMAGE, fault)
    return recognizer.answer(query, Timings())


def map_of(model: PlaceModel, ride: Ride) -> PlaceMap:
    """The map as it is before the first query."""
    fingerprint = model.require_weights()
    if ride.map_path is not None:
        return PlaceMap.open(ride.map_path, fingerprint, model.name)
    place_map = PlaceMap.create(IN_MEMORY, model.name, fingerprint, model.descriptor_dim)
    if ride.references is not None:
        session = place_map.add_session('references')
        for query in ride.references:
            place = Place(0, session, query.stamp_ns, query.pose, ride.camera_name)
            (view,) = query.views
            thumbnail = None if view.image is None else encode_thumbnail(view.image)
            place_map.add(place, view.descriptor, thumbnail, view.local)
    return place_map


def _described(
    model: PlaceModel, image: np.ndarray, stamp_ns: int, pose: Pose | None, camera: str = ''
) -> Query:
    features = model.describe([image])
    small = decode_thumbnail(encode_thumbnail(image))
    descriptor = features.descriptor[0].cpu().numpy()
    view = Described(descriptor, features.local, small, camera=camera)
    return Query((view,), stamp_ns, pose)


def _with_depth(query: Query, depth: np.ndarray | None) -> Query:
    """The same with depth (H, W) in metres, as small as the image and never averaged."""
    (view,) = query.views
    if depth is None or view.image is None:
        return query
    height, width = view.image.shape[:2]
    if depth.shape[0] > height or depth.shape[1] > width:
        depth = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return replace(query, views=(replace(view, depth=depth),))


def _stamped(track: Track, count: int) -> Track:
    if track.stamps_ns is not None:
        return track
    return replace(track, stamps_ns=np.arange(count, dtype=np.int64) * STEP_NS)


def _pose(track: Track, row: int) -> Pose | None:
    if track.positions_m is None:
        return None
    x, y, z = (float(v) for v in track.positions_m[row])
    if track.quaternions is None:
        return Pose((x, y, z))
    qx, qy, qz, qw = (float(v) for v in track.quaternions[row])
    return Pose((x, y, z), (qx, qy, qz, qw))
