"""From a recorded drive to a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vpr_ros.bags.keyframes import Keyframe, keyframes
from vpr_ros.bags.poses import Trajectory, read_trajectory
from vpr_ros.bags.reader import Bag, open_bag
from vpr_ros.config import KeyframeConfig, PoseConfig
from vpr_ros.errors import BagError, MapError
from vpr_ros.image import to_tensor
from vpr_ros.maps.place_map import PlaceMap, replace_when_complete
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.recognizer import encode_thumbnail
from vpr_ros.records import Place

NO_POSES = 'none'


@dataclass(frozen=True)
class DriveOptions:
    """Which topics of a recording make a drive, and which of its images become places.

    Empty topics are found where there is only one choice; `pose_topic` may be NO_POSES.
    """

    image_topic: str = ''
    pose_topic: str = ''
    keyframes: KeyframeConfig = KeyframeConfig()
    poses: PoseConfig = PoseConfig()


@dataclass(frozen=True)
class MapSummary:
    """What a map was built from and what was lost on the way."""

    places: int
    images: int
    posed: int
    losses: tuple[str, ...]


def drive_trajectory(bag: Bag, options: DriveOptions) -> Trajectory | None:
    """Poses of a recording, or None where there are none or none are wanted.

    Raises:
        BagError: several pose topics and none named, or the one named cannot be read.
    """
    if options.pose_topic == NO_POSES:
        return None
    topics = [options.pose_topic] if options.pose_topic else bag.pose_topics()
    if len(topics) > 1:
        raise BagError(
            f'{bag.path} has several pose topics: name one of {", ".join(topics)}, or `none`'
        )
    return read_trajectory(bag, topics[0]) if topics else None


def build_map(
    bag_path: Path | str,
    model: PlaceModel,
    path: Path | str,
    options: DriveOptions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    overwrite: bool = False,
) -> MapSummary:
    """Build a map from a recorded drive, whole or not at all.

    Args:
        bag_path: the recording.
        model: with its weights; the map is bound to them.
        path: the `.vprmap` file.
        options: topics and keyframe rule.
        progress: called with images read and images in all.
        overwrite: replace an existing map, once the new one is complete.

    Raises:
        BagError: the recording or a topic of it cannot be read.
        MapError: the file exists, cannot be written, or no place was found.
    """
    options = options or DriveOptions()
    path = Path(path)
    if path.exists() and not overwrite:
        raise MapError(f'{path} exists already: choose another name, remove it, or overwrite')
    part = path.with_name(path.name + '.part')
    part.unlink(missing_ok=True)
    try:
        summary = _fill(bag_path, model, part, options, progress)
        replace_when_complete(part, path)
        return summary
    finally:
        for suffix in ('', '-wal', '-shm', '-journal'):
            Path(f'{part}{suffix}').unlink(missing_ok=True)


def _fill(
    bag_path: Path | str,
    model: PlaceModel,
    path: Path,
    options: DriveOptions,
    progress: Callable[[int, int], None],
) -> MapSummary:
    with open_bag(bag_path) as bag:
        trajectory = drive_trajectory(bag, options)
        topic = bag.image_topic(options.image_topic or None)
        frame = trajectory.frame_id if trajectory is not None else ''
        total, images, posed = bag.count(topic), 0, 0
        assert model.fingerprint is not None
        with PlaceMap.create(
            path, model.name, model.fingerprint, model.descriptor_dim, frame or 'map'
        ) as place_map:
            session = place_map.add_session(Path(bag_path).stem, f'{bag_path} {topic}')

            def counted():
                nonlocal images
                for image in bag.frames(topic):
                    images += 1
                    progress(images, total)
                    yield image

            for keyframe in keyframes(
                counted(), trajectory, options.keyframes, options.poses.max_gap_s
            ):
                _add(place_map, model, session, topic, keyframe)
                posed += keyframe.pose is not None
            if not len(place_map):
                raise MapError(f'no readable image on {topic} of {bag_path}: the map is empty')
            losses = tuple(f'{loss.topic}: {loss.reason}' for loss in bag.losses)
            return MapSummary(len(place_map), images, posed, (*bag.notes, *losses))


def _add(
    place_map: PlaceMap, model: PlaceModel, session: int, topic: str, keyframe: Keyframe
) -> None:
    image = keyframe.frame.image
    tensor = to_tensor(image, model.input, model.device)
    descriptor = model.describe(tensor).descriptor[0].cpu().numpy()
    place = Place(0, session, keyframe.frame.stamp_ns, keyframe.pose, topic, keyframe.travelled_m)
    place_map.add(place, descriptor, encode_thumbnail(image))
