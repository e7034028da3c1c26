"""What the time of year changes: leaves, bare crowns, the green between the houses, snow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

SNOW = np.array([0.84, 0.87, 0.92], np.float32)  # linear light
LYING = {'grass': 0.97, 'paving': 0.72, 'asphalt': 0.45}  # share of the snow that stays there


@dataclass(frozen=True)
class Season:
    """Colours of one time of year; one entry for each kind of tree."""

    leaves: tuple[Colour, ...]  # as displayed
    leaf_share: tuple[float, ...]  # of the leaves of summer
    yard: Colour  # linear light
    snow: float = 0.0  # how much lies, in [0, 1]


SEASONS: dict[str, Season] = {
    'summer': Season(
        ((0.36, 0.46, 0.18), (0.28, 0.42, 0.20), (0.46, 0.50, 0.20), (0.24, 0.36, 0.22)),
        (1.0, 1.0, 1.0, 1.0), (0.115, 0.165, 0.06),
    ),
    'spring': Season(
        ((0.55, 0.66, 0.26), (0.90, 0.72, 0.78), (0.60, 0.66, 0.30), (0.27, 0.41, 0.24)),
        (0.5, 0.7, 0.55, 1.0), (0.15, 0.24, 0.06),
    ),
    'autumn': Season(
        ((0.80, 0.52, 0.14), (0.66, 0.27, 0.13), (0.86, 0.68, 0.20), (0.25, 0.35, 0.22)),
        (0.7, 0.6, 0.75, 1.0), (0.20, 0.145, 0.055),
    ),
    'winter': Season(
        ((0.42, 0.36, 0.30), (0.40, 0.34, 0.28), (0.44, 0.38, 0.32), (0.42, 0.48, 0.44)),
        (0.03, 0.03, 0.03, 0.95), (0.16, 0.15, 0.09), snow=0.9,
    ),
}  # fmt: skip


def snow_on_slopes(normal: np.ndarray, snow: float) -> np.ndarray:
    """Share (P,) of surfaces with normals (P, 3) that snow hides: roofs and lids, no walls."""
    return np.clip((normal[:, 2] - 0.2) * 2.5, 0.0, 0.95) * snow


def snow_on_ground(x_m: np.ndarray, y_m: np.ndarray, lying: np.ndarray, snow: float) -> np.ndarray:
    """Share (N,) of the ground hidden at positions in metres; it thaws in patches.

    `lying` (N,) is the share of `LYING` for what is there.
    """
    patches = np.sin(x_m * 0.83 + 1.7 * np.sin(y_m * 0.31))
    patches = patches * np.sin(y_m * 0.71 + 1.3 * np.sin(x_m * 0.43 + 0.6))
    return np.clip(snow * lying * (1.0 + (1.0 - lying) * 1.4 * patches), 0.0, 1.0)
