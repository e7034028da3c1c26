"""How right the relative poses are that geometry measured: against the poses of the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_ros.evaluation.protocols import Track
from vpr_ros.records import PoseKind, Recognition, RelativePose

SHARES = (50, 90)  # percent of the errors that lie below what is told
CHI_SQUARED = 12.59  # what 95 % of squared errors of six numbers are below, by their covariance
LEAST_M = 0.05  # a translation has a direction from here on


@dataclass(frozen=True)
class PoseErrors:
    """Errors of the poses of one kind; median, and what 90 % are below. None: not measured."""

    count: int
    of: int  # right best places, with a relative pose of this kind or without
    rotation_deg: tuple[float, float]
    translation_m: tuple[float, float] | None = None  # METRIC
    direction_deg: tuple[float, float] | None = None  # UP_TO_SCALE, of those that moved
    as_stated: float | None = None  # METRIC: share within the 95 % region of the covariance


def relative_errors(
    recognitions: Sequence[Recognition],
    rows: np.ndarray,
    correct: np.ndarray,
    queries: Track,
    references: Track,
) -> dict[str, PoseErrors]:
    """Errors of the measured poses of right best places, by their kind.

    With `X_to = X_from * T`, the true T is the place's base in the query's.

    Args:
        recognitions: Q answers.
        rows: of the best place among the references, (Q,).
        correct: whether it is right, (Q,).
        queries: true poses.
        references: true poses of the places.

    Returns:
        Empty where nothing was measured or poses are not known whole.
    """
    if any(x.positions_m is None or x.quaternions is None for x in (queries, references)):
        return {}
    found: dict[PoseKind, list[tuple[float, ...]]] = {}
    for q in np.flatnonzero(correct).tolist():
        relative = _measured(recognitions[q])
        if relative is not None:
            truth = _between(queries, q, references, int(rows[q]))
            found.setdefault(relative.kind, []).append(_errors(relative, *truth))
    right = int(np.count_nonzero(correct))
    return {x.name: _summary(x, np.array(found[x]), right) for x in sorted(found, reverse=True)}


def _measured(recognition: Recognition) -> RelativePose | None:
    best = recognition.best
    return best.verification.relative if best and best.verification else None


def _between(ours: Track, q: int, theirs: Track, row: int) -> tuple[np.ndarray, Rotation]:
    """Translation (3,) and rotation of the place's base in the query's."""
    assert ours.positions_m is not None and theirs.positions_m is not None
    assert ours.quaternions is not None and theirs.quaternions is not None
    back = Rotation.from_quat(ours.quaternions[q]).inv()
    moved = back.apply(theirs.positions_m[row] - ours.positions_m[q])
    return moved, back * Rotation.from_quat(theirs.quaternions[row])


def _errors(relative: RelativePose, moved: np.ndarray, turned: Rotation) -> tuple[float, ...]:
    """Rotation in degrees, translation in metres, its direction in degrees or nan, chi squared."""
    stated = np.array(relative.pose.position_m)
    turn = (turned * relative.pose.rotation().inv()).as_rotvec()
    away = np.concatenate([moved - stated, turn])
    chi = float(away @ np.linalg.solve(relative.covariance, away))
    lengths = np.linalg.norm(stated), np.linalg.norm(moved)
    aside = np.nan
    if min(lengths) > LEAST_M:
        aside = np.arccos(np.clip(stated @ moved / np.prod(lengths), -1.0, 1.0))
    degrees = float(np.rad2deg(np.linalg.norm(turn))), float(np.rad2deg(aside))
    return degrees[0], float(np.linalg.norm(away[:3])), degrees[1], chi


def _summary(kind: PoseKind, errors: np.ndarray, right: int) -> PoseErrors:
    rotation, translation, direction, chi = errors.T
    direction = direction[np.isfinite(direction)]
    scaled = kind is PoseKind.UP_TO_SCALE and len(direction) > 0
    return PoseErrors(
        len(errors),
        right,
        _shares(rotation),
        _shares(translation) if kind is PoseKind.METRIC else None,
        _shares(direction) if scaled else None,
        float((chi < CHI_SQUARED).mean()) if kind is PoseKind.METRIC else None,
    )


def _shares(values: np.ndarray) -> tuple[float, float]:
    middle, most = np.percentile(values, SHARES)
    return float(middle), float(most)
