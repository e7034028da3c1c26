"""Settings of models, maps and of the front door."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vpr_ros.config.options import option, section


@dataclass(frozen=True)
class ModelConfig:
    """Which model describes images, and where it runs."""

    name: str = option('sage_nano', 'model name, see `vpr models`')
    weights: str = option('', 'checkpoint file; empty: the bundled or fetched weights')
    device: str = option('auto', 'where the model runs', choices=('auto', 'cpu', 'cuda'))
    precision: str = option(
        'auto',
        'of the arithmetic; auto: the fastest that keeps descriptors within cosine 0.999; '
        'int8: within 0.995, on a CPU, after `vpr weights quantize`',
        choices=('auto', 'fp32', 'bf16', 'fp16', 'int8'),
    )


@dataclass(frozen=True)
class SearchConfig:
    """How the map is searched."""

    top_k: int = option(10, 'places retrieved for each query', 1, 1000)


@dataclass(frozen=True)
class DecisionConfig:
    """When a candidate becomes an accepted place."""

    similarity_threshold: float = option(
        0.0,
        'least cosine similarity to accept; 0: the threshold stored with the weights',
        0.0,
        1.0,
    )
    max_false_closure_rate: float = option(
        0.0,
        'accept by calibrated probability, so that at most this share of what is accepted is '
        'wrong; 0: accept by similarity',
        0.0,
        1.0,
    )
    min_probability: float = option(
        0.0, 'accept by calibrated probability, at least this; 0: not given by hand', 0.0, 1.0
    )
    max_ambiguity: float = option(
        1.0, 'largest ambiguity to accept; 1: ambiguous places are accepted, too', 0.0, 1.0
    )
    neighbourhood_m: float = option(
        0.0,
        'places nearer than this are no rivals of each other; 0: a tenth of the size of the map, '
        '0.3 to 10 m',
        0.0,
        1e6,
    )
    min_support: float = option(
        0.5, 'filter and sequence: least support of the place by the queries before', 0.0, 1.0
    )
    max_jump_m: float = option(
        10.0,
        'a place that is so much further from the last accepted one than the robot has moved '
        'since contradicts odometry; 0: odometry is not asked',
        0.0,
        1e6,
    )
    jump_frames: int = option(
        5, 'queries in a row that overrule odometry when they agree on such a place', 1, 1000
    )
    consistent_frames: int = option(2, 'queries in a row that must agree on a place', 1, 100)
    consistent_distance_m: float = option(
        5.0, 'agreeing queries: largest distance between their places', 0.0, 1e6
    )
    consistent_spacing_s: float = option(
        0.5, 'agreeing queries: those closer in time than this count as one', 0.0, 60.0
    )
    consistent_gap_s: float = option(
        5.0, 'agreeing queries: largest time between them, and between unposed places', 0.0, 1e6
    )
    exclude_recent_s: float = option(
        10.0, "the robot's own last seconds, which are not searched", 0.0, 1e6
    )
    exclude_recent_m: float = option(
        2.0, "the robot's own last metres of path, which are not searched", 0.0, 1e6
    )


@dataclass(frozen=True)
class RerankingConfig:
    """How candidates of the search are ordered anew by their local features (methods 6.2, 6.3)."""

    method: str = option(
        'folpp',
        'none; folpp: reliability-weighted matches fused with the similarity, where there are '
        'local features; fol: number of matches of a fixed number of candidates',
        choices=('none', 'folpp', 'fol'),
    )
    most: int = option(100, 'candidates re-ranked at most', 1, 1000)
    fewest: int = option(5, 'folpp: candidates re-ranked at least', 1, 1000)
    similarity_range: float = option(
        0.15, 'folpp: candidates this much less similar than the best are left alone', 0.0, 2.0
    )
    deviations: float = option(
        0.5, 'folpp: so are those not this many standard deviations above the mean', -10.0, 10.0
    )
    by_reliability: bool = option(
        True, 'folpp: so are those that the local features of the query, as reliable as they are, '
        'could not make the best',
    )  # fmt: skip
    least_cosine: float = option(0.7, 'that two local features must exceed to match', -1.0, 1.0)
    similarity_weight: float = option(
        0.0, 'folpp: of the similarity beside the share of matches; 0: the default', 0.0, 1e6
    )


@dataclass(frozen=True)
class VerificationConfig:
    """How the best candidates are verified by geometry."""

    candidates: int = option(3, 'best candidates verified; 0: none', 0, 100)
    until_confirmed: bool = option(
        True, 'the first candidate that is confirmed ends the verification: the others come after '
        'it in any case',
    )  # fmt: skip
    below_threshold: bool = option(
        False, 'also verify candidates whose similarity refuses them: the answers tell more of '
        'them, for the time that it takes',
    )  # fmt: skip
    matches: str = option(
        'auto',
        'what is matched of images and of the thumbnails of places; auto: corners where these '
        'settle it, else sift, and local where images are missing; corners: in a millisecond, for '
        'like views that are not rolled by more than 15 degrees; sift: SIFT keypoints, in ten '
        'times that; local: local features of the model',
        choices=('auto', 'corners', 'local', 'sift'),
    )
    min_inliers: int = option(20, 'least inliers of a verified place', 4, 10_000)
    min_ratio: float = option(0.5, 'least share of inliers among the matches', 0.0, 1.0)
    error_px: float = option(2.0, 'largest distance of an inlier, in pixels', 0.1, 100.0)


@dataclass(frozen=True)
class TemporalConfig:
    """How answers in a row support each other."""

    method: str = option(
        'agreement',
        'agreement: queries in a row whose best places lie together; filter: discrete Bayes '
        'filter over the places, moved by odometry; sequence: straight lines through the '
        'similarities',
        choices=('none', 'agreement', 'filter', 'sequence'),
    )
    length: int = option(10, 'sequence: queries in a line', 2, 1000)
    sharpness: float = option(
        2.0, 'filter: weight of one standard deviation of similarity', 0.1, 1000.0
    )
    motion_sigma_m: float = option(
        0.0,
        'filter: standard deviation of the motion between two queries, and the least step; 0: '
        'the distance of neighbouring places of the map, at most 0.5 m',
        0.0,
        1e4,
    )
    motion_share: float = option(0.2, 'filter: and this share of the motion itself', 0.0, 10.0)
    jump_probability: float = option(
        0.01, 'filter: that the robot is anywhere at the next query', 1e-9, 1.0
    )


@dataclass(frozen=True)
class KeyframeConfig:
    """Which images of a drive become places of the map: whatever limit is reached first."""

    distance_m: float = option(0.5, 'a new place after this distance; 0: never', 0.0, 1e6)
    angle_rad: float = option(0.26, 'a new place after this turn; 0: never', 0.0, math.pi)
    period_s: float = option(
        0.5, 'a new place after this time where the pose is not known', 0.0, 1e6
    )


@dataclass(frozen=True)
class PoseConfig:
    """Where poses come from and how they are brought to an image's stamp."""

    max_gap_s: float = option(
        0.5, 'largest time between two poses that may be interpolated', 0.0, 3600.0
    )


@dataclass(frozen=True)
class RecognizerConfig:
    """Everything the front door needs."""

    search: SearchConfig = section(SearchConfig, live=True)
    reranking: RerankingConfig = section(RerankingConfig, live=True)
    verification: VerificationConfig = section(VerificationConfig, live=True)
    temporal: TemporalConfig = section(TemporalConfig, live=True)
    decision: DecisionConfig = section(DecisionConfig, live=True)
    keyframes: KeyframeConfig = section(KeyframeConfig, live=True)
