"""Settings of models, maps and of the front door."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vpr_ros.config.options import option


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

    search: SearchConfig = field(default_factory=SearchConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    keyframes: KeyframeConfig = field(default_factory=KeyframeConfig)
