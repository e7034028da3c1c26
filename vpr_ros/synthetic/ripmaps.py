"""Textures shrunk separately in both directions, so that facades seen at a slant stay sharp.

Williams, "Pyramidal parametrics", 1983, with one level for each axis. All levels of all textures
lie in one picture, because one `cv2.remap` over it is far quicker than a gather in numpy.
"""

from __future__ import annotations

import cv2
import numpy as np

GUTTER = 1
REMAP_COLUMNS = 1024  # cv2.remap refuses rows longer than 32767


def sample_bilinear(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Read a picture (H, W[, C]) at pixel coordinates (N,); values (N[, C])."""
    count = len(x)
    rows = max(1, -(-count // REMAP_COLUMNS))
    maps = np.zeros((2, rows * REMAP_COLUMNS), np.float32)
    maps[0, :count] = x
    maps[1, :count] = y
    grid = maps.reshape(2, rows, REMAP_COLUMNS)
    values = cv2.remap(
        picture, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return values.reshape(rows * REMAP_COLUMNS, *picture.shape[2:])[:count]


class Ripmaps:
    """Square textures (K, S, S, C) uint8, each with its levels for both axes."""

    def __init__(self, textures: np.ndarray, wrap: bool) -> None:
        count, self.size = textures.shape[:2]
        self.levels = int(np.log2(self.size))
        widths = self.size >> np.arange(self.levels)
        self.widths = widths.astype(np.float32)
        starts = np.concatenate([[0], np.cumsum(widths + 2 * GUTTER)])
        self.starts = (starts[:-1] + GUTTER - 0.5).astype(np.float32)
        self.pitch = int(starts[-1])
        self.columns = int(np.ceil(np.sqrt(count)))
        rows = -(-count // self.columns)
        shape = (rows * self.pitch, self.columns * self.pitch, *textures.shape[3:])
        self.picture = np.zeros(shape, np.uint8)
        border = cv2.BORDER_WRAP if wrap else cv2.BORDER_REPLICATE
        for index, texture in enumerate(textures):
            row, column = divmod(index, self.columns)
            area = self.picture[row * self.pitch :, column * self.pitch :]
            self._fill(area, texture, starts, widths, border)

    @staticmethod
    def _fill(
        area: np.ndarray, texture: np.ndarray, starts: np.ndarray, widths: np.ndarray, border: int
    ) -> None:
        for x, width in zip(starts, widths):  # noqa: B905 (one start more than there are widths)
            narrow = cv2.resize(texture, (int(width), len(texture)), interpolation=cv2.INTER_AREA)
            for y, height in zip(starts, widths):  # noqa: B905
                level = cv2.resize(narrow, (int(width), int(height)), interpolation=cv2.INTER_AREA)
                level = cv2.copyMakeBorder(level, GUTTER, GUTTER, GUTTER, GUTTER, border)
                area[y : y + level.shape[0], x : x + level.shape[1]] = level

    def level(self, texels_per_pixel: np.ndarray) -> np.ndarray:
        """Level (N,) at which one texel is about one pixel."""
        level = np.log2(np.maximum(texels_per_pixel, 1.0)) + 0.35
        return np.minimum(level, self.levels - 1).astype(np.int32)

    def coordinates(
        self, index: np.ndarray, u: np.ndarray, v: np.ndarray, du: np.ndarray, dv: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Place in `picture` of texture `index` at (u, v) in [0, 1], v downwards.

        `du` and `dv` are the extent of one pixel of the image in units of the texture.
        """
        level_u = self.level(du * self.size)
        level_v = self.level(dv * self.size)
        row, column = np.divmod(index, self.columns)
        x = column * np.float32(self.pitch) + self.starts[level_u] + u * self.widths[level_u]
        y = row * np.float32(self.pitch) + self.starts[level_v] + v * self.widths[level_v]
        return x, y

    def sample(self, place: np.ndarray) -> np.ndarray:
        """Texels (N[, C]) at what `coordinates` said, as (2, N)."""
        return sample_bilinear(self.picture, place[0], place[1])
