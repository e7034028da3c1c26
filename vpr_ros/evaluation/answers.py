"""What the front door answered, as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.protocols import Track
from vpr_ros.evaluation.ranking import Ranking
from vpr_ros.evaluation.result import Timing
from vpr_ros.records import Recognition


def checked_stamps(recognitions: Sequence[Recognition], queries: Track) -> np.ndarray:
    """Stamps of the answers (Q,), which must be those of the query poses where these have any."""
    stamps = np.array([r.stamp_ns for r in recognitions], np.int64)
    if not len(stamps) or len(stamps) != len(queries):
        raise DatasetError(
            f'expected one query pose for each answer, found {len(stamps)} answers and '
            f'{len(queries)} query poses'
        )
    if queries.stamps_ns is not None and not np.array_equal(stamps, queries.stamps_ns):
        row = int(np.flatnonzero(stamps != queries.stamps_ns)[0])
        raise DatasetError(f'answer {row} has another stamp than the query pose of that row')
    return stamps


def ranking_of(
    recognitions: Sequence[Recognition], rows: dict[int, int], by_stamp: bool
) -> Ranking:
    """The candidates of every answer as rows of the references."""
    width = max(1, *(len(r.candidates) for r in recognitions))
    indices = np.zeros((len(recognitions), width), np.int64)
    similarities = np.zeros(indices.shape, np.float32)
    for q, recognition in enumerate(recognitions):
        for k, candidate in enumerate(recognition.candidates):
            key = candidate.place.stamp_ns if by_stamp else candidate.place.id
            if key not in rows:
                what = 'stamp' if by_stamp else 'id'
                raise DatasetError(
                    f'answer {q} names the place with {what} {key}, which is not among the '
                    'references; give the poses of all places'
                )
            indices[q, k] = rows[key]
            similarities[q, k] = candidate.similarity
    return Ranking(indices, similarities, np.array([len(r.candidates) for r in recognitions]))


def verdict_counts(recognitions: Sequence[Recognition]) -> dict[str, int] | None:
    """How often each verdict was given, most frequent first."""
    if not recognitions:
        return None
    return dict(Counter(r.verdict.name for r in recognitions).most_common())


def timing_table(recognitions: Sequence[Recognition]) -> dict[str, Timing] | None:
    """Percentiles of each stage, and of their sum."""
    if not recognitions:
        return None
    names = [f.name for f in fields(recognitions[0].timings)]
    table = np.array([[getattr(r.timings, name) for name in names] for r in recognitions])
    columns = {name.removesuffix('_ms'): table[:, i] for i, name in enumerate(names)}
    columns['total'] = table.sum(axis=1)
    return {name: timing(values) for name, values in columns.items()}


def timing(values_ms: np.ndarray) -> Timing:
    p50, p95, p99 = map(float, np.percentile(values_ms, (50, 95, 99)))
    return Timing(float(values_ms.mean()), p50, p95, p99, float(values_ms.max()))
