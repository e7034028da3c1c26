"""Houses: their style is drawn by lot, their walls, roofs and ornaments become polygons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.synthetic.mesh import BEHIND, DETAIL, UP, Facade, MeshBuilder
from vpr_ros.synthetic.tiles import EMPTY, RAILING, STRIPES, TileSet

# Wall materials with tints as displayed; brick and stone have earth tones, plaster any pastel.
WALLS: dict[str, list[tuple[float, float, float]]] = {
    'plaster': [
        (0.93, 0.88, 0.76), (0.90, 0.78, 0.58), (0.86, 0.66, 0.50), (0.80, 0.84, 0.78),
        (0.74, 0.80, 0.86), (0.92, 0.82, 0.80), (0.95, 0.93, 0.88), (0.84, 0.72, 0.62),
        (0.70, 0.75, 0.66), (0.88, 0.60, 0.46), (0.78, 0.70, 0.74), (0.93, 0.85, 0.55),
    ],
    'brick': [
        (0.66, 0.34, 0.25), (0.56, 0.30, 0.24), (0.74, 0.48, 0.32), (0.80, 0.66, 0.46),
        (0.48, 0.30, 0.27), (0.70, 0.42, 0.36),
    ],
    'stone': [(0.80, 0.75, 0.66), (0.72, 0.69, 0.64), (0.86, 0.79, 0.66), (0.64, 0.61, 0.58)],
    'panel': [(0.76, 0.76, 0.74), (0.84, 0.83, 0.80), (0.62, 0.66, 0.70), (0.70, 0.64, 0.56)],
    'planks': [(0.50, 0.36, 0.26), (0.62, 0.30, 0.26), (0.44, 0.52, 0.50), (0.86, 0.84, 0.78)],
}  # fmt: skip
ROOFS = [(0.58, 0.30, 0.22), (0.50, 0.26, 0.20), (0.36, 0.36, 0.40), (0.42, 0.30, 0.26)]
CLOTHS = [(0.62, 0.12, 0.12), (0.12, 0.36, 0.24), (0.14, 0.24, 0.48), (0.78, 0.52, 0.14)]
TRIM = (0.85, 0.83, 0.78)


@dataclass(frozen=True)
class Style:
    """What one house looks like, drawn before its place is known."""

    material: str
    wall: np.ndarray
    roof: str
    roof_tint: np.ndarray
    cloth: np.ndarray
    floors: int
    ground_m: float
    floor_m: float
    bay_m: float
    window: int
    shop: bool
    awning: bool
    cornice: bool
    balconies: str
    seed: int

    @classmethod
    def random(cls, rng: np.random.Generator, tiles: TileSet) -> Style:
        material = str(rng.choice(list(WALLS), p=[0.44, 0.28, 0.13, 0.1, 0.05]))
        tints = WALLS[material]
        wall = np.array(tints[rng.integers(len(tints))]) * rng.uniform(0.9, 1.05)
        flat = material == 'panel'
        shop = rng.random() < 0.42
        return cls(
            material=material,
            wall=wall + rng.normal(0.0, 0.015, 3),
            roof='flat'
            if flat
            else str(rng.choice(['flat', 'gable', 'mansard'], p=[0.3, 0.45, 0.25])),
            roof_tint=np.array(ROOFS[rng.integers(len(ROOFS))]) * rng.uniform(0.85, 1.1),
            cloth=np.array(CLOTHS[rng.integers(len(CLOTHS))]),
            floors=int(rng.choice([2, 3, 4, 5, 6], p=[0.2, 0.32, 0.28, 0.15, 0.05])) + flat,
            ground_m=float(rng.uniform(3.5, 4.2) if shop else rng.uniform(3.0, 3.5)),
            floor_m=float(rng.uniform(2.8, 3.5)),
            bay_m=float(rng.uniform(2.3, 3.3)),
            window=int(rng.integers(len(tiles.windows))),
            shop=bool(shop),
            awning=bool(shop and rng.random() < 0.55),
            cornice=bool(rng.random() < 0.65),
            balconies=str(
                rng.choice(['none', 'middle', 'alternate', 'row'], p=[0.62, 0.16, 0.14, 0.08])
            ),
            seed=int(rng.integers(1 << 31)),
        )


@dataclass(frozen=True)
class House:
    """A style on a footprint (4, 2): front left, front right, back right, back left."""

    style: Style
    footprint_m: np.ndarray

    @property
    def wall_height_m(self) -> float:
        return self.style.ground_m + (self.style.floors - 1) * self.style.floor_m + 0.5

    @property
    def roof_height_m(self) -> float:
        depth = float(np.linalg.norm(self.footprint_m[3] - self.footprint_m[0]))
        return {'flat': 0.0, 'gable': 0.36 * depth, 'mansard': 2.5}[self.style.roof]


def facade_of(style: Style, width_m: float, tiles: TileSet, front: bool) -> Facade:
    """Put windows, doors and shops into the bays of a wall."""
    rng = np.random.default_rng([style.seed, int(front)])
    bays = max(1, round((width_m - 0.3) / style.bay_m))
    cells = rng.choice(tiles.windows[style.window], (style.floors, bays))
    if front:
        for bay in balcony_bays(style, bays):
            cells[1:, bay] = tiles.french[style.window][0]
        door = int(rng.integers(bays))
        cells[0, door] = tiles.doors[rng.integers(len(tiles.doors))]
        if style.shop:
            shop = tiles.shops[rng.integers(len(tiles.shops))]
            for start in range(0, bays - 1, 2):
                if door not in (start, start + 1) or bays < 4:
                    cells[0, start : start + 2] = shop
        elif bays > 3 and rng.random() < 0.3:
            cells[0, 0 if door > 1 else bays - 1] = tiles.garages[rng.integers(len(tiles.garages))]
    elif rng.random() < 0.5:
        cells[0] = EMPTY
    return Facade(cells, width_m / bays, style.ground_m, style.floor_m)


def balcony_bays(style: Style, bays: int) -> list[int]:
    """Bays of a front that carry balconies."""
    table = {
        'none': [],
        'middle': [bays // 2],
        'alternate': list(range(0, bays, 2)),
        'row': list(range(bays)),
    }
    return table[style.balconies]


def build_house(mesh: MeshBuilder, house: House, tiles: TileSet) -> None:
    """Add all polygons of a house."""
    style = house.style
    corners = [np.append(corner, 0.0) for corner in house.footprint_m]
    eaves = house.wall_height_m * UP
    blank = style.wall * 0.92 if style.material != 'plaster' else style.wall * 0.85
    _roof(mesh, house, corners, tiles)
    for side in range(4):
        a, b = corners[side], corners[(side + 1) % 4]
        width = float(np.linalg.norm(b - a))
        if side in (0, 2):
            facade = facade_of(style, width, tiles, side == 0)
            wall = np.array([a, b, b + eaves, a + eaves])
            mesh.add(wall, style.material, style.wall, facade)
        else:
            material = 'brick' if style.seed % 3 == 0 else style.material
            mesh.add(_profile(house, a, b), material, blank)
    front = corners[1] - corners[0]
    width = float(np.linalg.norm(front))
    along = front / width
    outwards = np.array([along[1], -along[0], 0.0])
    _ornaments(mesh, style, corners[0], along, outwards, width, house.wall_height_m)


def _profile(house: House, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A side wall from `a` to `b` up to the roof."""
    eaves, top = house.wall_height_m * UP, house.roof_height_m * UP
    if house.style.roof == 'gable':
        return np.array([a, b, b + eaves, (a + b) / 2 + eaves + top, a + eaves])
    if house.style.roof == 'mansard':
        step = 1.3 * (b - a) / np.linalg.norm(b - a)
        return np.array(
            [a, b, b + eaves, b - step + eaves + top, a + step + eaves + top, a + eaves]
        )
    return np.array([a, b, b + eaves, a + eaves])


def _roof(mesh: MeshBuilder, house: House, corners: list[np.ndarray], tiles: TileSet) -> None:
    style, eaves, top = house.style, house.wall_height_m * UP, house.roof_height_m * UP
    if style.roof == 'flat':
        return
    for k in (0, 2):
        left, right = corners[k], corners[k + 1]
        far_right, far_left = corners[(k + 2) % 4], corners[(k + 3) % 4]
        share = 0.5
        facade = None
        if style.roof == 'mansard':
            share = 1.3 / float(np.linalg.norm(far_left - left))
            width = float(np.linalg.norm(right - left))
            bays = max(1, round(width / style.bay_m))
            dormers = np.full((1, bays), EMPTY)
            dormers[0, style.seed % 2 :: 2] = tiles.windows[style.window][0]
            facade = Facade(dormers, width / bays, 2.7, 2.7)
        upper_left = left + share * (far_left - left) + eaves + top
        upper_right = right + share * (far_right - right) + eaves + top
        slope = np.array([left + eaves, right + eaves, upper_right, upper_left])
        mesh.add(slope, 'tiles', style.roof_tint, facade)
    ridge = (corners[0] + corners[3]) / 2, (corners[1] + corners[2]) / 2
    along = (ridge[1] - ridge[0]) / np.linalg.norm(ridge[1] - ridge[0])
    across = np.array([-along[1], along[0], 0.0])
    for share in (0.12, 0.8) if style.seed % 2 else (0.2,):
        foot = ridge[0] + share * (ridge[1] - ridge[0]) + eaves + 0.7 * top
        tint = np.array(WALLS['brick'][style.seed % 6])
        mesh.box(
            foot, 0.9 * along, 0.6 * across, 0.3 * top[2] + 1.3, tint, reach_m=150.0, stage=BEHIND
        )


def _ornaments(
    mesh: MeshBuilder,
    style: Style,
    corner: np.ndarray,
    along: np.ndarray,
    outwards: np.ndarray,
    width_m: float,
    height_m: float,
) -> None:
    """Cornice, balconies and awnings of a front that starts at `corner`."""
    trim = np.array(TRIM) * (0.75 + 0.25 * (style.seed % 5) / 4)
    if style.cornice:
        low = corner + (height_m - 0.35) * UP + 0.35 * outwards
        mesh.box(low, width_m * along, -0.35 * outwards, 0.4, trim, reach_m=110.0, stage=DETAIL)
    bays = max(1, round((width_m - 0.3) / style.bay_m))
    bay = width_m / bays
    solid = style.material == 'panel'
    panel = style.cloth * 0.5 + 0.2 if solid else style.wall * 0.72
    bars = None if solid else Facade(np.array([[RAILING]]), 0.8 * bay, 1.0, 1.0)
    for number in balcony_bays(style, bays):
        for floor in range(1, style.floors):
            foot = style.ground_m + (floor - 1) * style.floor_m
            low = corner + (number + 0.1) * bay * along + 0.95 * outwards + (foot - 0.12) * UP
            across = -0.95 * outwards
            mesh.box(low, 0.8 * bay * along, across, 1.0, panel, bars, reach_m=90.0, stage=DETAIL)
    if style.awning and width_m > 5.0:
        top = corner + 0.3 * along + 3.05 * UP
        left, right = top, top + (width_m - 0.6) * along
        drop = 1.25 * outwards - 0.5 * UP
        cloth = np.array([left + drop, right + drop, right, left])
        stripes = Facade(np.full((1, max(2, round(width_m / 0.8))), STRIPES), 0.8, 9.0, 9.0)
        mesh.add(cloth, 'plain', style.cloth, stripes, reach_m=100.0, stage=DETAIL)
        under = np.array([right + drop, left + drop, left, right])
        mesh.add(under, 'plain', style.cloth * 0.6, reach_m=60.0, stage=DETAIL)
