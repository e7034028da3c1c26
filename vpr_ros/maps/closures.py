"""Loop closures between places of a map, found in it or read from what a live run has written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.errors import GraphError
from vpr_ros.maps.graph_files import write_text
from vpr_ros.records import Pose, PoseKind


@dataclass(frozen=True)
class FoundClosure:
    """Two moments at the same place, and T with `X_to = X_from * T`; `from` is the newer one."""

    from_stamp_ns: int
    from_session: int | None  # None: not known
    to_place: int  # id
    kind: PoseKind
    pose: Pose
    covariance: np.ndarray = field(repr=False, compare=False)  # (6, 6), as LoopClosure's
    similarity: float = math.nan
    inliers: int = 0
    probability: float = math.nan  # that it is right; nan: not calibrated


def read_closures(path: Path | str) -> list[FoundClosure]:
    """Read `loop_closures.jsonl` of `vpr live`.

    Raises:
        GraphError: there is no such file, or a line of it is no closure with its pose.
    """
    closures = []
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise GraphError(
            f'cannot read the loop closures {path}: {reason}; expected loop_closures.jsonl of '
            '`vpr live`'
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            closures.append(_closure(json.loads(line)))
        except (KeyError, TypeError, ValueError) as error:
            raise GraphError(
                f'{path}, line {number}: expected a loop closure with its relative pose, as '
                f'`vpr live` writes them, found none ({type(error).__name__}: {error})'
            ) from None
    return closures


def write_closures(path: Path | str, closures: Iterable[FoundClosure]) -> None:
    """The inverse of `read_closures`, whole or not at all; sessions are found by the stamps.

    Raises:
        GraphError: the file cannot be written.
    """
    write_text(path, (json.dumps(_record(closure)) for closure in closures))


def believable(closures: Iterable[FoundClosure], least: float) -> list[FoundClosure]:
    """Closures of at least this probability, and those whose probability is not known."""
    return [x for x in closures if not x.probability < least]


def _closure(record: Mapping[str, Any]) -> FoundClosure:
    x, y, z = map(float, record['position_m'])
    qx, qy, qz, qw = map(float, record['quaternion'])
    covariance = np.array(record['covariance'], dtype=float).reshape(6, 6)
    probability = record['probability']
    return FoundClosure(
        int(record['from_stamp_ns']), None, int(record['to_id']), PoseKind(record['pose_kind']),
        Pose((x, y, z), (qx, qy, qz, qw)), covariance, float(record['similarity']),
        int(record['inliers']), math.nan if probability is None else float(probability),
    )  # fmt: skip


def _record(closure: FoundClosure) -> dict[str, Any]:
    known = not math.isnan(closure.probability)
    return {
        'from_stamp_ns': closure.from_stamp_ns,
        'to_id': closure.to_place,
        'pose_kind': int(closure.kind),
        'position_m': list(closure.pose.position_m),
        'quaternion': list(closure.pose.quaternion),
        'covariance': np.ravel(closure.covariance).tolist(),
        'similarity': closure.similarity,
        'inliers': closure.inliers,
        'probability': closure.probability if known else None,
    }
