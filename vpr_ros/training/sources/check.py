"""A look at every picture before the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.training.views import ViewSet

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
        for index, problem in enumerate(pool.map(views.pictures.check, range(total))):
            if problem:
                problems.append(problem)
            progress(index + 1, total)
    warnings = [] if problems else _copies(views)
    counts = np.bincount(views.places[views.places >= 0])
    alone = int(np.count_nonzero(counts == 1))
    if alone:
        warnings.append(f'{alone} places have one view: no batch of `places` shows them')
    return Checked(tuple(problems), tuple(warnings))


def _copies(views: ViewSet) -> list[str]:
    """Files with the same bytes: two copies of an image make a place trivial."""
    sizes: dict[int, list[Path]] = {}
    for index in range(len(views)):
        path = Path(views.pictures.name(index))
        if path.is_file():
            sizes.setdefault(path.stat().st_size, []).append(path)
    found = []
    for paths in sizes.values():
        known: dict[str, Path] = {}
        for path in paths if len(paths) > 1 else ():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest in known:
                found.append(f'{path} is a copy of {known[digest]}')
            known.setdefault(digest, path)
    if len(found) > 3:
        return [*found[:3], f'{len(found) - 3} more copies of images']
    return found
