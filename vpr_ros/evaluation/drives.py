"""A recorded drive through the front door, and its answers scored against its own poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import cv2
import numpy as np

from vpr_ros.bags.keyframes import keyframes
from vpr_ros.bags.reader import open_bag
from vpr_ros.config import DecisionConfig, RecognizerConfig
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.evaluate import score_recognitions
from vpr_ros.evaluation.protocols import Track, TruthRule
from vpr_ros.evaluation.result import Evaluation, Setup
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.mapping import DriveOptions, drive_trajectory
from vpr_ros.recognition.recognizer import Recognizer, encode_thumbnail
from vpr_ros.records import Pose, Recognition

STRIP_WIDTH = 320


class Thumbnails(Sequence[np.ndarray]):
    """JPEG images, decoded when looked at."""

    def __init__(self, encoded: list[bytes]) -> None:
        self._encoded = encoded

    def __len__(self) -> int:
        return len(self._encoded)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        if isinstance(index, slice):
            return Thumbnails(self._encoded[index])
        data = np.frombuffer(self._encoded[index], np.uint8)
        return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1])


@dataclass(frozen=True)
class DriveAnswers:
    """Every keyframe of a drive with a known pose, and what the front door said of it."""

    recognitions: list[Recognition]
    track: Track
    images: Thumbnails
    unposed: int
    losses: tuple[str, ...]


@dataclass(frozen=True)
class DriveReport:
    """An evaluation and the images to show with it; without references they are the queries."""

    evaluation: Evaluation
    queries: Thumbnails
    references: Thumbnails | None
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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DriveReport:
    """Recognise a recorded drive and score it.

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
        BagError, MapError: the recording or the map cannot be read.
        DatasetError: no image has a pose.
    """
    config, options = config or RecognizerConfig(), options or DriveOptions()
    assert model.fingerprint is not None
    if map_path is not None:
        with PlaceMap.open(map_path, model.fingerprint, model.name) as place_map:
            answers = answer_drive(
                bag_path, Recognizer(model, place_map, config), options, viewing_axis, progress
            )
            return _scored_in_map(answers, place_map, rule, _setup(bag_path, model, rule, config))
    config = replace(
        config, decision=_with_gap(config.decision, rule), keyframes=options.keyframes
    )
    with PlaceMap.create(
        IN_MEMORY, model.name, model.fingerprint, model.descriptor_dim
    ) as place_map:
        recognizer = Recognizer(model, place_map, config, place_map.add_session('drive'))
        answers = answer_drive(bag_path, recognizer, options, viewing_axis, progress)
    evaluation = score_recognitions(
        answers.recognitions, answers.track, rule, setup=_setup(bag_path, model, rule, config)
    )
    return DriveReport(evaluation, answers.images, None, answers.unposed, answers.losses)


def answer_drive(
    bag_path: Path | str,
    recognizer: Recognizer,
    options: DriveOptions,
    viewing_axis: str,
    progress: Callable[[int, int], None],
) -> DriveAnswers:
    """Ask the front door about every keyframe of a drive.

    Raises:
        DatasetError: no image has a pose.
    """
    recognitions: list[Recognition] = []
    poses: list[Pose] = []
    encoded: list[bytes] = []
    unposed = 0
    with open_bag(bag_path) as bag:
        trajectory = drive_trajectory(bag, options)
        topic = bag.image_topic(options.image_topic or None)
        frames, total = bag.frames(topic), bag.count(topic)
        watched = _watch(frames, total, progress)
        for keyframe in keyframes(watched, trajectory, options.keyframes, options.poses.max_gap_s):
            frame = keyframe.frame
            recognition = recognizer.recognize(frame.image, frame.stamp_ns, keyframe.pose)
            if keyframe.pose is None:
                unposed += 1
                continue
            recognitions.append(recognition)
            poses.append(keyframe.pose)
            encoded.append(encode_thumbnail(frame.image, STRIP_WIDTH))
        losses = (*bag.notes, *(f'{loss.topic}: {loss.reason}' for loss in bag.losses))
    if not poses:
        raise DatasetError(
            f'no image of {bag_path} has a pose to judge by: name a pose topic, or raise '
            'poses.max_gap_s'
        )
    track = track_of(poses, [r.stamp_ns for r in recognitions], viewing_axis)
    return DriveAnswers(recognitions, track, Thumbnails(encoded), unposed, losses)


def track_of(poses: list[Pose], stamps_ns: list[int], viewing_axis: str = 'x') -> Track:
    """Arrays of poses and stamps, as the arithmetic wants them."""
    return Track(
        np.array(stamps_ns, np.int64),
        np.array([pose.position_m for pose in poses]),
        np.array([pose.quaternion for pose in poses]),
        viewing_axis=viewing_axis,
    )


def _scored_in_map(
    answers: DriveAnswers, place_map: PlaceMap, rule: TruthRule, setup: Setup
) -> DriveReport:
    poses = [place.pose for place in place_map.places if place.pose is not None]
    if len(poses) < len(place_map):
        raise DatasetError(
            f'{len(place_map) - len(poses)} of {len(place_map)} places of {place_map.path} have '
            'no pose, so that matches with them cannot be judged: build the map with a pose topic'
        )
    references = track_of(
        poses, [place.stamp_ns for place in place_map.places], answers.track.viewing_axis
    )
    ids = np.array([place.id for place in place_map.places])
    evaluation = score_recognitions(
        answers.recognitions, answers.track, rule, references, ids, setup=setup
    )
    shown = Thumbnails([place_map.thumbnail(place.id) or b'' for place in place_map.places])
    return DriveReport(evaluation, answers.images, shown, answers.unposed, answers.losses)


def _with_gap(decision: DecisionConfig, rule: TruthRule) -> DecisionConfig:
    return replace(decision, exclude_recent_s=rule.gap_s, exclude_recent_m=rule.gap_m)


def _watch(frames, total: int, progress: Callable[[int, int], None]):
    for number, frame in enumerate(frames, start=1):
        progress(number, total)
        yield frame


def _setup(
    bag_path: Path | str, model: PlaceModel, rule: TruthRule, config: RecognizerConfig
) -> Setup:
    decision = config.decision
    threshold = decision.similarity_threshold or model.similarity_threshold
    return Setup(
        dataset=Path(bag_path).name,
        model=model.id,
        image_size=model.input.size,
        preprocessing=f'{model.input.interpolation}, antialias {model.input.antialias}',
        notes={
            'truth rule': rule.name,
            'similarity threshold': f'{threshold}',
            'agreeing queries required': f'{decision.consistent_frames}',
        },
    )
