"""The light that reaches the camera from each point seen: surface, sun, shadow, glass, haze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.synthetic.camera import Eye
from vpr_ros.synthetic.materials import MATERIAL, REPEAT_M
from vpr_ros.synthetic.scene import Scene
from vpr_ros.synthetic.seasons import SEASONS
from vpr_ros.synthetic.tiles import EMPTY
from vpr_ros.synthetic.visibility import Seen

HORIZON = 1.0 / 900.0  # an inverse depth below this is sky
GLARE = np.array([1.0, 0.78, 0.48], np.float32)  # of lamps and lit windows
HEADLIGHT = np.array([1.0, 0.97, 0.88], np.float32)


@dataclass
class Points:
    """Points seen through N places of the image."""

    number: np.ndarray  # (N,) into `Seen.planes`
    ray: np.ndarray  # (N, 3) of unit depth
    u: np.ndarray
    v: np.ndarray
    w: np.ndarray  # inverse depth
    du: np.ndarray  # extent of a pixel in metres along u
    dv: np.ndarray


def trace(seen: Seen, eye: Eye, number: np.ndarray, x: np.ndarray, y: np.ndarray) -> Points:
    """Meet the polygons at pixel coordinates (N,)."""
    planes = np.ascontiguousarray(seen.planes.reshape(-1, 9).T).take(number, axis=1)
    w = planes[6] * x + planes[7] * y + planes[8]
    sky = (number == 0) & (w < HORIZON)
    np.maximum(w, np.float32(1e-4), out=w)
    inverse = 1.0 / w
    u = (planes[0] * x + planes[1] * y + planes[2]) * inverse
    v = (planes[3] * x + planes[4] * y + planes[5]) * inverse
    du = _extent(planes[0] - u * planes[6], planes[1] - u * planes[7]) * inverse
    dv = _extent(planes[3] - v * planes[6], planes[4] - v * planes[7]) * inverse
    w[sky] = 0.0
    ray = eye.rays().astype(np.float32)
    rays = x[:, None] * ray[:, 0] + (y[:, None] * ray[:, 1] + ray[:, 2])
    return Points(number, rays, u, v, w, du, dv)


def _extent(by_x: np.ndarray, by_y: np.ndarray) -> np.ndarray:
    return np.abs(by_x) + np.abs(by_y)


def shade(scene: Scene, seen: Seen, eye: Eye, points: Points) -> np.ndarray:
    """Linear light (N, 3) float32 that reaches the camera."""
    light = np.empty((len(points.w), 3), np.float32)
    sky = points.w == 0.0
    light[sky] = scene.sky.look(points.ray[sky])
    solid = np.flatnonzero(~sky)
    p = Points(*(getattr(points, n)[solid] for n in Points.__dataclass_fields__))
    depth = 1.0 / p.w
    position = eye.position_m.astype(np.float32) + p.ray * depth[:, None]
    surface = _surfaces(scene, seen, p)
    colour = _lit(scene, seen, p, position, surface)
    if scene.session.light.headlights:
        colour += surface.albedo * _headlights(scene.session.light.headlights, eye, p)
    colour += _mirrored(scene, seen, p, surface)
    length = depth * np.sqrt(np.einsum('ij,ij->i', p.ray, p.ray))
    air = (1.0 - np.exp(length * np.float32(-1.0 / scene.session.light.haze_m)))[:, None]
    horizon = np.array(scene.session.light.horizon, np.float32) * np.float32(0.95)
    light[solid] = colour + air * (horizon - colour)
    return light


@dataclass
class Surfaces:
    """What is there at N points, whatever the light."""

    albedo: np.ndarray  # (N, 3)
    gloss: np.ndarray  # (N,) share of sky light mirrored
    glow: np.ndarray  # (N,) own light


def _surfaces(scene: Scene, seen: Seen, p: Points) -> Surfaces:
    polygons, town = scene.polygons, scene.town
    index = np.concatenate([[0], seen.polygons])
    tint = polygons.tint[index][p.number]
    material = polygons.material[index][p.number]
    gloss, glow = polygons.gloss[index][p.number], polygons.glow[index][p.number]
    below = np.flatnonzero(p.number == 0)
    extent = np.sqrt(p.du[below] * p.dv[below])
    tint[below], material[below], road = town.ground.surface(
        p.u[below], p.v[below], extent, SEASONS[scene.session.season]
    )
    glow[below] = 0.0
    gloss[below] = road * np.float32(scene.session.light.wetness * 0.8)
    texture = _material(scene, p, material)
    albedo = tint * (texture * texture)[:, None]
    facade = np.where(p.number > 0, polygons.facade[index][p.number], -1)
    walls = np.flatnonzero(facade >= 0)
    _cells(scene, p, walls, facade[walls], Surfaces(albedo, gloss, glow))
    return Surfaces(albedo, gloss, glow)


def _material(scene: Scene, p: Points, material: np.ndarray) -> np.ndarray:
    """Texture (N,) of a material, with broad stains over its repetition."""
    maps, scale = scene.town.materials, np.float32(1.0 / REPEAT_M)
    u, v = p.u * scale, -p.v * scale
    du, dv = p.du * scale, p.dv * scale
    near = maps.coordinates(material, u - np.floor(u), v - np.floor(v), du, dv)
    u, v = u * np.float32(0.13), v * np.float32(0.13)
    stains = np.full_like(material, MATERIAL['stains'])
    broad = maps.coordinates(stains, u - np.floor(u), v - np.floor(v), du * 0.13, dv * 0.13)
    both = scene.town.materials.sample(np.concatenate([near, broad], axis=1))
    fine, coarse = both[: len(u)], both[len(u) :]
    return fine.astype(np.float32) * coarse * np.float32(1.0 / 255.0 / 232.0)


def _cells(scene: Scene, p: Points, walls: np.ndarray, facade: np.ndarray, s: Surfaces) -> None:
    """Lay windows, doors and shops over the walls."""
    f = scene.town.facades
    u, v = p.u[walls], p.v[walls]
    ground, floor, bay = f.ground_m[facade], f.floor_m[facade], f.bay_m[facade]
    column, row = u / bay, np.where(v < ground, v / ground, 1.0 + (v - ground) / floor)
    tall = np.where(v < ground, ground, floor)
    i = np.clip(column.astype(np.int32), 0, f.bays[facade] - 1)
    j = np.clip(row.astype(np.int32), 0, f.floors[facade] - 1)
    inside = (row < f.floors[facade]) & (column < f.bays[facade])
    number = f.offset[facade] + j * f.bays[facade] + i
    tile = np.where(inside, f.tiles[number], EMPTY)
    some = np.flatnonzero(tile != EMPTY)
    walls, tile, number = walls[some], tile[some], number[some]
    place = scene.town.cells.coordinates(
        tile,
        column[some] - i[some],
        1.0 - (row[some] - j[some]),
        p.du[walls] / bay[some],
        p.dv[walls] / tall[some],
    )
    texel = scene.town.cells.sample(np.stack(place)).astype(np.float32) * np.float32(1 / 255)
    glass = scene.town.glass.sample(np.stack(place)).astype(np.float32) * np.float32(1 / 255)
    cover = texel[:, 3:]
    paint = np.square(texel[:, :3])
    s.albedo[walls] += cover * (paint - s.albedo[walls])
    s.gloss[walls] = glass * np.float32(0.35)
    lamp = _lottery(number, scene.session.seed)
    share = np.float32(scene.session.light.lit_windows)
    lit = (lamp < share) * (np.float32(0.3) + np.float32(0.5) * lamp / max(share, 1e-3))
    s.glow[walls] = glass * lit * (np.float32(0.5) + paint[:, 1])


def _lottery(number: np.ndarray, seed: int) -> np.ndarray:
    """A fixed number in [0, 1) for each integer."""
    mixed = (number.astype(np.uint32) + np.uint32(seed & 0xFFFF)) * np.uint32(2654435761)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(2246822519)
    return (mixed >> np.uint32(8)).astype(np.float32) * np.float32(1 / (1 << 24))


def _lit(scene: Scene, seen: Seen, p: Points, position: np.ndarray, s: Surfaces) -> np.ndarray:
    light = scene.session.light
    normal = np.concatenate([[[0, 0, 1]], scene.polygons.normal[seen.polygons]]).astype(np.float32)
    sun = scene.session.sun_direction.astype(np.float32)
    facing = np.clip(normal @ sun, 0.0, 1.0)[p.number]
    upward = (0.72 + 0.28 * normal[:, 2])[p.number]
    before = position[:, :2] + np.float32(0.8) * normal[p.number, :2]
    air = scene.raster.read(scene.air, before[:, 0], before[:, 1])
    height = position[:, 2]
    sunny = facing * np.clip((height - air[:, 0]) * 2.0 + 0.5, 0.0, 1.0)
    low = np.clip(1.0 - height * np.float32(0.3), 0.0, 1.0)
    around = upward * (1.0 - low * (1.0 - air[:, 1])) * (1.0 - 0.12 * low * (p.number > 0))
    total = around[:, None] * np.array(light.ambient, np.float32)
    total += sunny[:, None] * np.array(light.sun, np.float32)
    if light.lamps:
        near = air[:, 2] * np.float32(0.34 * light.lamps)
        near *= np.exp(-np.abs(height - 1.5) * np.float32(0.22))
        total += near[:, None] * GLARE
    colour = s.albedo * total
    colour += (s.glow * np.float32(0.9))[:, None] * GLARE
    return colour


def _headlights(strength: float, eye: Eye, p: Points) -> np.ndarray:
    """Light (N, 3) of the car's own lamps: a cone ahead, cut off above the horizon."""
    aside, up = (p.ray @ axis.astype(np.float32) for axis in (eye.axes[0], -eye.axes[1]))
    cone = np.exp(-np.square(aside / np.float32(0.5)))
    cone *= np.clip(0.55 - up * np.float32(7.0), 0.06, 1.0)
    return (strength * cone / (1.0 + np.square(0.085 / p.w)))[:, None] * HEADLIGHT


def _mirrored(scene: Scene, seen: Seen, p: Points, s: Surfaces) -> np.ndarray:
    """Sky, or the houses opposite, in glass, paintwork and wet roads."""
    added = np.zeros_like(s.albedo)
    shiny = np.flatnonzero(s.gloss > 0.01)
    normal = np.concatenate([[[0, 0, 1]], scene.polygons.normal[seen.polygons]]).astype(np.float32)
    n, ray = normal[p.number[shiny]], p.ray[shiny]
    length = np.sqrt(np.einsum('ij,ij->i', ray, ray))
    slope = np.einsum('ij,ij->i', n, ray)
    away = ray - 2.0 * slope[:, None] * n
    sine = away[:, 2] / length
    view = scene.sky.look(away)
    open_sky = np.clip(sine * 2.6 - 0.15, 0.0, 1.0)[:, None]
    opposite = np.array(scene.session.light.ambient, np.float32) * np.float32(0.55)
    view = opposite + open_sky * (view - opposite)
    fresnel = 0.35 + 0.65 * np.power(1.0 - np.abs(slope) / length, 3.0)
    added[shiny] = view * (s.gloss[shiny] * fresnel)[:, None]
    return added
