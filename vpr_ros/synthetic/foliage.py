"""Lay trees and the glow of lamps over a picture, behind whatever is nearer."""

from __future__ import annotations

import cv2
import numpy as np

from vpr_ros.synthetic.camera import Eye
from vpr_ros.synthetic.scene import LAMP_HEIGHT_M, Scene
from vpr_ros.synthetic.shading import GLARE
from vpr_ros.synthetic.trees import SIZE, TreePicture

RANGE_M = 160.0
LEAST_PX = 3.0
OPAQUE = 0.5  # cover at which a tree is what a depth camera sees


def add_trees(
    scene: Scene,
    eye: Eye,
    light: np.ndarray,
    inverse_depth: np.ndarray,
    reached: np.ndarray | None = None,
) -> None:
    """Change `light` (H, W, 3) where trees and lamps are seen.

    Args:
        scene: whose trees they are.
        eye: the camera.
        light: to be changed.
        inverse_depth: of what stands there without trees, (H, W).
        reached: inverse depth (H, W) to be changed where leaves hide more than they let through.
    """
    if scene.session.light.lamps:
        _add_glow(scene, eye, light, inverse_depth)
    trees = scene.town.trees
    foot = np.column_stack([trees[:, :2], np.zeros(len(trees))])
    pixels, depth = eye.project(foot)
    size = eye.camera.focal_px * trees[:, 2] / depth
    seen = (depth > 1.0) & (depth < RANGE_M) & (size > LEAST_PX)
    seen &= np.abs(pixels[:, 0] - eye.camera.width / 2) < eye.camera.width / 2 + size / 2
    chosen = np.flatnonzero(seen)
    air = scene.raster.read(
        scene.air, trees[chosen, 0].astype(np.float32), trees[chosen, 1].astype(np.float32)
    )
    order = np.argsort(-depth[chosen], kind='stable')
    for k in order:
        tree = chosen[k]
        picture = scene.tree_pictures[int(trees[tree, 3])]
        sunny = float(np.clip((0.7 * trees[tree, 2] - air[k, 0]) * 0.4 + 0.5, 0, 1))
        box, cover = _add_tree(
            scene, eye, light, inverse_depth, picture, pixels[tree], depth[tree], size[tree], sunny
        )
        if reached is not None:
            reached[box][cover > OPAQUE] = 1.0 / depth[tree]


def _add_tree(
    scene: Scene,
    eye: Eye,
    light: np.ndarray,
    inverse_depth: np.ndarray,
    picture: TreePicture,
    foot_px: np.ndarray,
    depth_m: float,
    size_px: float,
    sunny: float,
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Rows and columns that a tree reaches, and how much of what is behind it hides there."""
    level = int(np.clip(np.log2(SIZE / size_px), 0, len(picture.rgba) - 1))
    side = SIZE >> level
    scale = size_px / side
    left, top = foot_px[0] - size_px / 2, foot_px[1] - size_px
    height, width = light.shape[:2]
    x0, x1 = max(int(left), 0), min(int(left + size_px) + 2, width)
    y0, y1 = max(int(top), 0), min(int(foot_px[1]) + 2, height)
    if x0 >= x1 or y0 >= y1:
        return np.s_[0:0, 0:0], np.zeros((0, 0))
    move = np.array([[1 / scale, 0, (x0 - left) / scale], [0, 1 / scale, (y0 - top) / scale]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    area = (x1 - x0, y1 - y0)
    rgba = cv2.warpAffine(picture.rgba[level], move, area, flags=flags)
    slant = cv2.warpAffine(picture.slant[level], move, area, flags=flags)
    box = np.s_[y0:y1, x0:x1]
    # A crown is as deep as wide: its near side must not vanish in the wall behind its middle.
    up = (foot_px[1] - np.arange(y0, y1)) / size_px
    crown_m = max(depth_m * (1.0 - 0.3 * size_px / eye.camera.focal_px), 0.5 * depth_m)
    nearest = (1.0 / np.where(up > 0.3, crown_m, depth_m)).astype(np.float32)
    cover = rgba[..., 3] * (inverse_depth[box] < nearest[:, None])
    bright = _light_on(scene, eye, slant, sunny)
    air = np.float32(1.0 - np.exp(-depth_m / scene.session.light.haze_m))
    horizon = np.array(scene.session.light.horizon, np.float32) * np.float32(0.95)
    share = np.where(rgba[..., 3] > 0, cover / np.maximum(rgba[..., 3], 1e-4), 0.0)[..., None]
    colour = rgba[..., :3] * bright * (share * (1 - air)) + cover[..., None] * (air * horizon)
    light[box] = light[box] * (1.0 - cover[..., None]) + colour
    return box, cover


def _light_on(scene: Scene, eye: Eye, slant: np.ndarray, sunny: float) -> np.ndarray:
    """Light (H, W, 3) on leaves that slant to the right and up by `slant` (H, W, 2)."""
    light, sun = scene.session.light, scene.session.sun_direction
    right, forward = eye.axes[0], eye.axes[2]
    right_up_toward = np.array([sun @ right, sun[2], -(sun @ forward)], np.float32)
    toward = np.sqrt(np.clip(1.0 - np.square(slant).sum(axis=-1), 0.05, 1.0))
    facing = slant @ right_up_toward[:2] + toward * right_up_toward[2]
    facing = np.clip(0.7 * facing + 0.3, 0.05, 1.0) * np.float32(1.15 * sunny)
    around = np.float32(1.0) + np.float32(0.35) * slant[..., 1]
    total = around[..., None] * np.array(light.ambient, np.float32)
    total += facing[..., None] * np.array(light.sun, np.float32)
    return total + np.float32(0.06 * light.lamps) * GLARE


def _add_glow(scene: Scene, eye: Eye, light: np.ndarray, inverse_depth: np.ndarray) -> None:
    """A halo around every street lamp that burns in view."""
    lamps = scene.town.lamps_m
    head = np.column_stack([lamps, np.full(len(lamps), LAMP_HEIGHT_M + 0.2)])
    pixels, depth = eye.project(head)
    height, width = light.shape[:2]
    near = (depth > 2.0) & (depth < RANGE_M)
    near &= (np.abs(pixels[:, 0] - width / 2) < width) & (
        np.abs(pixels[:, 1] - height / 2) < height
    )
    for (x, y), z in zip(pixels[near], depth[near], strict=True):
        radius = int(np.clip(1.4 * eye.camera.focal_px / z, 4, 60))
        x0, x1 = max(int(x) - radius, 0), min(int(x) + radius + 1, width)
        y0, y1 = max(int(y) - radius, 0), min(int(y) + radius + 1, height)
        column, row = round(float(x)), round(float(y))
        if x0 >= x1 or y0 >= y1 or not (0 <= column < width and 0 <= row < height):
            continue
        if inverse_depth[row, column] > 1.1 / z:
            continue
        gx, gy = np.arange(x0, x1) - x, np.arange(y0, y1) - y
        far = (gx[None, :] ** 2 + gy[:, None] ** 2) / radius**2
        halo = np.square(np.clip(1.0 - far, 0.0, 1.0)) * (0.30 * scene.session.light.lamps)
        light[y0:y1, x0:x1] += halo[..., None].astype(np.float32) * GLARE
