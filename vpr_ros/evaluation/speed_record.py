"""The record of a speed measurement: what was asked, the figures, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from vpr_ros.errors import ConfigError
from vpr_ros.evaluation.answers import timing
from vpr_ros.models.engines.runtime import resolve_device, resolve_precision
from vpr_ros.models.engines.stages import RANDOM, check_model

if TYPE_CHECKING:
    from torch import nn

    from vpr_ros.models.networks.network import PlaceNetwork

FORMAT = 'vpr_ros speed 1'
WARM_UP = 3
SMALLEST = 32  # pixels, of a side
STAGES = ('decode', 'preprocess', 'backbone', 'head')

Rival = Callable[['PlaceNetwork'], 'nn.Module']


@dataclass(frozen=True)
class Case:
    """A model to measure, at one batch size, in every precision beside the others.

    Sizes are (height, width) in pixels: `size` of the model's input, None for its own, and
    `camera` of the pictures. `rival`, if any, builds the authors' network with our weights.
    """

    model: str
    size: tuple[int, int] | None = None
    batch: int = 1
    precisions: tuple[str, ...] = ('auto',)
    device: str = 'auto'
    camera: tuple[int, int] = (480, 640)
    repeat: int = 20
    peak_tflops: float | None = None
    rival: Rival | None = None

    def __str__(self) -> str:
        return f'{self.model}, batch {self.batch}, {" and ".join(self.precisions)}'

    def check(self) -> None:
        """Refuse what cannot be measured, before anything is.

        Raises:
            ConfigError: no such model, device or precision, or a number out of range.
        """
        check_model(self.model, self.size)
        for precision in self.precisions:
            resolve_precision(precision, resolve_device(self.device))
        for name, value in (('batch', self.batch), ('repeat', self.repeat)):
            if value < 1:
                raise ConfigError(f'{name}: expected at least 1, found {value}')
        for name, size in (('camera', self.camera), ('size', self.size)):
            if size and min(size) < SMALLEST:
                raise ConfigError(
                    f'{name}: expected at least {SMALLEST} pixels a side, '
                    f'found {size[0]}x{size[1]}'
                )
        if self.peak_tflops is not None and not 0 < self.peak_tflops < float('inf'):
            raise ConfigError(f'peak-tflops: expected more than 0, found {self.peak_tflops}')


@dataclass(frozen=True)
class Samples:
    """What was measured for a row: milliseconds of each call, (repeat,), by name.

    describe: pictures to descriptors in the memory of the host; decode: JPEG to pictures;
    preprocess, network, backbone: steps on the device; eager: the network as torch runs it in
    fp32; product: a large product of matrices; authors: their network in fp32.
    """

    ms: Mapping[str, np.ndarray]
    flop: int  # of the backbone, for one image
    product_flop: int
    cosine: float  # the least of the batch, to the network in fp32
    authors_cosine: float | None = None


@dataclass(frozen=True)
class Figures:
    """What follows from samples; times are medians over calls with a whole batch."""

    p50_ms: float  # of pictures to descriptors, as the two below
    p95_ms: float
    p99_ms: float
    images_per_s: float
    stages_ms: dict[str, float]
    shares: dict[str, float]  # of the sum of the stages
    gflop_per_image: float  # of the backbone
    backbone_tflops: float
    peak_tflops: float
    peak_source: str
    network_ms: float  # backbone and head
    eager_fp32_ms: float  # the same network in plain torch
    cosine_to_fp32: float
    authors_ms: float | None  # the authors' own network
    cosine_to_authors: float | None

    @property
    def peak_share(self) -> float:
        return self.backbone_tflops / self.peak_tflops

    @property
    def times_eager(self) -> float:
        """How many times as fast as the same network in plain torch, fp32."""
        return self.eager_fp32_ms / self.network_ms

    @property
    def times_authors(self) -> float | None:
        """How many times as fast as the authors' own network, fp32."""
        return None if self.authors_ms is None else self.authors_ms / self.network_ms


def figures(case: Case, samples: Samples) -> Figures:
    """The figures of one case."""
    median = {name: float(np.median(values)) for name, values in samples.ms.items()}
    head = float(np.median(samples.ms['network'] - samples.ms['backbone']))
    times = (median['decode'], median['preprocess'], median['backbone'], max(head, 0.0))
    stages, describe = dict(zip(STAGES, times, strict=True)), timing(samples.ms['describe'])
    return Figures(
        p50_ms=describe.p50_ms,
        p95_ms=describe.p95_ms,
        p99_ms=describe.p99_ms,
        images_per_s=1e3 * case.batch / describe.p50_ms,
        stages_ms=stages,
        shares={name: value / sum(times) for name, value in stages.items()},
        gflop_per_image=samples.flop / 1e9,
        backbone_tflops=case.batch * samples.flop / median['backbone'] / 1e9,
        peak_tflops=case.peak_tflops or samples.product_flop / median['product'] / 1e9,
        peak_source='given' if case.peak_tflops else 'measured',
        network_ms=median['network'],
        eager_fp32_ms=median['eager'],
        cosine_to_fp32=samples.cosine,
        authors_ms=median.get('authors'),
        cosine_to_authors=samples.authors_cosine,
    )


@dataclass(frozen=True)
class Row:
    """One measured case. Memory is None where the system does not say."""

    model: str
    weights: str  # fingerprint, or `random`
    size: tuple[int, int]
    batch: int
    device: str
    precision: str
    engine: str
    reason: str  # for this device and precision
    gpu: dict[str, str]  # its name, driver and clocks
    figures: Figures
    load_mib: float | None = None
    run_mib: float | None = None

    @property
    def is_random(self) -> bool:
        return self.weights == RANDOM

    def to_dict(self) -> dict[str, object]:
        """All of it on one level, as it is written to JSON."""
        flat, found = asdict(self), self.figures
        return {
            **{key: value for key, value in flat.items() if key != 'figures'},
            **flat['figures'],
            'peak_share': found.peak_share,
            'times_eager_fp32': found.times_eager,
            'times_authors': found.times_authors,
        }


@dataclass(frozen=True)
class Speed:
    """A whole run."""

    machine: dict[str, str | int | float]
    camera: tuple[int, int]
    repeat: int
    rows: list[Row]
    failures: list[str]
    warm_up: int = WARM_UP

    def to_json(self) -> str:
        """Everything, with the name of the format first."""
        rows = [row.to_dict() for row in self.rows]
        whole = {'format': FORMAT, **asdict(self), 'rows': rows}
        return json.dumps(whole, indent=1, allow_nan=False) + '\n'


def digits(value: float) -> str:
    """A figure to three digits."""
    return f'{value:.0f}' if value >= 100 else f'{value:#.3g}'
