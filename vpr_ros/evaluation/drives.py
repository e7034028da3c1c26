"""A drive through the front door, recorded or live, scored against the poses of the recording."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpr_ros.bags.reader import open_bag
from vpr_ros.config import RecognizerConfig
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.drive_answers import DriveAnswers, collect, read_answers, track_of
from vpr_ros.evaluation.evaluate import score_recognitions
from vpr_ros.evaluation.images import EncodedImages, Images
from vpr_ros.evaluation.protocols import Track, TruthRule
from vpr_ros.evaluation.result import Evaluation, Setup
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.drive import NO_DEPTH, Drive, DriveOptions, Progress
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Frame, Pose, Recognition


@dataclass(frozen=True)
class DriveReport:
    """An evaluation and the images to show with it; without references they are the queries."""

    evaluation: Evaluation
    queries: Images
    references: Images | None
    unposed: int
    losses: tuple[str, ...]


def evaluate_drive(
    bag_path: Path | str,
    model: PlaceModel,
    rule: TruthRule,
    config: RecognizerConfig | None = None,
    options: DriveOptions | None = None,
    map_path: Path | str | None = None,
    viewing_axis: str = 'x',
    progress: Progress = lambda done, total: None,
) -> DriveReport:
    """Recognise the keyframes of a recorded drive and score the answers.

    With a map the drive is localised in it. Without one the drive closes loops with its own past,
    and the recent past that is not searched is the one the rule does not count.

    Args:
        bag_path: the recording; its poses are the truth.
        model: with its weights.
        rule: what a true match is.
        config: of the front door.
        options: topics and keyframe rule.
        map_path: a `.vprmap` in the same frame as the poses.
        viewing_axis: axis of the base along which the camera looks.
        progress: called with images read and images in all.

    Raises:
        BagError: the recording or a topic of it cannot be read.
        CheckpointError: the model has no weights.
        MapError: the map cannot be read, or is another model's.
        DatasetError: no image has a pose, or places of the map have none.
    """
    config, options = config or RecognizerConfig(), options or DriveOptions()
    if map_path is None:
        config = _fitted(config, rule, options)
    with _map_for(map_path, model) as place_map:
        session = place_map.add_session('drive') if map_path is None else None
        recognizer = Recognizer(model, place_map, config, session)
        answers = _ask(bag_path, recognizer, options, viewing_axis, progress)
        setup = _setup(bag_path, model, place_map.info.dim, config)
        return _scored(answers, rule, None if map_path is None else place_map, setup)


def evaluate_live(
    bag_path: Path | str,
    matches_file: Path | str,
    rule: TruthRule,
    options: DriveOptions | None = None,
    map_path: Path | str | None = None,
    viewing_axis: str = 'x',
) -> DriveReport:
    """Score what a live node answered while a recording was played to it.

    Args:
        bag_path: the recording; its poses are the truth.
        matches_file: the answers, as `vpr live` writes them.
        rule: what a true match is.
        options: topics.
        map_path: the map the node was localising in; without one it mapped, and its places are
            images of the recording.
        viewing_axis: axis of the base along which the camera looks.

    Raises:
        BagError: the recording or a topic of it cannot be read.
        MapError: the map cannot be read.
        DatasetError: the answers cannot be read, or none belongs to an image with a pose.
    """
    answered = {answer.stamp_ns: answer for answer in read_answers(matches_file)}
    options = replace(options or DriveOptions(), depth_topic=NO_DEPTH)
    answers = collect(
        bag_path, options, viewing_axis, lambda frame, pose: answered.get(frame.stamp_ns),
        every=True,
    )  # fmt: skip
    setup = Setup(dataset=Path(bag_path).name, notes={'answers': 'of the live node, over DDS'})
    if map_path is None:
        return _scored(answers, rule, None, setup)
    with PlaceMap.open(map_path, None) as place_map:
        info = place_map.info
        model = f'{info.model}:{info.fingerprint[:16]}'
        setup = replace(setup, model=model, descriptor_length=info.dim)
        return _scored(answers, rule, place_map, setup)


def _ask(
    bag_path: Path | str,
    recognizer: Recognizer,
    options: DriveOptions,
    viewing_axis: str,
    progress: Progress,
) -> DriveAnswers:
    """Ask the front door about every keyframe of a drive, seen through its camera."""
    with open_bag(bag_path) as bag:
        camera = Drive(bag, options).camera()
    if camera is not None:
        recognizer.see_through(camera)

    def recognize(frame: Frame, pose: Pose | None) -> Recognition | None:
        # An image without a pose cannot be judged, neither as query nor as a place.
        if pose is None:
            return None
        return recognizer.recognize(frame.image, frame.stamp_ns, pose, frame.depth)

    return collect(bag_path, options, viewing_axis, recognize, progress)


def _scored(
    answers: DriveAnswers, rule: TruthRule, place_map: PlaceMap | None, setup: Setup
) -> DriveReport:
    """Compare answers with the truth: places of the map, or earlier images of the drive."""
    if place_map is None:
        evaluation = score_recognitions(answers.recognitions, answers.track, rule, setup=setup)
        return DriveReport(evaluation, answers.images, None, answers.unposed, answers.losses)
    places = place_map.places
    references, ids = places_of(place_map, answers.track.viewing_axis)
    evaluation = score_recognitions(
        answers.recognitions, answers.track, rule, references, ids, setup=setup
    )
    shown = EncodedImages(
        [place_map.thumbnail(place.id) for place in places], [str(place.id) for place in places]
    )
    return DriveReport(evaluation, answers.images, shown, answers.unposed, answers.losses)


def places_of(place_map: PlaceMap, viewing_axis: str) -> tuple[Track, np.ndarray]:
    """Track and ids of the places of a map.

    Raises:
        DatasetError: a place has no pose.
    """
    places = place_map.places
    poses = [place.pose for place in places if place.pose is not None]
    if len(poses) < len(places):
        raise DatasetError(
            f'{len(places) - len(poses)} of {len(places)} places of {place_map.path} have no '
            'pose, so that matches with them cannot be judged: build the map with a pose topic'
        )
    track = track_of(poses, [place.stamp_ns for place in places], viewing_axis)
    return track, np.array([place.id for place in places])


def _map_for(map_path: Path | str | None, model: PlaceModel) -> PlaceMap:
    fingerprint = model.require_weights()
    if map_path is not None:
        return PlaceMap.open(map_path, fingerprint, model.name)
    return PlaceMap.create(IN_MEMORY, model.name, fingerprint, model.descriptor_dim)


def _fitted(config: RecognizerConfig, rule: TruthRule, options: DriveOptions) -> RecognizerConfig:
    """Settings that exclude the recent past the rule excludes, and take the same keyframes."""
    decision = replace(config.decision, exclude_recent_s=rule.gap_s, exclude_recent_m=rule.gap_m)
    return replace(config, decision=decision, keyframes=options.keyframes)


def _setup(
    bag_path: Path | str, model: PlaceModel, length: int, config: RecognizerConfig
) -> Setup:
    """What was compared; `length` is that of the descriptors in the map, compressed perhaps."""
    decision = config.decision
    return Setup(
        dataset=Path(bag_path).name,
        model=model.id,
        image_size=model.input.size,
        descriptor_length=length,
        preprocessing=f'{model.input.interpolation}, antialias {model.input.antialias}',
        notes={
            'similarity threshold': str(
                decision.similarity_threshold or model.similarity_threshold
            ),
            'agreeing queries required': f'{decision.consistent_frames}',
        },
    )
