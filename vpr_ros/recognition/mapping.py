"""From a recorded drive to a map."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from vpr_ros.bags.keyframes import Keyframe
from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import MapError
from vpr_ros.maps.compress import Compression, compress
from vpr_ros.maps.files import writing
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.drive import Drive, DriveOptions, Progress
from vpr_ros.recognition.thumbnails import encode_thumbnail
from vpr_ros.records import Place


@dataclass(frozen=True)
class MapSummary:
    """What a map was built from, what was lost on the way, and figures of its compression.

    `compression` is empty where the descriptors are whole.
    """

    places: int
    images: int
    posed: int
    losses: tuple[str, ...]
    compression: dict[str, float] = field(default_factory=dict)


def build_map(
    bag_path: Path | str,
    model: PlaceModel,
    path: Path | str,
    options: DriveOptions | None = None,
    progress: Progress = lambda done, total: None,
    overwrite: bool = False,
    compression: Compression | None = None,
) -> MapSummary:
    """Build a map from a recorded drive, whole or not at all.

    Args:
        bag_path: the recording.
        model: with its weights; the map is bound to them.
        path: the `.vprmap` file.
        options: topics and keyframe rule.
        progress: called with images read and images in all.
        overwrite: replace an existing map, once the new one is complete.
        compression: shortens the descriptors, where there are more places than its length.

    Raises:
        BagError: the recording or a topic of it cannot be read.
        CheckpointError: the model has no weights.
        ConfigError: the model's descriptors depend on the batch, or are short already.
        MapError: the file exists, cannot be written, is being written to, or no place was found.
    """
    model.require_single_image()
    if compression:
        compression.check(model.descriptor_dim)
    with writing(Path(path), overwrite) as part:
        summary = _fill(bag_path, model, part, options or DriveOptions(), progress)
        if compression and compression.dim < summary.places:
            figures = compress(part, part, compression, overwrite=True)
            summary = replace(summary, compression=figures)
        return summary


def _fill(
    bag_path: Path | str, model: PlaceModel, path: Path, options: DriveOptions, progress: Progress
) -> MapSummary:
    with open_bag(bag_path) as bag:
        drive, posed = Drive(bag, options), 0
        frame = drive.trajectory.frame_id if drive.trajectory is not None else ''
        with PlaceMap.create(
            path, model.name, model.require_weights(), model.descriptor_dim, frame or 'map'
        ) as place_map:
            if camera := drive.camera():
                place_map.beside.put_camera(drive.topic, camera)
            session = place_map.add_session(Path(bag_path).stem, f'{bag_path} {drive.topic}')
            for keyframe in drive.keyframes(progress):
                _add(place_map, model, session, drive.topic, keyframe)
                posed += keyframe.pose is not None
            if not len(place_map):
                raise MapError(
                    f'no readable image on {drive.topic} of {bag_path}: the map is empty'
                )
            return MapSummary(len(place_map), drive.images, posed, drive.losses())


def _add(
    place_map: PlaceMap, model: PlaceModel, session: int, topic: str, keyframe: Keyframe
) -> None:
    image = keyframe.frame.image
    features = model.describe([image])
    descriptor = features.descriptor[0].cpu().numpy()
    place = Place(0, session, keyframe.frame.stamp_ns, keyframe.pose, topic, keyframe.travelled_m)
    place_map.add(place, descriptor, encode_thumbnail(image), features.local)
