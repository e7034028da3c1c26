"""Trees as pictures that turn to the camera, with the slant of their leaves for the light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros.synthetic.seasons import SEASONS, Season

SIZE = 256
KINDS = len(SEASONS['summer'].leaves)
SUMMER = SEASONS['summer']
BARK = (0.36, 0.29, 0.23)


@dataclass(frozen=True)
class TreePicture:
    """Levels of one kind of tree, the largest first, each half as large as the one before."""

    rgba: list[np.ndarray]  # (S, S, 4) float32, linear, colour times cover
    slant: list[np.ndarray]  # (S, S, 2) float32, to the right and up


def draw_tree(kind: int, rng: np.random.Generator, season: Season = SUMMER) -> TreePicture:
    """Grow a trunk and many clumps of leaves, those behind first."""
    rgb = np.zeros((SIZE, SIZE, 3), np.float32)
    cover = np.zeros((SIZE, SIZE), np.float32)
    slant = np.zeros((SIZE, SIZE, 2), np.float32)
    trunk = np.array([[122, 255], [134, 255], [131, 110], [125, 110]], np.int32)
    cv2.fillConvexPoly(rgb, trunk, tuple(np.square(BARK).tolist()))
    cv2.fillConvexPoly(cover, trunk, 1.0)
    for x in rng.uniform(80, 176, 6):
        cv2.line(rgb, (128, 190), (int(x), 100), tuple(np.square(BARK).tolist()), 3)
        cv2.line(cover, (128, 190), (int(x), 100), 1.0, 3)
    tall = 1.25 if kind == 3 else 1.0
    leaf, leaf_share = np.square(season.leaves[kind]), season.leaf_share[kind]
    if leaf_share < 0.5:
        _branch(rgb, cover, (128.0, 200.0), -np.pi / 2, 55.0, np.random.default_rng(kind))
    depth = np.sort(rng.uniform(-1.0, 1.0, 2600))
    for z in depth:
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1 - 0.55 * z * z))
        right, up = radius * np.cos(angle), radius * np.sin(angle)
        wobble = 1.0 + 0.1 * np.sin(3 * angle + kind) + 0.08 * np.sin(7 * angle)
        if np.sin(9 * right + 2 * kind) * np.sin(8 * up + kind) > rng.uniform(0.5, 1.1):
            continue  # a gap between branches
        if leaf_share < 1.0 and rng.random() >= leaf_share:
            continue  # fallen, or not yet there
        centre = (int(128 + 92 * wobble * right / tall), int(108 - 84 * tall * wobble * up * 0.95))
        axes = (int(rng.integers(2, 7)), int(rng.integers(1, 5)))
        inner = 0.45 + 0.55 * np.clip(0.45 + 0.5 * z + 0.35 * up, 0, 1)
        tone = tuple((leaf * inner * rng.uniform(0.65, 1.35)).tolist())
        turn = float(rng.uniform(0, 180))
        for picture, value in ((rgb, tone), (cover, 1.0), (slant, (right * 0.8, 0.2 + up * 0.7))):
            cv2.ellipse(picture, centre, axes, turn, 0, 360, value, -1)
    rgba = np.dstack([rgb * cover[..., None], cover])
    return TreePicture(_halved(rgba), _halved(slant))


def _branch(
    rgb: np.ndarray,
    cover: np.ndarray,
    foot: tuple[float, float],
    angle: float,
    length_px: float,
    rng: np.random.Generator,
) -> None:
    """Draw a bare branch and those that fork from it."""
    tip = foot[0] + length_px * np.cos(angle), foot[1] + length_px * np.sin(angle)
    start, end = ((round(x), round(y)) for x, y in (foot, tip))
    thick = max(1, round(length_px / 11))
    for picture, value in ((rgb, tuple(np.square(BARK).tolist())), (cover, (1.0,))):
        cv2.line(picture, start, end, value, thick, cv2.LINE_AA)
    if length_px < 7.0:
        return
    for turn in (-0.55, 0.0, 0.5) if length_px > 20.0 else (-0.5, 0.5):
        shorter = length_px * rng.uniform(0.6, 0.8)
        _branch(rgb, cover, tip, angle + turn + rng.normal(0.0, 0.16), shorter, rng)


def _halved(picture: np.ndarray) -> list[np.ndarray]:
    levels = [picture]
    while len(levels[-1]) > 8:
        half = len(levels[-1]) // 2
        levels.append(cv2.resize(levels[-1], (half, half), interpolation=cv2.INTER_AREA))
    return levels
