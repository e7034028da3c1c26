"""Divide the edges of blocks into lots and build on them; plant trees and lamps along streets."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vpr_ros.synthetic.buildings import House, Style, build_house
from vpr_ros.synthetic.mesh import UP, MeshBuilder
from vpr_ros.synthetic.streets import Block, Plan, inset
from vpr_ros.synthetic.tiles import TileSet

DEPTH_M = 10.5
CORNER_SEED, FRONTAGE_SEED = 1, 2


@dataclass
class Built:
    """What stands in the town: polygons of buildings, and things that are drawn as pictures."""

    mesh: MeshBuilder = field(default_factory=MeshBuilder)
    starts: list[int] = field(default_factory=list)  # first polygon of each building
    footprints_m: list[np.ndarray] = field(default_factory=list)  # (4, 2) each
    heights_m: list[float] = field(default_factory=list)
    trees: list[tuple[float, float, float, int]] = field(
        default_factory=list
    )  # x, y, height, kind
    lamps: list[tuple[float, float]] = field(default_factory=list)

    def begin(self, footprint_m: np.ndarray, height_m: float) -> None:
        """Start the polygons of a new building."""
        self.starts.append(len(self.mesh))
        self.footprints_m.append(footprint_m)
        self.heights_m.append(height_m)


@dataclass(frozen=True)
class Frontage:
    """One edge of a block: facade line, the line behind the houses, corners of either."""

    outer: np.ndarray  # (2, 2)
    inner: np.ndarray  # (2, 2)

    @property
    def length_m(self) -> float:
        return float(np.linalg.norm(self.outer[1] - self.outer[0]))

    @property
    def along(self) -> np.ndarray:
        return (self.outer[1] - self.outer[0]) / self.length_m

    @property
    def inwards(self) -> np.ndarray:
        return np.array([-self.along[1], self.along[0]])

    def footprint(self, start_m: float, end_m: float) -> np.ndarray:
        """Footprint (4, 2) of a lot; the first and the last one reach into the corner."""
        depth = float((self.inner[0] - self.outer[0]) @ self.inwards)
        near = [self.outer[0] + s * self.along for s in (start_m, end_m)]
        far = [point + depth * self.inwards for point in near]
        if start_m <= 0.0:
            far[0] = self.inner[0]
        if end_m >= self.length_m:
            far[1] = self.inner[1]
        return np.array([near[0], near[1], far[1], far[0]])


def lot_edges(frontage: Frontage, rng: np.random.Generator) -> np.ndarray:
    """Distances along a frontage at which one lot ends and the next begins."""
    reach = [abs(float((frontage.inner[k] - frontage.outer[k]) @ frontage.along)) for k in (0, 1)]
    first = max(reach[0] + 1.5, rng.uniform(9.0, 14.0))
    last = frontage.length_m - max(reach[1] + 1.5, rng.uniform(9.0, 14.0))
    widths = rng.choice(
        [4.0, 7.0, 9.0, 11.0, 14.0, 18.0], 40, p=[0.12, 0.22, 0.26, 0.2, 0.13, 0.07]
    )
    if last - first < 5.0:
        middle = frontage.length_m * reach[0] / max(sum(reach), 1.0)
        return np.array([0.0, middle, frontage.length_m])
    edges = first + np.concatenate([[0.0], np.cumsum(widths + rng.uniform(-1.0, 1.0, 40))])
    return np.concatenate([[0.0], edges[edges < last - 4.0], [last, frontage.length_m]])


def build_block(built: Built, plan: Plan, number: int, seed: int, tiles: TileSet) -> None:
    """Build all houses around one block; blocks of one template get the same sequence."""
    block = plan.blocks[number]
    name = 1000 + number if block.template is None else block.template
    outline = plan.outline(block)
    if block.park:
        _plant_park(built, outline, np.random.default_rng([seed, name, FRONTAGE_SEED]))
        return
    depth = DEPTH_M if len(outline) > 3 else 8.0
    behind = inset(outline, np.full(len(outline), depth))
    sides = len(outline)
    corners = [
        Style.random(np.random.default_rng([seed, name, CORNER_SEED, k]), tiles)
        for k in range(sides)
    ]
    for k in range(sides):
        rng = np.random.default_rng([seed, name, FRONTAGE_SEED, k])
        pair = [k, (k + 1) % sides]
        frontage = Frontage(outline[pair], behind[pair])
        edges = lot_edges(frontage, rng)
        for lot, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            style = Style.random(rng, tiles)
            first, last = lot == 0, lot == len(edges) - 2
            gap = not (first or last) and (end - start < 5.5 or rng.random() < 0.05)
            if not block.ring:
                style = corners[pair[0]] if first else corners[pair[1]] if last else style
            footprint = frontage.footprint(float(start), float(end))
            if gap:
                _fence(built, footprint, style, rng)
            else:
                house = House(style, footprint)
                built.begin(footprint, house.wall_height_m + house.roof_height_m)
                build_house(built.mesh, house, tiles)


def _fence(built: Built, footprint: np.ndarray, style: Style, rng: np.random.Generator) -> None:
    """Leave a lot open, perhaps behind a garden wall, perhaps with a tree."""
    if rng.random() < 0.6:
        a, b, c, d = (np.append(corner, 0.0) for corner in footprint)
        back = 0.03 * (d - a)
        height = rng.uniform(1.2, 2.3)
        built.begin(np.array([a, b, b + back, a + back])[:, :2], height)
        wall = np.array([a, b, b + height * UP, a + height * UP])
        built.mesh.add(wall, style.material, style.wall)
        built.mesh.add(wall[[1, 0, 3, 2]] + back, style.material, style.wall)
    middle = footprint.mean(axis=0)
    built.trees.append((*middle, float(rng.uniform(5.0, 9.0)), int(rng.integers(4))))


def _plant_park(built: Built, outline: np.ndarray, rng: np.random.Generator) -> None:
    low, high = outline.min(axis=0), outline.max(axis=0)
    inwards = inset(outline, np.full(len(outline), 2.5))
    along = np.roll(inwards, -1, axis=0) - inwards
    for x, y in rng.uniform(low, high, (int(np.prod(high - low) / 45.0), 2)):
        aside = along[:, 0] * (y - inwards[:, 1]) - along[:, 1] * (x - inwards[:, 0])
        if (aside > 0).all():
            height = float(rng.uniform(5.0, 11.0))
            built.trees.append((float(x), float(y), height, int(rng.integers(4))))


def furnish_streets(built: Built, plan: Plan, seed: int) -> None:
    """Put lamps along every street and trees along some, alike beside look-alike blocks."""
    for number, street in enumerate(plan.streets):
        beside = [b for b in plan.blocks if number in b.streets]
        templates = {b.template for b in beside}
        alike = len(beside) == 2 and len(templates) == 1 and None not in templates
        rng = np.random.default_rng([seed, 77, 0 if alike else 1000 + number])
        start, end = plan.crossings_m[[street.start, street.end]]
        length = float(np.linalg.norm(end - start))
        along = (end - start) / length
        aside = np.array([-along[1], along[0]])
        kerb = street.half_road_m + 0.55
        spacing = rng.uniform(18.0, 26.0)
        planted = street.half_road_m > 6.0 or rng.random() < 0.3
        kind = int(rng.integers(4))
        step = rng.uniform(8.0, 12.0)
        margin = 13.0
        for k, s in enumerate(np.arange(margin, length - margin, spacing)):
            x, y = start + s * along + (kerb if k % 2 else -kerb) * aside
            built.lamps.append((float(x), float(y)))
        for s in np.arange(margin + 4.0, length - margin, step) if planted else ():
            for side in (-1.0, 1.0):
                x, y = start + (s + rng.normal(0.0, 0.3)) * along + side * (kerb + 0.4) * aside
                built.trees.append((float(x), float(y), float(rng.uniform(4.6, 6.6)), kind))


def blocks_alike(blocks: list[Block]) -> list[list[int]]:
    """Groups of blocks that share their sequence of facades."""
    groups: dict[int, list[int]] = {}
    for number, block in enumerate(blocks):
        if block.template is not None:
            groups.setdefault(block.template, []).append(number)
    return list(groups.values())
