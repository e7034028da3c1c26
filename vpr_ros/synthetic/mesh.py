"""Flat polygons with a surface, collected one by one and then held as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpr_ros.synthetic.materials import MATERIAL
from vpr_ros.synthetic.tiles import EMPTY

MAX_CORNERS = 8
UP = np.array([0.0, 0.0, 1.0])

# What is drawn first within one building; details are sorted by distance.
BEHIND, BODY, DETAIL = range(3)


@dataclass(frozen=True)
class Facade:
    """Cells of a wall: `tiles` (floors, bays), the lowest floor first."""

    tiles: np.ndarray
    bay_m: float
    ground_m: float
    floor_m: float


@dataclass(frozen=True)
class Facades:
    """All facades; the cells of facade f start at `offset[f]`, row by row."""

    bays: np.ndarray
    floors: np.ndarray
    bay_m: np.ndarray
    ground_m: np.ndarray
    floor_m: np.ndarray
    offset: np.ndarray
    tiles: np.ndarray

    @classmethod
    def of(cls, facades: list[Facade]) -> Facades:
        facades = facades or [Facade(np.array([[EMPTY]]), 1.0, 1.0, 1.0)]
        sizes = np.array([f.tiles.shape for f in facades])
        cells = sizes.prod(axis=1)
        real = np.array([[f.bay_m, f.ground_m, f.floor_m] for f in facades], np.float32)
        flat = np.concatenate([f.tiles.ravel() for f in facades]).astype(np.int32)
        floors, bays = sizes.T.astype(np.int32)
        offset = (np.cumsum(cells) - cells).astype(np.int32)
        return cls(bays, floors, real[:, 0], real[:, 1], real[:, 2], offset, flat)


@dataclass(frozen=True)
class Polygons:
    """P polygons; corners repeat the last one up to `MAX_CORNERS`."""

    corners_m: np.ndarray  # (P, MAX_CORNERS, 3) float64
    u_axis: np.ndarray  # (P, 3), to the right seen from the front
    v_axis: np.ndarray  # (P, 3), up
    normal: np.ndarray  # (P, 3)
    tint: np.ndarray  # (P, 3) float32, linear light
    material: np.ndarray  # (P,) int32
    facade: np.ndarray  # (P,) int32, -1: no cells
    gloss: np.ndarray  # (P,) float32, share of the sky mirrored
    glow: np.ndarray  # (P,) float32, light of its own after dark
    reach_m: np.ndarray  # (P,) float32, not drawn beyond
    stage: np.ndarray  # (P,) int32

    def __len__(self) -> int:
        return len(self.material)


@dataclass
class MeshBuilder:
    """Collects polygons and facades."""

    corners: list[list[np.ndarray]] = field(default_factory=list)
    surface: list[tuple[float, ...]] = field(default_factory=list)
    facades: list[Facade] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.corners)

    def add(
        self,
        corners_m: np.ndarray,
        material: str,
        tint: np.ndarray,
        facade: Facade | None = None,
        gloss: float = 0.0,
        glow: float = 0.0,
        reach_m: float = 1e9,
        stage: int = BODY,
    ) -> None:
        """Add a polygon, its corners counter-clockwise from the lower left seen in front.

        `tint` is a colour as displayed, in [0, 1].
        """
        filled = list(corners_m)
        filled += filled[-1:] * (MAX_CORNERS - len(filled))
        self.corners.append(filled)
        number = -1
        if facade is not None:
            number = len(self.facades)
            self.facades.append(facade)
        self.surface.append((*tint, MATERIAL[material], number, gloss, glow, reach_m, stage))

    def box(
        self,
        low: np.ndarray,
        along: np.ndarray,
        across: np.ndarray,
        height_m: float,
        tint: np.ndarray,
        facade: Facade | None = None,
        **surface: Any,
    ) -> None:
        """Add the four sides and the underside of an upright box on corner `low` (3,)."""
        base = [low, low + along, low + along + across, low + across]
        top = height_m * UP
        for a, b in zip(base, base[1:] + base[:1], strict=True):
            self.add(np.array([a, b, b + top, a + top]), 'plain', tint, facade, **surface)
        if low[2] > 1.6:  # seen from below only
            self.add(np.array(base[::-1]), 'plain', 0.7 * tint, **surface)

    def polygons(self) -> Polygons:
        """Everything added so far, as arrays."""
        corners = np.array(self.corners)
        u_axis = _unit(corners[:, 1] - corners[:, 0])
        normal = _unit(np.cross(u_axis, corners[:, -1] - corners[:, 0]))
        surface = np.array(self.surface, np.float32)
        whole = surface.astype(np.int32)
        return Polygons(
            corners_m=corners,
            u_axis=u_axis,
            v_axis=np.cross(normal, u_axis),
            normal=normal,
            tint=np.square(np.clip(surface[:, :3], 0.0, 1.0)),
            material=whole[:, 3],
            facade=whole[:, 4],
            gloss=surface[:, 5],
            glow=surface[:, 6],
            reach_m=surface[:, 7],
            stage=whole[:, 8],
        )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
