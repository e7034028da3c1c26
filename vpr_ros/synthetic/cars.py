"""Parked cars: different in every session, on the same spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.synthetic.mesh import DETAIL, MeshBuilder
from vpr_ros.synthetic.streets import Plan

PAINTS = [
    (0.82, 0.83, 0.84), (0.16, 0.17, 0.19), (0.55, 0.57, 0.60), (0.60, 0.10, 0.10),
    (0.13, 0.22, 0.42), (0.90, 0.90, 0.88), (0.30, 0.36, 0.32), (0.72, 0.62, 0.40),
    (0.35, 0.45, 0.58),
]  # fmt: skip
GLASS = np.array([0.14, 0.16, 0.18])
TYRE = np.array([0.10, 0.10, 0.11])
REACH_M = 120.0

CarPlace = tuple[float, float, float]  # x, y in metres, heading in radians


def park_cars(plan: Plan, share: float, rng: np.random.Generator) -> list[CarPlace]:
    """Choose the spaces that are taken: a share of all."""
    cars: list[CarPlace] = []
    for street in plan.streets:
        if street.half_road_m < 4.4:
            continue
        start, end = plan.crossings_m[[street.start, street.end]]
        length = float(np.linalg.norm(end - start))
        along = (end - start) / length
        aside = np.array([-along[1], along[0]])
        for side in (-1.0, 1.0):
            for s in np.arange(16.0, length - 18.0, 6.2):
                if rng.random() >= share:
                    continue
                offset = side * (street.half_road_m - 0.95 + rng.normal(0.0, 0.07))
                x, y = start + (s + rng.uniform(-0.5, 0.5)) * along + offset * aside
                heading = (
                    np.arctan2(along[1], along[0]) + (side > 0) * np.pi + rng.normal(0, 0.015)
                )
                cars.append((float(x), float(y), float(heading)))
    return cars


# Length and width as half extents, heights from the road: body, shoulder, roof and window line.
SHAPES: dict[str, dict[str, float]] = {
    'saloon': {'long': 2.2, 'wide': 0.88, 'belt': 0.90, 'top': 1.42, 'rear': 0.8, 'front': 1.0},
    'estate': {'long': 2.15, 'wide': 0.88, 'belt': 0.92, 'top': 1.50, 'rear': 0.1, 'front': 1.0},
    'small': {'long': 1.8, 'wide': 0.82, 'belt': 0.90, 'top': 1.48, 'rear': 0.12, 'front': 0.75},
    'van': {'long': 2.5, 'wide': 0.98, 'belt': 1.20, 'top': 2.20, 'rear': 0.03, 'front': 0.55},
}


def build_car(mesh: MeshBuilder, place: CarPlace, rng: np.random.Generator) -> np.ndarray:
    """Add the polygons of a car; return its outline (4, 2) in metres."""
    shape = SHAPES[str(rng.choice(list(SHAPES), p=[0.4, 0.25, 0.27, 0.08]))]
    paint = np.array(PAINTS[rng.integers(len(PAINTS))])
    long, wide, belt, top = (shape[k] for k in ('long', 'wide', 'belt', 'top'))
    back, front = -long + shape['rear'], long - shape['front']
    turn = Turn(*place)
    under = (-long + 0.05, long - 0.05, wide - 0.06, 0.2)
    bumper = (-long, long, wide, 0.5)
    shoulder = (-long + 0.08, long - 0.15, wide - 0.06, belt - 0.04)
    sill = (back - 0.02, front, wide - 0.07, belt - 0.05)
    roof = (back + min(0.35, shape['rear'] + 0.12), front - 0.62, wide - 0.24, top)
    _frustum(mesh, turn, under, bumper, paint * 0.85, paint * 0.85, 0.06)
    _frustum(mesh, turn, bumper, shoulder, paint, paint, 0.12)
    cabin = _frustum(mesh, turn, sill, roof, paint * 0.8, paint, 0.12)
    _glaze(mesh, cabin)
    for side in (-1.0, 1.0):
        for axle in (-0.62 * long, 0.64 * long):
            _wheel(mesh, turn, axle, side, side * (wide + 0.005))
    for end, tint in ((-long - 0.005, np.array([0.6, 0.06, 0.05])), (long + 0.005, np.ones(3))):
        for middle in (-wide + 0.25, wide - 0.25):
            y = np.array([middle - 0.17, middle + 0.17]) * -np.sign(end)
            lamp = [(end, y[1], 0.52), (end, y[0], 0.52), (end, y[0], 0.66), (end, y[1], 0.66)]
            mesh.add(turn.at(lamp), 'plain', tint, reach_m=60.0, stage=DETAIL)
    corners = [(-long, -wide, 0), (long, -wide, 0), (long, wide, 0), (-long, wide, 0)]
    return turn.at(corners)[:, :2]


@dataclass(frozen=True)
class Turn:
    """Place of a car in the town."""

    x_m: float
    y_m: float
    heading_rad: float

    def at(self, points: Sequence[tuple[float, float, float]]) -> np.ndarray:
        """Points of the car (K, 3) in the town."""
        c, s = np.cos(self.heading_rad), np.sin(self.heading_rad)
        x, y, z = np.array(points, float).T
        return np.column_stack([self.x_m + c * x - s * y, self.y_m + s * x + c * y, z])


Ring = tuple[float, float, float, float]  # rear, front, half width, height


def _frustum(
    mesh: MeshBuilder,
    turn: Turn,
    low: Ring,
    high: Ring,
    sides: np.ndarray,
    lid: np.ndarray,
    gloss: float,
) -> list[np.ndarray]:
    """Add four sides and a lid between two level rectangles; return the sides."""

    def ring(r: Ring) -> np.ndarray:
        rear, front, half, z = r
        return turn.at([(rear, -half, z), (front, -half, z), (front, half, z), (rear, half, z)])

    a, b = ring(low), ring(high)
    order = [(k, (k + 1) % 4) for k in range(4)]
    quads = [np.array([a[k], a[n], b[n], b[k]]) for k, n in order]
    for quad in quads:
        mesh.add(quad, 'plain', sides, gloss=gloss, reach_m=REACH_M)
    mesh.add(b, 'plain', lid, gloss=gloss, reach_m=REACH_M)
    return quads


def _glaze(mesh: MeshBuilder, cabin: list[np.ndarray]) -> None:
    """Set windows into the sides of a cabin: two in each flank, one in front and behind."""
    flank, across = [(0.07, 0.48), (0.53, 0.92)], [(0.06, 0.94)]
    for quad, panes in zip(cabin, (flank, across, flank, across), strict=True):
        for left, right in panes:
            share = np.array([[left, 0.12], [right, 0.12], [right, 0.9], [left, 0.9]])
            low = quad[0] + share[:, :1] * (quad[1] - quad[0])
            high = quad[3] + share[:, :1] * (quad[2] - quad[3])
            pane = low + share[:, 1:] * (high - low)
            mesh.add(pane, 'plain', GLASS, gloss=0.5, reach_m=REACH_M, stage=DETAIL)


def _wheel(mesh: MeshBuilder, turn: Turn, axle_m: float, side: float, y_m: float) -> None:
    for radius, tint, out in ((0.33, TYRE, 0.0), (0.19, 4 * TYRE, 0.02)):
        angle = np.arange(8) * np.pi / 4 - 5 * np.pi / 8
        x, z = axle_m - side * radius * np.cos(angle), 0.33 + radius * np.sin(angle)
        rim = turn.at([(float(a), y_m + side * out, float(b)) for a, b in zip(x, z, strict=True)])
        mesh.add(rim, 'plain', tint, reach_m=70.0, stage=DETAIL)
