"""What is learned from: views of places, with the positions they were taken at.

Pictures are read when they are needed, so a set may be larger than memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vpr_ros.errors import DatasetError


class Pictures(Protocol):
    """N pictures that can be read in any order, from several threads at once."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a person knows the picture by: a path, or a recording and a stamp."""
        ...

    def read(self, index: int) -> np.ndarray:
        """RGB (H, W, 3), uint8, of any size.

        Raises:
            ImageError: it is damaged or has gone.
        """
        ...

    def check(self, index: int) -> str:
        """Why the picture cannot be read, as far as a look at its header tells; empty: nothing."""
        ...


@dataclass(frozen=True)
class ViewSet:
    """N views: what was seen, from where, and which place it is.

    An area has a frame of its own: positions are compared only within one, and views of different
    areas never show the same. A place is a small group of views that a source calls one (a GSV
    place, an MSLS cluster, a stretch of a drive); it lies in one area.
    """

    pictures: Pictures
    position_m: np.ndarray  # (N, 2) float64, east and north in the frame of the area
    heading_rad: np.ndarray  # (N,) float64, counter-clockwise from east; nan: unknown
    places: np.ndarray  # (N,) int64; negative: in no place
    areas: np.ndarray  # (N,) int64, position in `names`
    sessions: np.ndarray  # (N,) int64, different for each outing
    names: tuple[str, ...]  # of the areas, for logs and model cards

    def __len__(self) -> int:
        return len(self.places)

    @property
    def place_count(self) -> int:
        return len(np.unique(self.places[self.places >= 0]))


class Joined:
    """Pictures of several sources, one after the other."""

    def __init__(self, parts: list[Pictures]) -> None:
        self._parts = parts
        self._starts = np.concatenate(([0], np.cumsum([len(part) for part in parts])))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _part(self, index: int) -> tuple[Pictures, int]:
        number = int(np.searchsorted(self._starts, index, side='right')) - 1
        return self._parts[number], index - int(self._starts[number])

    def name(self, index: int) -> str:
        part, local = self._part(index)
        return part.name(local)

    def read(self, index: int) -> np.ndarray:
        part, local = self._part(index)
        return part.read(local)

    def check(self, index: int) -> str:
        part, local = self._part(index)
        return part.check(local)


class Chosen:
    """Some of the pictures of a source, in a given order."""

    def __init__(self, pictures: Pictures, rows: np.ndarray) -> None:
        self._pictures, self._rows = pictures, rows

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        return self._pictures.name(int(self._rows[index]))

    def read(self, index: int) -> np.ndarray:
        return self._pictures.read(int(self._rows[index]))

    def check(self, index: int) -> str:
        return self._pictures.check(int(self._rows[index]))


def joined(sets: list[ViewSet]) -> ViewSet:
    """All sets as one; places, areas and sessions of different sets stay different."""
    if len(sets) == 1:
        return sets[0]
    return ViewSet(
        Joined([part.pictures for part in sets]),
        np.concatenate([part.position_m for part in sets]),
        np.concatenate([part.heading_rad for part in sets]),
        _stacked([part.places for part in sets]),
        _stacked([part.areas for part in sets]),
        _stacked([part.sessions for part in sets]),
        tuple(name for part in sets for name in part.names),
    )


def chosen(views: ViewSet, rows: np.ndarray) -> ViewSet:
    """Some rows of a set, in the given order; numbers of places, areas and sessions stay."""
    return ViewSet(
        Chosen(views.pictures, rows),
        views.position_m[rows],
        views.heading_rad[rows],
        views.places[rows],
        views.areas[rows],
        views.sessions[rows],
        views.names,
    )


def require_places(views: ViewSet, least: int = 2) -> None:
    """Refuse a set in which there is nothing to tell apart.

    Raises:
        DatasetError: fewer places of at least two views than `least`.
    """
    counts = np.bincount(views.places[views.places >= 0])
    several = int((counts >= 2).sum())
    if several < least:
        raise DatasetError(
            f'{", ".join(views.names)}: {several} places are seen in two or more views, training '
            f'needs at least {least}: add a second drive of the same streets, or more images'
        )


def _stacked(numbers: list[np.ndarray]) -> np.ndarray:
    """Numberings one after the other, without meeting; negative ones become -1."""
    rows, first = [], 0
    for part in numbers:
        rows.append(np.where(part >= 0, part + first, -1).astype(np.int64))
        first += int(part.max(initial=-1)) + 1
    return np.concatenate(rows)
