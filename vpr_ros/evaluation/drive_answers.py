"""The answered images of a drive, with the poses of the recording to judge them by."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.bags.reader import open_bag
from vpr_ros.config import KeyframeConfig
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.images import EncodedImages
from vpr_ros.evaluation.protocols import Track
from vpr_ros.recognition.drive import Drive, DriveOptions, Progress
from vpr_ros.recognition.thumbnails import encode_thumbnail
from vpr_ros.records import Candidate, Frame, Place, Pose, Recognition, Timings, Verdict

STRIP_WIDTH = 320
TIMES = tuple(field.name for field in fields(Timings))
EVERY_IMAGE = KeyframeConfig(distance_m=0.0, angle_rad=0.0, period_s=0.0)


@dataclass(frozen=True)
class DriveAnswers:
    """Every answered image of a drive with a known pose, and what the front door said of it."""

    recognitions: list[Recognition]
    track: Track
    images: EncodedImages
    unposed: int
    losses: tuple[str, ...]


def collect(
    bag_path: Path | str,
    options: DriveOptions,
    viewing_axis: str,
    answer: Callable[[Frame, Pose | None], Recognition | None],
    progress: Progress = lambda done, total: None,
    every: bool = False,
) -> DriveAnswers:
    """Go through the keyframes of a drive, or every image, and keep the answers with a pose."""
    recognitions: list[Recognition] = []
    poses: list[Pose] = []
    encoded: list[bytes] = []
    unposed = 0
    if every:
        options = replace(options, keyframes=EVERY_IMAGE)
    with open_bag(bag_path) as bag:
        drive = Drive(bag, options)
        for keyframe in drive.keyframes(progress, depth=True):
            recognition = answer(keyframe.frame, keyframe.pose)
            if recognition is None or keyframe.pose is None:
                unposed += keyframe.pose is None
                continue
            recognitions.append(recognition)
            poses.append(keyframe.pose)
            encoded.append(encode_thumbnail(keyframe.frame.image, STRIP_WIDTH))
        losses = drive.losses()
    if not poses:
        raise DatasetError(
            f'no answered image of {bag_path} has a pose to judge by: name a pose topic, or raise '
            'pose.max_gap_s'
        )
    track = track_of(poses, [r.stamp_ns for r in recognitions], viewing_axis)
    names = [str(r.stamp_ns) for r in recognitions]
    return DriveAnswers(recognitions, track, EncodedImages(encoded, names), unposed, losses)


def track_of(poses: Sequence[Pose], stamps_ns: Sequence[int], viewing_axis: str = 'x') -> Track:
    """Arrays of poses and stamps, as the arithmetic wants them."""
    return Track(
        np.array(stamps_ns, np.int64),
        np.array([pose.position_m for pose in poses]),
        np.array([pose.quaternion for pose in poses]),
        viewing_axis=viewing_axis,
    )


def read_answers(path: Path | str) -> list[Recognition]:
    """Answers of a live run, one JSON object a line.

    Raises:
        DatasetError: no such file, or a line that is not an answer.
    """
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
        return [_answer(json.loads(line)) for line in lines]
    except OSError as error:
        raise DatasetError(f'cannot read the answers {path}: {error.strerror}') from None
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f'{path} is not a file of answers as `vpr live` writes: {error}'
        ) from None


def _answer(record: dict[str, Any]) -> Recognition:
    candidates = tuple(
        Candidate(Place(c['place_id'], c['session_id'], c['stamp_ns']), c['similarity'])
        for c in record['candidates']
    )
    times = {name: record[name] for name in TIMES if name in record}  # older files have fewer
    return Recognition(
        record['query_id'], record['stamp_ns'], Verdict[record['status']], record['reason'],
        candidates, record['consistent_frames'], Timings(**times),
    )  # fmt: skip
