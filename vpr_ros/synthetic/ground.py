"""Roads, pavements and their markings: distances kept in a raster, lines drawn when asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.synthetic.materials import MATERIAL
from vpr_ros.synthetic.ripmaps import sample_bilinear
from vpr_ros.synthetic.seasons import LYING, SNOW, Season, snow_on_ground
from vpr_ros.synthetic.streets import Plan

PIXELS_PER_M = 3.0
MARGIN_M = 40.0
ROUNDING_M = 3.0  # of the kerb at crossings

ASPHALT = np.array([0.155, 0.157, 0.162], np.float32)
PAVEMENT = np.array([0.42, 0.40, 0.37], np.float32)
KERB = np.array([0.46, 0.455, 0.44], np.float32)
PAINT = np.array([0.66, 0.66, 0.64], np.float32)
LYING_ON = np.array([LYING.get(name, 0.0) for name in MATERIAL], np.float32)


@dataclass(frozen=True)
class Raster:
    """Maps metres in the town to pixels of a picture with `pixels_per_m`."""

    low_m: np.ndarray  # (2,)
    shape: tuple[int, int]
    pixels_per_m: float

    @classmethod
    def around(cls, points_m: np.ndarray, margin_m: float, pixels_per_m: float) -> Raster:
        low = points_m.min(axis=0) - margin_m
        width, height = np.ceil((points_m.max(axis=0) + margin_m - low) * pixels_per_m).astype(int)
        return cls(low, (int(height), int(width)), pixels_per_m)

    def pixels(self, points_m: np.ndarray) -> np.ndarray:
        """Pixel coordinates (..., 2) as x, y."""
        return (points_m - self.low_m) * self.pixels_per_m

    def read(self, picture: np.ndarray, x_m: np.ndarray, y_m: np.ndarray) -> np.ndarray:
        """Interpolate a picture at positions (N,) in metres."""
        scale = np.float32(self.pixels_per_m)
        low = self.low_m.astype(np.float32)
        return sample_bilinear(picture, (x_m - low[0]) * scale, (y_m - low[1]) * scale)


@dataclass(frozen=True)
class Ground:
    """How far each spot lies inside the road and inside the pavement, and on which street."""

    raster: Raster
    inside_m: np.ndarray  # (H, W, 2) float32: road, road with pavement
    street: np.ndarray  # (H, W) int16
    start_m: np.ndarray  # (S, 2)
    along: np.ndarray  # (S, 2)
    length_m: np.ndarray  # (S,)
    half_road_m: np.ndarray  # (S,)

    @classmethod
    def build(cls, plan: Plan) -> Ground:
        ends = np.array([(s.start, s.end) for s in plan.streets])
        start, end = plan.crossings_m[ends[:, 0]], plan.crossings_m[ends[:, 1]]
        length = np.linalg.norm(end - start, axis=1)
        along = (end - start) / length[:, None]
        half = np.array([s.half_road_m for s in plan.streets])
        walk = np.array([s.pavement_m for s in plan.streets])
        raster = Raster.around(plan.crossings_m, MARGIN_M, PIXELS_PER_M)
        inside = np.full((*raster.shape, 2), -8.0, np.float32)
        street = np.zeros(raster.shape, np.int16)
        nearest = np.full(raster.shape, -np.inf, np.float32)
        # Round ends as wide as the narrowest street there, so that a wide one does not bulge out.
        narrow = np.full((2, len(plan.crossings_m)), np.inf)
        for k in range(len(half)):
            for row, width in zip(narrow, (half[k], half[k] + walk[k]), strict=True):
                row[ends[k]] = np.minimum(row[ends[k]], width)
        for k in range(len(half)):
            box, distance, share = _distance(raster, start[k], end[k], half[k] + walk[k] + 8.0)
            road, paved = (
                np.select([share < 0, share > 1], list(row[ends[k]]), width) - distance
                for row, width in zip(narrow, (half[k], half[k] + walk[k]), strict=True)
            )
            road_here, walk_here = inside[..., 0][box], inside[..., 1][box]
            road_here[:] = _smooth_maximum(road_here, road.astype(np.float32))
            np.maximum(walk_here, paved.astype(np.float32), out=walk_here)
            street[box][road > nearest[box]] = k
            np.maximum(nearest[box], road.astype(np.float32), out=nearest[box])
        cast = [a.astype(np.float32) for a in (start, along, length, half)]
        return cls(raster, inside, street, *cast)

    def surface(
        self, x: np.ndarray, y: np.ndarray, extent_m: np.ndarray, season: Season
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tint (N, 3), material (N,) and share of road (N,) at positions in metres.

        `extent_m` is how much ground one pixel covers; edges are softened by it.
        """
        inside = self.raster.read(self.inside_m, x, y)
        road, walk = inside[:, 0], inside[:, 1]
        pixels = self.raster.pixels(np.stack([x, y], axis=1))
        rows, columns = self.raster.shape
        row = np.clip(pixels[:, 1], 0, rows - 1).astype(np.int32)
        column = np.clip(pixels[:, 0], 0, columns - 1).astype(np.int32)
        street = self.street[row, column]
        on_road = soft_step(road, extent_m)
        on_walk = soft_step(walk, extent_m)
        on_kerb = soft_step(road + 0.16, extent_m) - on_road
        yard = np.array(season.yard, np.float32)
        tint = yard + on_walk[:, None] * (PAVEMENT - yard)
        dx, dy = x - self.start_m[street, 0], y - self.start_m[street, 1]
        s = dx * self.along[street, 0] + dy * self.along[street, 1]
        t = dy * self.along[street, 0] - dx * self.along[street, 1]
        tracks = 1.0 + 0.12 * np.cos(t * np.float32(3.6)) * (np.abs(t) < 3.5)
        gutter = 1.0 - 0.3 * soft_step(0.35 - road, extent_m + 0.2)
        asphalt = ASPHALT * (tracks * gutter * (0.85 + 0.04 * (street % 8)))[:, None]
        paint = self._paint(street, s, t, extent_m) * (road > 0.2)
        asphalt += paint[:, None] * (PAINT - asphalt)
        tint += on_road[:, None] * (asphalt - tint)
        tint += on_kerb[:, None] * (KERB - tint)
        material = np.where(road > 0, MATERIAL['asphalt'], MATERIAL['paving'])
        material = np.where(walk > 0, material, MATERIAL['grass'])
        if season.snow:
            share = snow_on_ground(x, y, LYING_ON[material], season.snow)[:, None]
            tint += share * (SNOW - tint)
        return tint, material, on_road

    def _paint(
        self, street: np.ndarray, s: np.ndarray, t: np.ndarray, extent_m: np.ndarray
    ) -> np.ndarray:
        """Share (N,) of white paint `s` along and `t` left of the middle of a street."""
        half, length = self.half_road_m[street], self.length_m[street]
        to_end = np.minimum(s, length - s)
        clear = to_end - half * 1.2 - 2.0  # distance from the crossing
        dash = band(s, np.float32(6.0), np.float32(0.5), extent_m)
        middle = soft_step(0.07 - np.abs(t), extent_m) * dash * (clear > 6.0)
        zebra = band(t, np.float32(1.0), np.float32(0.5), extent_m)
        crossing = zebra * soft_step(1.5 - np.abs(clear - 2.4), extent_m) * (half > 3.5)
        wide = half > 6.0
        edge = soft_step(0.06 - np.abs(np.abs(t) - (half - 2.1)), extent_m)
        edge *= wide & (clear > 6.0)
        own_lane = np.where(s < length / 2, t > 0, t < 0)  # traffic drives on the right
        stop = soft_step(0.2 - np.abs(clear - 4.9), extent_m) * own_lane * (half > 3.5)
        across = np.abs(t) < half - 0.35
        lines = np.maximum(np.maximum(middle, crossing), np.maximum(edge, stop))
        return lines * across * np.float32(0.85)


def soft_step(distance_m: np.ndarray, extent_m: np.ndarray) -> np.ndarray:
    """Share of a pixel that lies beyond an edge."""
    return np.clip(distance_m / np.maximum(extent_m, 0.02) + 0.5, 0.0, 1.0)


def band(s: np.ndarray, period_m: float, share: float, extent_m: np.ndarray) -> np.ndarray:
    """Share of a pixel covered by stripes that repeat; far away their mean."""
    phase = np.abs(np.mod(s, period_m) - period_m / 2)
    sharp = soft_step(phase - (1 - share) * period_m / 2, extent_m)
    blur = np.clip(extent_m / period_m, 0.0, 1.0)
    return sharp + blur * (share - sharp)


def _distance(
    raster: Raster, start: np.ndarray, end: np.ndarray, reach_m: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """The part of a raster a street can reach; distance to it, and share of its length, there."""
    low = raster.pixels(np.minimum(start, end) - reach_m).astype(int).clip(0)
    high = raster.pixels(np.maximum(start, end) + reach_m).astype(int) + 1
    box = (
        slice(low[1], min(high[1], raster.shape[0])),
        slice(low[0], min(high[0], raster.shape[1])),
    )
    y, x = np.mgrid[box]
    points = np.stack([x, y], axis=-1) / raster.pixels_per_m + raster.low_m - start
    reach = end - start
    share = points @ reach / (reach @ reach)
    apart = points - np.clip(share, 0.0, 1.0)[..., None] * reach
    return box, np.linalg.norm(apart, axis=-1), share


def _smooth_maximum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    blend = np.clip(0.5 + 0.5 * (b - a) / ROUNDING_M, 0.0, 1.0)
    return a + (b - a) * blend + ROUNDING_M * 0.35 * blend * (1.0 - blend)
