"""Which polygon each part of a pixel sees: painted from far to near, furniture with a depth test.

Houses stand apart on the ground and are convex, so painting them by the distance of their
nearest point is right; cars and lamps stand between them and are compared by depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros.synthetic.camera import Eye
from vpr_ros.synthetic.mesh import DETAIL, Polygons
from vpr_ros.synthetic.scene import Scene
from vpr_ros.synthetic.town import Buildings

SPLIT = 2  # a pixel is looked at in SPLIT x SPLIT places
NEAR_M = 0.15
RANGE_M = 280.0
SHIFT = 4


@dataclass(frozen=True)
class Seen:
    """Polygons in the picture, and the number of the one that each part of a pixel sees.

    Number 0 is the ground; number n is `polygons[n - 1]`. A row of `planes[n]` maps a pixel
    (x, y, 1) to u w, v w and w, where w is the inverse depth and u, v lie in the surface.
    """

    numbers: np.ndarray  # (SPLIT H, SPLIT W) int32
    polygons: np.ndarray  # (n,) indices into the polygons of the scene
    planes: np.ndarray  # (n + 1, 3, 3) float32


def look(scene: Scene, eye: Eye) -> Seen:
    """Find what is visible."""
    houses = _in_view(scene.polygons, scene.town.buildings, eye)
    things = _in_view(scene.polygons, scene.furniture, eye)
    seen = np.concatenate([houses, things])
    planes = _planes(scene.polygons, seen, eye)
    shape = (SPLIT * eye.camera.height, SPLIT * eye.camera.width)
    numbers, front = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    outlines = _outlines(scene.polygons.corners_m[seen], eye)
    for number, outline in enumerate(outlines, start=1):
        if outline is not None:
            cv2.fillConvexPoly(
                numbers if number <= len(houses) else front, outline, number, cv2.LINE_8, SHIFT
            )
    _insert(numbers, front, planes)
    return Seen(numbers, seen, planes)


def subpixel_centres(index: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates x, y of flat indices into `Seen.numbers`; `width` is that of the image."""
    row, column = np.divmod(index, width * SPLIT)
    scale, shift = np.float32(1 / SPLIT), np.float32((SPLIT - 1) / (2 * SPLIT))
    return column * scale - shift, row * scale - shift


def _insert(numbers: np.ndarray, front: np.ndarray, planes: np.ndarray) -> None:
    """Put what is nearer of `front` into `numbers`."""
    index = np.flatnonzero(front)
    x, y = subpixel_centres(index, numbers.shape[1] // SPLIT)
    near, far = front.ravel()[index], numbers.ravel()[index]
    w_near, w_far = (
        planes[n, 2, 0] * x + planes[n, 2, 1] * y + planes[n, 2, 2] for n in (near, far)
    )
    wins = w_near > w_far
    numbers.ravel()[index[wins]] = near[wins]


def nearest_m(footprints_m: np.ndarray, point_m: np.ndarray) -> np.ndarray:
    """Distance (B,) from a point to the edges of footprints (B, 4, 2)."""
    along = np.roll(footprints_m, -1, axis=1) - footprints_m
    to_point = point_m - footprints_m
    share = np.einsum('bki,bki->bk', to_point, along) / np.einsum('bki,bki->bk', along, along)
    apart = to_point - np.clip(share, 0.0, 1.0)[..., None] * along
    return np.sqrt(np.einsum('bki,bki->bk', apart, apart).min(axis=1))


def _in_view(polygons: Polygons, buildings: Buildings, eye: Eye) -> np.ndarray:
    """Indices of polygons that face the eye, in the order in which to paint them."""
    if not len(buildings.heights_m):
        return np.zeros(0, int)
    centre = buildings.footprints_m.mean(axis=1) - eye.position_m[:2]
    reach = np.abs(buildings.footprints_m - buildings.footprints_m.mean(axis=1)[:, None]).sum(-1)
    radius = reach.max(axis=1)
    flat = eye.axes[2, :2] / np.linalg.norm(eye.axes[2, :2])
    ahead = centre @ flat
    aside = np.abs(centre @ np.array([flat[1], -flat[0]]))
    slope = 0.5 * eye.camera.width / eye.camera.focal_px * 1.06
    wanted = (ahead > -radius) & (ahead < RANGE_M)
    wanted &= aside < np.maximum(ahead, 0) * slope + radius * np.hypot(1.0, slope)
    chosen = np.flatnonzero(wanted)
    distance = nearest_m(buildings.footprints_m[chosen], eye.position_m[:2])
    order = np.argsort(-distance, kind='stable')
    chosen, distance = chosen[order], distance[order]
    counts = buildings.starts[chosen + 1] - buildings.starts[chosen]
    rank = np.repeat(np.arange(len(chosen)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    index = np.arange(len(rank)) - first + buildings.starts[chosen][rank]
    corner = polygons.corners_m[index, 0]
    facing = np.einsum('ij,ij->i', polygons.normal[index], eye.position_m - corner) > 1e-3
    facing &= polygons.reach_m[index] > distance[rank]
    index, rank = index[facing], rank[facing]
    stage = polygons.stage[index]
    middle = polygons.corners_m[index, ::2].mean(axis=1) - eye.position_m
    far_first = np.where(stage == DETAIL, -np.einsum('ij,ij->i', middle, middle), 0.0)
    return index[np.lexsort((far_first, stage, rank))]


def _planes(polygons: Polygons, index: np.ndarray, eye: Eye) -> np.ndarray:
    """Matrices (n + 1, 3, 3) of `Seen.planes`; the ground has u = x and v = y of the town."""
    zero = np.zeros((1, 3))
    origin = np.concatenate([zero, polygons.corners_m[index, 0]]) - eye.position_m
    normal = np.concatenate([[[0.0, 0.0, 1.0]], polygons.normal[index]])
    depth = np.einsum('ij,ij->i', normal, origin)[:, None]
    inverse = normal / depth
    rows = []
    for first, axes in (([1.0, 0.0, 0.0], polygons.u_axis), ([0.0, 1.0, 0.0], polygons.v_axis)):
        axis = np.concatenate([[first], axes[index]])
        rows.append(axis - np.einsum('ij,ij->i', axis, origin)[:, None] * inverse)
    stacked = np.stack([*rows, inverse], axis=1)
    return np.einsum('nij,jk->nik', stacked, eye.rays()).astype(np.float32)


def _outlines(corners_m: np.ndarray, eye: Eye) -> list[np.ndarray | None]:
    """Corners in units of fillConvexPoly; None where nothing is in front of the camera."""
    local = np.einsum('nkj,ij->nki', corners_m - eye.position_m, eye.axes)
    depth = local[..., 2]
    behind = depth < NEAR_M
    gone, cut = behind.all(axis=1), behind.any(axis=1)
    points = _to_units(local, eye)
    high = np.array([eye.camera.width, eye.camera.height]) * (SPLIT << SHIFT)
    gone |= ~cut & ((points.max(axis=1) < 0) | (points.min(axis=1) > high)).any(axis=1)
    outlines: list[np.ndarray | None] = list(points)
    for number in np.flatnonzero(gone):
        outlines[number] = None
    for number in np.flatnonzero(cut & ~gone):
        outlines[number] = _to_units(_clipped(local[number]), eye)
    return outlines


def _to_units(local: np.ndarray, eye: Eye) -> np.ndarray:
    depth = np.maximum(local[..., 2:], NEAR_M)
    pixels = eye.camera.focal_px * local[..., :2] / depth + eye.camera.centre_px
    fine = (pixels + 0.5) * SPLIT - 0.5
    return np.clip(np.rint(fine * (1 << SHIFT)), -(1 << 24), 1 << 24).astype(np.int32)


def _clipped(local: np.ndarray) -> np.ndarray:
    """The part of a polygon (K, 3) in front of the near plane."""
    kept = []
    for a, b in zip(local, np.roll(local, -1, axis=0), strict=True):
        if a[2] >= NEAR_M:
            kept.append(a)
        if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
            share = (NEAR_M - a[2]) / (b[2] - a[2])
            kept.append(a + share * (b - a))
    return np.array(kept)
