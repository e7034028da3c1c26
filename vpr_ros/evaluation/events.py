"""From accepted answers to loop events, errors in metres, and closures per kilometre.

An event is a stretch of consecutive queries: hits at most `MERGE_QUERIES` apart belong together,
so that one flickering frame does not make two revisits out of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from vpr_ros.evaluation.protocols import Track
from vpr_ros.evaluation.recall import ratio

MERGE_QUERIES = 2


@dataclass(frozen=True)
class Answers:
    """What was said to each of Q queries, and what was true; boolean arrays (Q,).

    `correct` and `ignored` judge the best reference whether or not it was accepted;
    `error_m` (Q,) is its distance from the query, nan where not known.
    """

    accepted: np.ndarray
    correct: np.ndarray
    ignored: np.ndarray
    has_positive: np.ndarray
    error_m: np.ndarray


@dataclass(frozen=True)
class Spread:
    """Mean and maximum of some lengths or times."""

    mean: float
    max: float


@dataclass(frozen=True)
class Closures:
    """What accepting did. Counts are of queries unless named events; None: not known.

    A revisit is an event of the truth; its latency runs from its first query to the first
    correct closure within it. Queries without stamps are no drive and have no events.
    """

    accepted: int
    correct: int
    wrong: int
    ignored: int
    missed: int
    matchable: int
    precision: float | None
    recall: float | None
    revisits: int | None
    revisits_found: int | None
    false_events: int | None
    travelled_km: float | None
    wrong_per_km: float | None
    error_m: Spread | None  # of all accepted
    correct_error_m: Spread | None
    latency_s: Spread | None
    latency_m: Spread | None


def events(flags: np.ndarray, merge: int = MERGE_QUERIES) -> list[tuple[int, int]]:
    """Stretches (first, last) of set flags (Q,), bridging gaps of fewer than `merge` queries."""
    rows = np.flatnonzero(flags)
    if not len(rows):
        return []
    cuts = np.flatnonzero(np.diff(rows) > merge)
    firsts = rows[np.concatenate(([0], cuts + 1))]
    lasts = rows[np.concatenate((cuts, [len(rows) - 1]))]
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]


def count_closures(answers: Answers, track: Track) -> Closures:
    """Count what accepting did to Q queries, which are a drive if they have stamps."""
    right = answers.accepted & answers.correct
    wrong = answers.accepted & ~answers.correct & ~answers.ignored
    drive = track.stamps_ns is not None
    revisits = events(answers.has_positive)
    found = first_closures(revisits, right)
    path = track.travelled_m()
    km = None if path is None else float(path[-1] - path[0]) / 1000.0
    stamps_s = None if track.stamps_ns is None else (track.stamps_ns - track.stamps_ns[0]) / 1e9
    correct, false = int(right.sum()), int(wrong.sum())
    matchable = int(answers.has_positive.sum())
    return Closures(
        accepted=int(answers.accepted.sum()),
        correct=correct,
        wrong=false,
        ignored=int((answers.accepted & answers.ignored).sum()),
        missed=int((answers.has_positive & ~right).sum()),
        matchable=matchable,
        precision=ratio(correct, correct + false),
        recall=ratio(correct, matchable),
        revisits=len(revisits) if drive else None,
        revisits_found=len(found) if drive else None,
        false_events=len(events(wrong)) if drive else None,
        travelled_km=km,
        wrong_per_km=None if km is None else ratio(false, km),
        error_m=spread(answers.error_m[answers.accepted]),
        correct_error_m=spread(answers.error_m[right]),
        latency_s=spread(delays(stamps_s, found)),
        latency_m=spread(delays(path, found)),
    )


def first_closures(revisits: list[tuple[int, int]], right: np.ndarray) -> list[tuple[int, int]]:
    """Start and first correct closure of each revisit that has one."""
    return [
        (first, first + int(np.argmax(right[first : last + 1])))
        for first, last in revisits
        if right[first : last + 1].any()
    ]


def delays(along: np.ndarray | None, found: list[tuple[int, int]]) -> np.ndarray:
    """Time or path from the start of each found revisit to its first correct closure."""
    if along is None:
        return np.empty(0)
    return np.array([along[hit] - along[start] for start, hit in found])


def spread(values: np.ndarray) -> Spread | None:
    known = values[np.isfinite(values)]
    return Spread(float(known.mean()), float(known.max())) if len(known) else None


class Outcome(IntEnum):
    """What became of one query."""

    RIGHT = 0  # accepted, and true
    WRONG = 1  # accepted, and false
    IGNORED = 2  # accepted, and not judged by the rule
    MISSED = 3  # a right answer existed, nothing was accepted
    SILENT = 4  # no right answer existed, nothing was accepted


def outcomes(answers: Answers) -> np.ndarray:
    """The outcome of each query, (Q,) of the values of `Outcome`."""
    accepted = answers.accepted
    return np.select(
        [accepted & answers.correct, accepted & answers.ignored, accepted, answers.has_positive],
        [Outcome.RIGHT, Outcome.IGNORED, Outcome.WRONG, Outcome.MISSED],
        Outcome.SILENT,
    )
