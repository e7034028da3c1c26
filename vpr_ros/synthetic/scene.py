"""A town in one session: shadows, sky, cars and lamps, worked out before any picture."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from vpr_ros.synthetic.cars import build_car, park_cars
from vpr_ros.synthetic.ground import MARGIN_M, Raster
from vpr_ros.synthetic.lights import Session
from vpr_ros.synthetic.materials import MATERIAL
from vpr_ros.synthetic.mesh import DETAIL, MeshBuilder, Polygons
from vpr_ros.synthetic.seasons import SEASONS, SNOW, Season, snow_on_slopes
from vpr_ros.synthetic.sky import Sky
from vpr_ros.synthetic.town import Buildings, Town
from vpr_ros.synthetic.trees import KINDS, TreePicture, draw_tree

PIXELS_PER_M = 2.0
STEP_M = 0.7
POST = np.array([0.20, 0.22, 0.22])
LAMP_HEIGHT_M = 4.6
SUBPIXEL = 4  # binary places of a coordinate in cv2 drawing


@dataclass(frozen=True)
class Scene:
    """What `render` needs of a session; build it once and draw many pictures with it."""

    town: Town
    session: Session
    polygons: Polygons  # those of the town, then those of cars and lamps
    furniture: Buildings  # cars and lamps; `starts` counts in `polygons`
    raster: Raster
    air: np.ndarray  # (H, W, 3) float32: height of the shadow in metres, open sky, lamp light
    sky: Sky
    tree_pictures: list[TreePicture]

    @classmethod
    def build(cls, town: Town, session: Session) -> Scene:
        """Park the cars and trace the shadows of a session."""
        rng = np.random.default_rng([town.seed, 4, session.seed])
        mesh = MeshBuilder()
        starts, outlines = [], []
        cars = park_cars(town.plan, session.car_share, rng)
        for place in cars:
            starts.append(len(mesh))
            outlines.append(build_car(mesh, place, rng))
        for x, y in town.lamps_m:
            starts.append(len(mesh))
            outlines.append(_build_lamp(mesh, x, y, session.light.lamps))
        offset = len(town.polygons)
        heights = np.full(len(starts), 2.0)
        furniture = Buildings(
            np.array([*starts, len(mesh)]) + offset, np.array(outlines).reshape(-1, 4, 2), heights
        )
        raster = Raster.around(town.plan.crossings_m, MARGIN_M, PIXELS_PER_M)
        height = _heights(town, raster)
        air = [
            _shadow(height, session.sun_direction),
            _open_sky(height, raster, np.array(outlines[: len(cars)])),
            _lamp_light(town, raster),
        ]
        joined = _joined(town.polygons, mesh.polygons()) if len(mesh) else town.polygons
        season = SEASONS[session.season]
        if season.snow:
            joined = _snowed_on(joined, season.snow)
        sky = Sky.paint(session, rng)
        trees = _trees(town, season)
        return cls(town, session, joined, furniture, raster, np.dstack(air), sky, trees)


def _snowed_on(polygons: Polygons, snow: float) -> Polygons:
    share = snow_on_slopes(polygons.normal, snow).astype(np.float32)
    tint = polygons.tint + share[:, None] * (SNOW - polygons.tint)
    material = np.where(share > 0.5, np.int32(MATERIAL['plain']), polygons.material)
    return replace(polygons, tint=tint, material=material)


def _trees(town: Town, season: Season) -> list[TreePicture]:
    if season is SEASONS['summer']:
        return town.tree_pictures
    seeds = [np.random.default_rng([town.seed, 3, kind]) for kind in range(KINDS)]
    return [draw_tree(kind, rng, season) for kind, rng in enumerate(seeds)]


def _joined(first: Polygons, second: Polygons) -> Polygons:
    names = [f.name for f in fields(Polygons)]
    return Polygons(*(np.concatenate([getattr(first, n), getattr(second, n)]) for n in names))


def _build_lamp(mesh: MeshBuilder, x: float, y: float, glow: float) -> np.ndarray:
    low = np.array([x - 0.06, y - 0.06, 0.0])
    right, back = np.array([0.12, 0.0, 0.0]), np.array([0.0, 0.12, 0.0])
    mesh.box(low, right, back, LAMP_HEIGHT_M, POST, reach_m=140.0)
    head = low + [-0.12, -0.12, LAMP_HEIGHT_M]
    light = np.array([1.0, 0.92, 0.75]) if glow else np.array([0.8, 0.8, 0.78])
    mesh.box(head, 3 * right, 3 * back, 0.4, light, glow=4.0 * glow, reach_m=140.0, stage=DETAIL)
    return low[:2] + 0.12 * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


def _heights(town: Town, raster: Raster) -> np.ndarray:
    """Height of roofs and crowns (H, W) in metres; 0 on open ground."""
    height = np.zeros(raster.shape, np.float32)
    order = np.argsort(town.buildings.heights_m)
    corners = raster.pixels(town.buildings.footprints_m) * (1 << SUBPIXEL)
    for number in order:
        roof = float(town.buildings.heights_m[number])
        polygon = corners[number].round().astype(np.int32)
        cv2.fillConvexPoly(height, polygon, roof, shift=SUBPIXEL)
    for x, y, tall, _ in town.trees:
        centre = raster.pixels(np.array([x, y])).round().astype(int)
        cv2.circle(
            height, tuple(centre.tolist()), round(0.2 * tall * PIXELS_PER_M), 0.8 * tall, -1
        )
    return height


def _shadow(height: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """Height (H, W) in metres up to which each spot lies in shadow; -1: nowhere."""
    flat = float(np.linalg.norm(sun[:2]))
    shadow = np.full_like(height, -1.0)
    lost = STEP_M / flat * sun[2]
    for step in range(1, int(min(height.max() / lost, 140.0 / STEP_M)) + 1):
        dx, dy = np.round(sun[:2] / flat * step * STEP_M * PIXELS_PER_M).astype(int)
        moved = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
        seen = cv2.warpAffine(height, moved, height.shape[::-1], flags=cv2.INTER_NEAREST)
        np.maximum(shadow, seen - np.float32(step * lost), out=shadow, where=seen > step * lost)
    return cv2.GaussianBlur(shadow, (3, 3), 0)


def _open_sky(height: np.ndarray, raster: Raster, cars_m: np.ndarray) -> np.ndarray:
    """Share (H, W) of sky light that reaches the ground beside walls and below cars."""
    walls = cv2.blur((height > 1.0).astype(np.float32), (13, 13))
    parked = np.zeros_like(height)
    for outline in raster.pixels(cars_m) * (1 << SUBPIXEL) if len(cars_m) else ():
        cv2.fillConvexPoly(parked, outline.round().astype(np.int32), 1.0, shift=SUBPIXEL)
    return (1.0 - 0.45 * walls) * (1.0 - 0.75 * cv2.GaussianBlur(parked, (3, 3), 0))


def _lamp_light(town: Town, raster: Raster) -> np.ndarray:
    light = np.zeros(raster.shape, np.float32)
    pixels = raster.pixels(town.lamps_m).round().astype(int)
    light[pixels[:, 1], pixels[:, 0]] = 1.0
    wide = cv2.GaussianBlur(light, (0, 0), 5.0 * PIXELS_PER_M)
    return 2 * np.pi * (5.0 * PIXELS_PER_M) ** 2 * wide
