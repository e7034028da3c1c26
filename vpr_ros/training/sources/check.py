"""A look at every picture before the first step."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from vpr_ros.config import TrainConfig
from vpr_ros.training.sampling import alone
from vpr_ros.training.views import ViewSet

AT_ONCE = 4096  # looks in flight: a million futures would fill memory
TAIL_BYTES = 4096  # of a file; a JPEG's beginning is the same in all images of a camera
NAMED = 3  # of many copies

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checked:
    """A sentence for each picture that cannot be used, and for what a person should know."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def check_pictures(views: ViewSet, progress: Progress = lambda done, total: None) -> Checked:
    """Look at the header of every picture, and for copies of one file."""
    problems, total = [], len(views)
    with ThreadPoolExecutor() as pool:
        looks = _mapped(pool, views.pictures.check, range(total))
        for index, problem in enumerate(looks):
            if problem:
                problems.append(problem)
            progress(index + 1, total)
        warnings = () if problems else _copies(pool, views)
    return Checked(tuple(problems), tuple(warnings))


def single_views(views: ViewSet, config: TrainConfig) -> tuple[str, ...]:
    """What becomes of places with one view and of photographs, where a person might not expect it.

    Args:
        views: the set.
        config: whose sampler they are for.
    """
    sizes = np.bincount(views.places[views.places >= 0])
    single, photographs = int(np.count_nonzero(sizes == 1)), len(alone(views))
    count, found = config.views_per_place, []
    if config.sampler.kind == 'places':
        if single > photographs and count > 1:
            found.append(f'{single - photographs} places have one view: it is shown {count} times')
        return tuple(found)
    if single > photographs:
        found.append(
            f'{single - photographs} places have one view: the sampler {config.sampler.kind} '
            'shows it only beside views of other places within the radius'
        )
    if photographs and not config.single_image_share:
        found.append(
            f'{photographs} photographs of no known position are in no batch of the sampler '
            f'{config.sampler.kind}: set single_image_share above 0, or leave them out'
        )
    return tuple(found)


def _mapped(pool: ThreadPoolExecutor, work: Callable, items: Iterable) -> Iterator[Any]:
    """Results in order, with at most AT_ONCE items in flight."""
    rest = iter(items)
    while batch := list(islice(rest, AT_ONCE)):
        yield from pool.map(work, batch)


def _copies(pool: ThreadPoolExecutor, views: ViewSet) -> list[str]:
    """Files with the same bytes: two copies of an image make a place trivial.

    Files are compared by size, those left by their last bytes, and only then by all of them:
    in a large set nearly every file has the size of another.
    """
    groups = [[views.pictures.name(index) for index in range(len(views))]]
    for look in (_size, _tail, _whole):
        groups = _alike(pool, groups, look)
    found = [_sentence(path, group[0]) for group in groups for path in group[1:]]
    if len(found) > NAMED:
        return [*found[:NAMED], f'{len(found) - NAMED} more copies of images']
    return found


def _alike(
    pool: ThreadPoolExecutor, groups: Sequence[list[str]], look: Callable[[str], Hashable]
) -> list[list[str]]:
    """Split groups by what a look at each file says; None and files that stay alone leave."""
    seen = _mapped(pool, look, (name for group in groups for name in group))
    split = []
    for group in groups:
        parts = defaultdict(list)
        for name in group:
            parts[next(seen)].append(name)
        parts.pop(None, None)
        split += [part for part in parts.values() if len(part) > 1]
    return split


def _sentence(path: str, first: str) -> str:
    return f'{path} is listed twice' if path == first else f'{path} is a copy of {first}'


def _size(name: str) -> int | None:
    return os.path.getsize(name) if os.path.isfile(name) else None


def _tail(name: str) -> bytes | None:
    try:
        with open(name, 'rb') as file:
            file.seek(max(0, os.path.getsize(name) - TAIL_BYTES))
            return hashlib.sha256(file.read()).digest()
    except OSError:  # gone since; the loader will name it
        return None


def _whole(name: str) -> bytes | None:
    digest = hashlib.sha256()
    try:
        with open(name, 'rb') as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError:
        return None
    return digest.digest()
