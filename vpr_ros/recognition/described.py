"""A query as the stages after the model see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vpr_ros.records import Candidate, LocalFeatures, Pose


@dataclass(frozen=True)
class Described:
    """What one camera saw: `descriptor` (D,), float32, unit length.

    `image` is RGB uint8 (H, W, 3); `depth` (H, W) float32 in metres, aligned with it. A `repeated`
    image is the same as the one before.
    """

    descriptor: np.ndarray
    local: LocalFeatures | None = None
    image: np.ndarray | None = None
    depth: np.ndarray | None = None
    camera: str = ''
    repeated: bool = False


@dataclass(frozen=True)
class Query:
    """One moment: what the cameras saw, and where the robot was, as far as it knows."""

    views: tuple[Described, ...]
    stamp_ns: int
    pose: Pose | None = None

    @property
    def repeated(self) -> bool:
        """Whether all cameras show what they showed before."""
        return all(view.repeated for view in self.views)


def by_view(
    query: Query, candidates: list[Candidate]
) -> Iterator[tuple[Described, list[Candidate]]]:
    """Each view of a query with the candidates that it found."""
    for view in query.views:
        some = [c for c in candidates if c.seen_by == view.camera]
        if some:
            yield view, some
