"""Lessons: groups of views, what the teachers find of them, and the student's frozen trunk.

All are asked once and kept as files of CHUNK views, so that a step of the training costs no more
than the layers that learn. A training may begin while lessons are still written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from tools.distil.groups import KINDS, VIEWS, Groups
from tools.distil.teachers import Describe
from vpr_ros.image import to_batch
from vpr_ros.models import PlaceModel
from vpr_ros.models.networks.dinov2 import Stream
from vpr_ros.models.networks.sage import Sage

CHUNK = 384
FROZEN = 4  # blocks
HELD_OUT = 'held_out'


class Lessons(NamedTuple):
    """N views: streams (N, T, C) behind the trunk, unit rows (N, D) of all teachers, float16.

    `kinds` (N / 4,), int8, of the groups: indices into KINDS.
    """

    streams: np.ndarray
    wanted: np.ndarray
    kinds: np.ndarray


def write_lessons(
    folder: Path,
    names: Sequence[str],
    groups: Groups,
    seed: int,
    student: PlaceModel,
    teachers: Sequence[Describe],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the chunks of these names, each of other groups; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    wide = CHUNK // VIEWS
    for number, name in enumerate(names):
        path = folder / f'{name}.npz'
        if not path.exists():
            numbers = range(number * wide, (number + 1) * wide)
            with ThreadPoolExecutor(1) as pool:
                drawn = pool.map(lambda n: groups.draw(n, seed), numbers)
                found = [_ask(views, student, teachers) for views in drawn]
            streams, wanted = (np.concatenate(part) for part in zip(*found, strict=True))
            kinds = np.array([KINDS.index(groups.kind(n)) for n in numbers], np.int8)
            _save(path, Lessons(streams, wanted, kinds))
        progress(number + 1, len(names))


def _ask(
    views: np.ndarray, student: PlaceModel, teachers: Sequence[Describe]
) -> tuple[np.ndarray, np.ndarray]:
    rows = [describe(list(views)) for describe in teachers]
    wanted = np.concatenate(rows, axis=1) / np.sqrt(len(rows))
    network = student.network
    assert isinstance(network, Sage)
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        stream = trunk(network, to_batch(list(views), student.input))
    return stream.x.half().numpy(), wanted.astype(np.float16)


def trunk(network: Sage, images: torch.Tensor) -> Stream:
    """The first FROZEN blocks, with the power normalisation behind the last of them."""
    stream = network.backbone.begin(images, FROZEN)
    adapted = FROZEN - 1 - network.first_adapted
    return stream._replace(x=network.gpn_norms[adapted](stream.x) if adapted >= 0 else stream.x)


def read_lessons(path: Path) -> Lessons:
    with np.load(path, allow_pickle=False) as file:
        return Lessons(*(file[name] for name in Lessons._fields))


def _save(path: Path, lessons: Lessons) -> None:
    half = path.with_suffix('.tmp')
    with half.open('wb') as file:
        np.savez(file, **lessons._asdict())
    os.replace(half, path)
