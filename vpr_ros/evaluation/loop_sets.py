"""The front door on the images of an evaluation set, as a robot would have driven through them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np

from vpr_ros.config import DecisionConfig, RecognizerConfig
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.datasets import LoopSet
from vpr_ros.evaluation.drive_answers import EVERY_IMAGE
from vpr_ros.evaluation.evaluate import Options, score_recognitions
from vpr_ros.evaluation.result import Evaluation
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.described import Described, Query
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Pose


def describe(model: PlaceModel, images: Iterable[np.ndarray], batch: int = 1) -> np.ndarray:
    """Describe RGB images (H, W, 3), uint8, as rows (N, D), float32, unit length.

    With a single-image model `batch` is a matter of speed. With a cross-image encoder
    (`sage_vitl_cross`) it is the context: `batch` consecutive images are described by each other,
    and another size or another order gives other descriptors. Where queries and references list
    the same places in the same order, as in SPED, AmsterTime and Nordland, aligned batches raise
    the recall far above what one image can give: state batch and order with every such figure,
    shuffle one of the sides to see the difference, and never call it single-image accuracy.

    Args:
        model: with its weights.
        images: in the order in which they share batches.
        batch: images described together; the last batch may be smaller.
    """
    pending, rows = iter(images), []
    while some := list(islice(pending, batch)):
        rows.append(model.describe(some).descriptor.cpu().numpy())
    return np.concatenate(rows)


def close_loops(model: PlaceModel, data: LoopSet, descriptors: np.ndarray) -> Evaluation:
    """Score what the front door closes at its default settings.

    Every image becomes a place, and the recent past left out is the one the set's rule leaves out.

    Args:
        model: with its weights.
        data: a drive with stamps and positions.
        descriptors: of its images, (N, D).

    Raises:
        DatasetError: the drive has no stamps or no positions.
    """
    rule, track = data.rule, data.track
    if track.stamps_ns is None or track.positions_m is None:
        raise DatasetError(f'{data.name}: a drive needs stamps and positions to be driven through')
    decision = DecisionConfig(exclude_recent_s=rule.gap_s, exclude_recent_m=rule.gap_m)
    config = RecognizerConfig(decision=decision, keyframes=EVERY_IMAGE)
    with PlaceMap.create(
        IN_MEMORY, model.name, model.require_weights(), model.descriptor_dim
    ) as places:
        recognizer = Recognizer(model, places, config, places.add_session(data.name))
        answers = [
            recognizer.answer(
                Query((Described(descriptor),), int(stamp_ns), Pose(tuple(position.tolist())))
            )
            for descriptor, stamp_ns, position in zip(
                descriptors, track.stamps_ns, track.positions_m, strict=True
            )
        ]
    return score_recognitions(answers, track, rule, options=Options(replicates=0))
