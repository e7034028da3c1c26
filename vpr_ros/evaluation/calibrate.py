"""Fit the probability of a map's answers to a drive whose poses are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.config import RecognizerConfig
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.bootstrap import default_block
from vpr_ros.evaluation.drive_answers import DriveAnswers, collect, track_of
from vpr_ros.evaluation.evaluate import Options, score_recognitions
from vpr_ros.evaluation.protocols import TruthRule
from vpr_ros.evaluation.reliability import Reliability, summarise
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.calibration import DIRECTION, Calibrator
from vpr_ros.recognition.confirming import thorough
from vpr_ros.recognition.drive import DriveOptions, Progress
from vpr_ros.recognition.fitting import fit, held_out
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Frame, Pose, Recognition, Signals

LEAST_RIGHT, LEAST_WRONG = 20, 10
BLOCKS = 5  # stretches of the drive, each predicted from the others


@dataclass(frozen=True)
class Calibrated:
    """A calibrator, and how the held-out answers fared."""

    calibrator: Calibrator
    probability: np.ndarray  # (M,) of answers held out with their stretch of the drive
    correct: np.ndarray  # (M,)
    reliability: Reliability
    losses: tuple[str, ...] = ()


def calibrate_map(
    map_path: Path | str,
    bag_path: Path | str,
    model: PlaceModel,
    rule: TruthRule,
    config: RecognizerConfig | None = None,
    options: DriveOptions | None = None,
    viewing_axis: str = 'x',
    progress: Progress = lambda done, total: None,
    method: str = 'logistic',
) -> Calibrated:
    """Localise a drive in a map, judge the answers, and store the fitted calibrator in the map.

    Args:
        map_path: the `.vprmap`, in the frame of the poses; nothing else in it changes.
        bag_path: the drive; its poses are the truth.
        model: that made the map.
        rule: what a true match is.
        config: of the front door, as it will be used.
        options: topics and keyframe rule.
        viewing_axis: axis of the base along which the camera looks.
        progress: called with images read and images in all.
        method: of the calibrator, one of `calibration.METHODS`.

    Raises:
        BagError: the recording or a topic of it cannot be read.
        MapError: the map cannot be read or written, or is another model's.
        DatasetError: poses are missing, or too few answers are right or wrong.
    """
    options, fingerprint = options or DriveOptions(), model.require_weights()
    with PlaceMap.open(map_path, fingerprint, model.name, writable=True) as place_map:
        recognize = _asking(Recognizer(model, place_map, thorough(config or RecognizerConfig())))
        answers = collect(bag_path, options, viewing_axis, recognize, progress)
        signals, correct = judged(answers, place_map, rule)
        source = f'{Path(bag_path).name}, {rule.name}'
        found = calibrate(signals, correct, fingerprint, source, answers.losses, method)
        place_map.beside.put_calibrator(found.calibrator.to_json())
    return found


def _asking(recognizer: Recognizer) -> Callable[[Frame, Pose | None], Recognition | None]:
    """Ask the front door about images with a pose: the others cannot be judged."""

    def recognize(frame: Frame, pose: Pose | None) -> Recognition | None:
        if pose is None:
            return None
        return recognizer.recognize(frame.image, frame.stamp_ns, pose, frame.depth)

    return recognize


def judged(
    answers: DriveAnswers, place_map: PlaceMap, rule: TruthRule
) -> tuple[list[Signals], np.ndarray]:
    """Signals of M answers with a best place that is right or wrong, and which are right, (M,).

    Raises:
        DatasetError: places of the map have no pose.
    """
    places, axis = place_map.places, answers.track.viewing_axis
    poses = [place.pose for place in places if place.pose is not None]
    if len(poses) < len(places) or not poses:
        raise DatasetError(
            f'{len(places) - len(poses)} of {len(places)} places of {place_map.path} have a pose '
            'missing, so that answers cannot be judged: build the map with a pose topic'
        )
    references = track_of(poses, [place.stamp_ns for place in places], axis)
    ids = np.array([place.id for place in places])
    told = score_recognitions(
        answers.recognitions, answers.track, rule, references, ids, options=Options(replicates=0)
    ).answers
    rows = [
        row for row, answer in enumerate(answers.recognitions)
        if answer.best is not None and answer.signals is not None and not told.ignored[row]
    ]  # fmt: skip
    some = [answers.recognitions[row].signals for row in rows]
    return [one for one in some if one is not None], told.correct[rows]


def calibrate(
    signals: Sequence[Signals],
    correct: np.ndarray,
    fingerprint: str,
    source: str,
    losses: tuple[str, ...] = (),
    method: str = 'logistic',
) -> Calibrated:
    """Fit to M answers in order of time; stretches of it are held out in turn for the figures.

    Raises:
        DatasetError: fewer than LEAST_RIGHT right or LEAST_WRONG wrong answers.
    """
    right, wrong = int(correct.sum()), int((~correct).sum())
    if right < LEAST_RIGHT or wrong < LEAST_WRONG:
        raise DatasetError(
            f'a calibration takes at least {LEAST_RIGHT} right and {LEAST_WRONG} wrong answers, '
            f'found {right} and {wrong}: use a longer drive, or one that leaves the map at times'
        )
    blocks = np.arange(len(correct)) * BLOCKS // len(correct)
    names = tuple(DIRECTION)
    probability = held_out(signals, correct, blocks, names, method)
    calibrator = fit(signals, correct, blocks, names, fingerprint, (source,), method)
    block = default_block(len(correct), within_drive=True)
    return Calibrated(
        calibrator, probability, correct, summarise(probability, correct, block), losses
    )
