"""Tileable surfaces: what walls, roofs and streets are made of. 255 is the tint itself."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SIZE = 256
REPEAT_M = 3.0


def noise(rng: np.random.Generator, cells: int, octaves: int = 4, size: int = SIZE) -> np.ndarray:
    """Tileable fractal value noise (size, size) float32 about 0, of unit deviation."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        n = min(cells << octave, size)
        grid = np.pad(rng.standard_normal((n, n)).astype(np.float32), 2, mode='wrap')
        step = size // n
        large = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += large[2 * step : 2 * step + size, 2 * step : 2 * step + size] / 2**octave
    return (total - total.mean()) / total.std()


def _finish(shade: np.ndarray) -> np.ndarray:
    return np.clip(shade * 255.0, 0, 255).astype(np.uint8)


def _plaster(rng: np.random.Generator) -> np.ndarray:
    return _finish(0.93 + 0.025 * noise(rng, 4) + 0.02 * noise(rng, 64, 2))


def _courses(
    rng: np.random.Generator, rows: int, columns: int, joint: float, contrast: float, spread: float
) -> np.ndarray:
    """Bricks, blocks or tiles in staggered courses; `joint` in pixels at double size."""
    size = 2 * SIZE
    picture = np.full((size, size), contrast, np.float32)
    height, width = size / rows, size / columns
    for row in range(rows):
        for column in range(-1, columns + 1):
            tone = 0.9 + spread * rng.standard_normal()
            x = (column + 0.5 * (row % 2)) * width
            corner = (round(x + joint), round(row * height + joint))
            opposite = (round(x + width - 1), round((row + 1) * height - 1))
            cv2.rectangle(picture, corner, opposite, float(tone), -1)
    small = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return _finish(small + 0.025 * noise(rng, 32, 2))


def _brick(rng: np.random.Generator) -> np.ndarray:
    return _courses(rng, 40, 12, 2.6, 1.05, 0.085)


def _stone(rng: np.random.Generator) -> np.ndarray:
    return _courses(rng, 8, 4, 4.0, 0.66, 0.045)


def _tiles(rng: np.random.Generator) -> np.ndarray:
    return _courses(rng, 14, 16, 4.5, 0.55, 0.07)


def _paving(rng: np.random.Generator) -> np.ndarray:
    return _courses(rng, 6, 6, 4.0, 0.72, 0.045)


def _panel(rng: np.random.Generator) -> np.ndarray:
    picture = np.full((SIZE, SIZE), 0.94, np.float32)
    picture[:3] = picture[:, :3] = 0.7
    return _finish(picture + 0.03 * noise(rng, 2))


def _planks(rng: np.random.Generator) -> np.ndarray:
    boards = np.repeat(0.9 + 0.06 * rng.standard_normal((16, 1)), SIZE // 16, axis=0)
    picture = np.broadcast_to(boards, (SIZE, SIZE)) + 0.03 * noise(rng, 16)
    picture[:: SIZE // 16] = 0.6
    return _finish(picture.astype(np.float32))


def _asphalt(rng: np.random.Generator) -> np.ndarray:
    return _finish(0.9 + 0.035 * noise(rng, 2) + 0.07 * noise(rng, 128, 2))


def _grass(rng: np.random.Generator) -> np.ndarray:
    return _finish(0.8 + 0.09 * noise(rng, 4) + 0.1 * noise(rng, 64, 2))


def _plain(rng: np.random.Generator) -> np.ndarray:
    return _finish(0.97 + 0.015 * noise(rng, 4))


def _stains(rng: np.random.Generator) -> np.ndarray:
    return _finish(0.9 + 0.055 * noise(rng, 2, 5))


MATERIALS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    'plain': _plain,
    'plaster': _plaster,
    'brick': _brick,
    'stone': _stone,
    'panel': _panel,
    'planks': _planks,
    'tiles': _tiles,
    'asphalt': _asphalt,
    'paving': _paving,
    'grass': _grass,
    'stains': _stains,
}
MATERIAL = {name: index for index, name in enumerate(MATERIALS)}


def draw_materials(rng: np.random.Generator) -> np.ndarray:
    """All materials (K, S, S) uint8, in the order of `MATERIALS`."""
    return np.stack([draw(rng) for draw in MATERIALS.values()])
