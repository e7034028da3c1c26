"""One answer with everything it rests on: its numbers as JSON, and its evidence in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vpr_ros.config import RecognizerConfig
from vpr_ros.recognition.decision import Thresholds
from vpr_ros.records import Candidate, Place, Recognition, Signals, Verdict

if TYPE_CHECKING:
    from vpr_ros.records import LocalFeatures

NOT_COMPUTED = 'not computed'
VERDICTS = {
    Verdict.ACCEPTED: 'accepted',
    Verdict.LOW_SIMILARITY: 'refused: similarity too low',
    Verdict.AMBIGUOUS: 'refused: ambiguous',
    Verdict.GEOMETRY_FAILED: 'refused: geometry does not agree',
    Verdict.TEMPORAL_PENDING: 'not yet: waiting for further images',
    Verdict.INCONSISTENT: 'refused: contradicts the images before',
    Verdict.NO_MAP: 'no answer: the map is empty',
    Verdict.BAD_IMAGE: 'no answer: bad image',
    Verdict.EXCLUDED_RECENT: 'no answer: only the recent past is known',
    Verdict.LOW_PROBABILITY: 'refused: probability too low',
    Verdict.ERROR: 'error',
}
STAGES = {
    'preprocess_ms': 'preprocessing', 'inference_ms': 'model', 'search_ms': 'search',
    'rerank_ms': 're-ranking', 'verify_ms': 'verification', 'decide_ms': 'decision',
}  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """A query, the answer to it, and what is shown beside the numbers.

    `image` is (H, W, 3) uint8 RGB, `thumbnails` are JPEG by place id, `input_size` is height and
    width of the model's input in pixels, in which local features have their positions.
    """

    image: np.ndarray = field(repr=False, compare=False)
    recognition: Recognition
    query_name: str
    map_name: str
    config: RecognizerConfig = field(default_factory=RecognizerConfig)
    thresholds: Thresholds = Thresholds(math.nan)  # nan: not known
    thumbnails: Mapping[int, bytes | None] = field(default_factory=dict, repr=False)
    query_local: LocalFeatures | None = field(default=None, repr=False, compare=False)
    place_local: LocalFeatures | None = field(default=None, repr=False, compare=False)
    input_size: tuple[int, int] = (0, 0)
    patch: int = 14  # pixels of the model's input
    notes: tuple[str, ...] = ()  # sentences for the reader

    @property
    def signals(self) -> Signals | None:
        """Of the recognition; else what its best candidate tells."""
        best = self.recognition.best
        if self.recognition.signals is not None or best is None:
            return self.recognition.signals
        found = best.verification
        return Signals(
            best.similarity,
            inliers=found.inliers if found else math.nan,
            inlier_ratio=found.ratio if found else math.nan,
            agreement=self.recognition.consistent_frames or math.nan,
        )

    def to_json(self) -> str:
        """Every number as JSON; null: not computed."""
        answer, signals = self.recognition, self.signals
        record = {
            'query': self.query_name,
            'map': self.map_name,
            'stamp_ns': answer.stamp_ns,
            'verdict': answer.verdict.name,
            'reason': answer.reason,
            'probability': answer.probability,
            'ambiguity': answer.ambiguity,
            'similarity_threshold': self.thresholds.similarity,
            'probability_threshold': self.thresholds.probability,
            'reranked': answer.pool,
            'consistent_frames': answer.consistent_frames,
            'signals': asdict(signals) if signals else None,
            'candidates': [self._candidate(rank) for rank in range(len(answer.candidates))],
            'timings': asdict(answer.timings),
            'notes': list(self.notes),
        }
        return json.dumps(finite(record), indent=2, ensure_ascii=False)

    def _candidate(self, rank: int) -> dict[str, Any]:
        candidate, best = self.recognition.candidates[rank], self.recognition.candidates[0]
        found = candidate.verification
        relative = found.relative if found else None
        return {
            'rank': rank + 1,
            'place_id': candidate.place.id,
            'session_id': candidate.place.session_id,
            'stamp_ns': candidate.place.stamp_ns,
            'position_m': candidate.place.pose.position_m if candidate.place.pose else None,
            'from_best_m': apart_m(candidate, best),
            'similarity': candidate.similarity,
            'score': candidate.score,
            'local_matches': candidate.matches,
            'verified_matches': found.matches if found else None,
            'inliers': found.inliers if found else None,
            'inlier_ratio': found.ratio if found else None,
            'geometry': found.model if found else None,
            'relative_pose': relative.kind.name if relative else None,
            'relative_position_m': relative.pose.position_m if relative else None,
            'relative_quaternion': relative.pose.quaternion if relative else None,
        }


class Row(NamedTuple):
    """One signal: its value, what it means, and whether it passes its limit (None: no limit)."""

    name: str
    value: str
    note: str
    passes: bool | None = None


def signal_rows(shown: Explanation) -> list[Row]:
    """Every signal in words; empty without a candidate."""
    s = shown.signals
    if s is None:
        return []
    least, verify = shown.thresholds, shown.config.verification
    by_similarity = math.isnan(least.probability)
    decision, method = shown.config.decision, shown.config.temporal.method
    wanted = decision.consistent_frames if method == 'agreement' else None
    rows = [
        limited('similarity', s.similarity, '.3f', least.similarity if by_similarity else None,
                'of the descriptors (cosine)', 'threshold {:.3f}'),
        limited('z-score', s.z_score, '.1f', None,
                'standard deviations above the rest of the map'),
        limited('gap', s.gap, '+.3f', None, 'in similarity to the best place elsewhere'),
        limited('spread', s.spread, '.2f', None,
                'of the candidates; 0: in one spot, 1: far apart'),
        limited('local matches', s.local, '.0%', None, "of the query's local features"),
        limited('inliers', s.inliers, '.0f', verify.min_inliers,
                'matches that one motion explains', '{} wanted'),
        limited('inlier ratio', s.inlier_ratio, '.2f', verify.min_ratio,
                'of the matches are inliers', '{:.2f} wanted'),
        limited('inlier margin', s.margin, '+.2f', None,
                'log ratio of inliers to those of other verified places'),
        limited('support', s.support, '.2f', decision.min_support,
                'of this place by the queries before', '{:.2f} wanted'),
        limited('agreement', s.agreement, '.0f', wanted,
                'queries in a row point to this place', '{} wanted'),
    ]  # fmt: skip
    return [
        row._replace(note=why_not(row.name, shown)) if row.value == NOT_COMPUTED else row
        for row in rows
    ]


def limited(
    name: str, value: float, form: str, limit: float | None, note: str, wish: str = ''
) -> Row:
    """A signal, and whether it reaches its limit where it has one."""
    if limit is None or math.isnan(limit) or math.isnan(value):
        return Row(name, number(value, form), note)
    return Row(name, number(value, form), f'{note}; {wish.format(limit)}', value >= limit)


def why_not(name: str, shown: Explanation) -> str:
    """Why a signal was not computed, where the settings or the map tell."""
    config = shown.config
    reasons = {
        'z-score': 'no place away from the best one to compare with',
        'gap': 'no place away from the best one to compare with',
        'spread': 'too few candidates, or places without a pose',
        'support': f'temporal method: {config.temporal.method}',
    }
    if name == 'local matches':
        return why_no_matches(shown)
    if name in ('inliers', 'inlier ratio', 'inlier margin'):
        off = not config.verification.candidates
        return 'verification is off' if off else 'this place was not verified'
    return reasons.get(name, '')


def why_no_matches(shown: Explanation) -> str:
    """Why the local features of query and place were not matched."""
    if shown.config.reranking.method == 'none':
        return 're-ranking is off'
    if shown.query_local is None:
        return 'the model has no local features'
    if shown.place_local is None:
        return 'the map has no local features of this place'
    return 'the place was not re-ranked'


def candidate_lines(shown: Explanation, rank: int) -> list[str]:
    """Similarity, score, matches, inliers and distance of one candidate."""
    candidate, best = shown.recognition.candidates[rank], shown.recognition.candidates[0]
    found, lines = candidate.verification, [f'similarity {candidate.similarity:.3f}']
    if candidate.score is not None:
        lines.append(f'score {candidate.score:.3f}')
    if candidate.matches is not None:
        lines.append(f'{candidate.matches} local matches')
    if found is not None:
        lines.append(f'{found.inliers} of {found.matches} inliers')
    metres = apart_m(candidate, best)
    if rank:
        lines.append('position unknown' if metres is None else f'{metres:.1f} m from the best')
    return lines


def candidate_rows(shown: Explanation) -> list[tuple[str, ...]]:
    """Rank, place, similarity, score, matches, inliers, distance from the best; '-': unknown."""
    candidates = shown.recognition.candidates
    rows: list[tuple[str, ...]] = []
    for rank, candidate in enumerate(candidates, start=1):
        found, metres = candidate.verification, apart_m(candidate, candidates[0])
        rows.append((
            str(rank), str(candidate.place.id), f'{candidate.similarity:.3f}',
            '-' if candidate.score is None else f'{candidate.score:.3f}',
            '-' if candidate.matches is None else str(candidate.matches),
            '-' if found is None else f'{found.inliers} of {found.matches}',
            '-' if metres is None else f'{metres:.1f} m',
        ))  # fmt: skip
    return rows


def place_name(place: Place) -> str:
    return f'place {place.id} · {stamp_words(place.stamp_ns)}'


def stamp_words(stamp_ns: int) -> str:
    """A stamp in seconds, with as many digits as say all of it, three at least."""
    whole, rest = divmod(stamp_ns, 1_000_000_000)
    digits = f'{rest:09d}'
    return f'{whole}.{digits[:3]}{digits[3:].rstrip("0")} s'


def timing_words(recognition: Recognition) -> str:
    """Where the time went; stages that took none are left out."""
    spent = asdict(recognition.timings)
    words = [f'{name} {spent[key]:.1f}' for key, name in STAGES.items() if spent[key] > 0]
    if not words:
        return 'no timings'
    return f'{sum(spent.values()):.1f} ms: ' + ' · '.join(words)


def apart_m(candidate: Candidate, best: Candidate) -> float | None:
    """Metres between two places, or None where a pose is not known."""
    here, there = candidate.place.pose, best.place.pose
    return here.distance_m(there) if here and there else None


def number(value: float, form: str) -> str:
    return NOT_COMPUTED if math.isnan(value) else format(value, form)


def finite(value: Any) -> Any:
    """The same tree with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
