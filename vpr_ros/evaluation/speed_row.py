"""Measure a model, in this process: its memory, or its times beside what it is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from vpr_ros.bags.images import image_from_message
from vpr_ros.errors import DeviceError
from vpr_ros.evaluation.speed_record import WARM_UP, Case, Row, Samples, figures
from vpr_ros.models.engines.flops import flops
from vpr_ros.models.engines.machine import Footprint, gpu_state
from vpr_ros.models.engines.runtime import probe_image, resolve_device
from vpr_ros.models.engines.stages import (
    RANDOM,
    least_cosine,
    model_to_time,
    plain,
    product,
    product_flop,
    random_ranges,
    stages,
)
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.place_model import PlaceModel

JPEG_QUALITY = 90

Calls = dict[str, Callable[[], Any]]
Tell = Callable[[int], None]
Memory = tuple[float | None, float | None]


def weigh(case: Case, tell: Tell = lambda done: None) -> Memory:
    """The most MiB that a model takes while loading and while describing, in its first precision.

    Of a CPU only a process that has done nothing else can tell.

    Raises:
        ConfigError: the model does not run so.
        DeviceError: it fails while running, for want of memory as a rule.
    """
    with _failures_named():
        images = [decode(jpeg) for jpeg in camera_pictures(case)]
        footprint = Footprint(resolve_device(case.device))
        model = placed(case, case.precisions[0])
        load_mib = footprint.peak_mib()
        footprint.restart()
        for _ in range(WARM_UP):
            model.describe(images)
        return load_mib, footprint.peak_mib()


def measure(case: Case, tell: Tell = lambda done: None) -> list[Row]:
    """Time every step of a model, in every precision, beside what it is compared with.

    Args:
        case: what to measure.
        tell: called with the number of repeats done.

    Returns:
        A row for each precision, without its memory.

    Raises:
        ConfigError: the model does not run so.
        DeviceError: it fails while running, for want of memory as a rule.
    """
    with _failures_named():
        models = [placed(case, precision) for precision in case.precisions]
        samples = time_and_compare(case, models, tell)
    return [row(case, model, found) for model, found in zip(models, samples, strict=True)]


def placed(case: Case, precision: str) -> PlaceModel:
    """The model, ready to describe, as a robot would hold it."""
    model = model_to_time(case.model, case.size)
    if precision == 'int8' and model.fingerprint == RANDOM:
        model.network.ranges = random_ranges(model.network, model.input)
    model.place(case.device, precision)
    model.release()
    return model


def row(case: Case, model: PlaceModel, samples: Samples) -> Row:
    placement = model.placement
    return Row(
        model=case.model,
        weights=model.require_weights(),
        size=model.input.size,
        batch=case.batch,
        device=placement.device.type,
        precision=placement.precision,
        engine=placement.engine,
        reason=placement.reason,
        gpu=gpu_state(placement.device),
        figures=figures(case, samples),
    )


def time_and_compare(case: Case, models: Sequence[PlaceModel], tell: Tell) -> list[Samples]:
    """Milliseconds of every call, and how near the descriptors are to others."""
    jpegs = camera_pictures(case)
    images = [decode(jpeg) for jpeg in jpegs]
    reference, device = model_to_time(case.model, case.size).network, models[0].device
    ours = [steps(model, reference, images) for model in models]
    x = models[0].prepare(images)
    shared: Calls = {'decode': lambda: [decode(jpeg) for jpeg in jpegs]}
    if case.rival is not None:
        shared['authors'] = partial(plain(case.rival(reference), device), x)
    shared['eager'] = partial(plain(reference, device), x)
    cosines = {
        name: [least_cosine(calls['network'](), shared[name]()) for calls in ours]
        for name in ('eager', 'authors')
        if name in shared
    }
    common, *own = take_turns([shared, *ours], case.repeat, tell)
    return [
        Samples(
            ms={**common, **own[i]},
            flop=flops(reference.backbone.config, model.input.size),
            product_flop=product_flop(model.device),
            cosine=cosines['eager'][i],
            authors_cosine=cosines['authors'][i] if 'authors' in cosines else None,
        )
        for i, model in enumerate(models)
    ]


def steps(model: PlaceModel, reference: PlaceNetwork, images: Sequence[np.ndarray]) -> Calls:
    """What is timed of a model, and the product that its peak is taken from."""
    ours = stages(model, reference)
    x = ours.prepare(images)
    return {
        'describe': partial(ours.describe, images),
        'preprocess': partial(ours.prepare, images),
        'network': partial(ours.network, x),
        'backbone': partial(ours.backbone, x),
        'product': product(model.device, model.placement.precision),
    }


def take_turns(groups: Sequence[Calls], repeat: int, tell: Tell) -> list[dict[str, np.ndarray]]:
    """Milliseconds of calls in turn, (repeat,) each: what disturbs one disturbs all.

    Every other round runs backwards, so that no call always follows the same one.
    """
    ms = [{name: np.empty(WARM_UP + repeat) for name in calls} for calls in groups]
    order = [(i, name) for i, calls in enumerate(groups) for name in calls]
    for n in range(WARM_UP + repeat):
        for i, name in order if n % 2 else reversed(order):
            start = time.perf_counter()
            groups[i][name]()
            ms[i][name][n] = 1e3 * (time.perf_counter() - start)
        tell(max(0, n + 1 - WARM_UP))
    return [{name: values[WARM_UP:] for name, values in found.items()} for found in ms]


def camera_pictures(case: Case) -> list[bytes]:
    """JPEG files of the size of the camera, one for each image of the batch, all different."""
    picture = probe_image(case.camera)
    shift = case.camera[1] / case.batch
    return [encode(np.roll(picture, round(i * shift), axis=1)) for i in range(case.batch)]


def encode(rgb: np.ndarray) -> bytes:
    quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
    return cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


def decode(jpeg: bytes) -> np.ndarray:
    """As the images of a camera or a recording are decoded."""
    return image_from_message(SimpleNamespace(format='jpeg', data=jpeg))


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:  # of torch, or of a network at this size
        said = str(error).splitlines() or [type(error).__name__]
        raise DeviceError(f'it does not run here: {said[0]}') from None
