"""Ranges of a model's layers on pictures, for int8, checked on others."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vpr_ros.errors import CheckpointError, ConfigError
from vpr_ros.image import to_batch
from vpr_ros.models.engines.int8 import Ranges, measured_ranges, ranges_file
from vpr_ros.models.engines.runtime import LEAST_COSINE_INT8, Runtime, probe_image
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.place_model import PlaceModel
from vpr_ros.models.weights.checkpoint import write_whole

LEAST_PICTURES = 16
HELD_OUT = 4  # every fourth picture

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Calibration:
    """Ranges that were written, and the cosine to fp32 on the pictures that were held out."""

    path: Path
    pictures: int
    held_out: int
    mean_cosine: float
    least_cosine: float


def calibrate(
    model: PlaceModel,
    pictures: Sequence[np.ndarray],
    report: Report = lambda done, total: None,
) -> Calibration:
    """Measure the ranges of a model's layers and write them where `int8` looks for them.

    Every fourth picture is held out: on these, descriptors in int8 are compared with fp32. The
    picture that every load is checked with is among those that are measured.

    Args:
        model: with weights, on the CPU in fp32.
        pictures: RGB uint8 (H, W, 3), of any size.
        report: called with pictures done and pictures in all.

    Raises:
        CheckpointError: no weights, or int8 moves its descriptors too far.
        ConfigError: too few pictures, or this machine does not compute in 8 bits.
    """
    fingerprint = model.require_weights()
    if len(pictures) < LEAST_PICTURES:
        raise ConfigError(f'expected at least {LEAST_PICTURES} pictures, found {len(pictures)}')
    held_out = pictures[::HELD_OUT]
    seen = [x for n, x in enumerate(pictures) if n % HELD_OUT] + [probe_image(model.input.size)]

    def prepared(images: Sequence[np.ndarray], before: int) -> Iterator[torch.Tensor]:
        for done, image in enumerate(images, start=before + 1):
            yield to_batch([image], model.input)
            report(done, len(seen) + len(held_out))

    network = copy.copy(model.network)
    network.ranges = measured_ranges(network, prepared(seen, 0))
    cosines = checked(model, network, prepared(held_out, len(seen)))
    path = ranges_file(model.name, fingerprint)
    made = Calibration(path, len(pictures), len(held_out), float(np.mean(cosines)), min(cosines))
    _write(made, network.ranges, fingerprint)
    return made


@torch.inference_mode()
def checked(
    model: PlaceModel, network: PlaceNetwork, images: Iterable[torch.Tensor]
) -> list[float]:
    """Cosine of int8 to fp32 on each image, with the ranges of the network.

    Raises:
        CheckpointError: one of them is too small.
    """
    runtime = Runtime(network, model.input, 'cpu', 'int8')
    cosines = [
        float((runtime(x).descriptor * network.features(x).descriptor).sum()) for x in images
    ]
    if min(cosines) < LEAST_COSINE_INT8:
        raise CheckpointError(
            f'int8 turns a descriptor of {model.name} to cosine {min(cosines):.4f} with fp32, at '
            f'least {LEAST_COSINE_INT8} is wanted: give pictures of the place with --images, or '
            'use precision auto'
        )
    return cosines


def _write(made: Calibration, ranges: Ranges, fingerprint: str) -> None:
    header = {
        'fingerprint': fingerprint,
        'mean_cosine': made.mean_cosine,
        'least_cosine': made.least_cosine,
    }
    made.path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(made.path, ranges, {'vpr_ros_int8': json.dumps(header)})
