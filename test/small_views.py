"""A small training set: places are coarse textures, views are crops of them in another light."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.config import AugmentConfig, TrainConfig
from vpr_ros.errors import ImageError
from vpr_ros.training.views import ViewSet

# Hardly any augmentation, so that sixty steps teach something.
CONFIG = TrainConfig(
    model='sage_test', scratch=True, device='cpu', steps=40, epoch_steps=10, places_per_batch=8,
    views_per_place=3, learning_rate=5e-3, average=0.9, save_every=7,
    augment=AugmentConfig(smallest_crop=0.9, stretch=1.0, tilt_deg=0.0, light=0.1, grey=0.0),
)  # fmt: skip
STILL = AugmentConfig(
    smallest_crop=1.0, stretch=1.0, tilt_deg=0.0, light=0.0, grey=0.0, blur=0.0, noise=0.0
)


class Memory:
    """Pictures that are arrays; `broken` ones cannot be read."""

    def __init__(self, images: list[np.ndarray], broken: tuple[int, ...] = ()) -> None:
        self.images, self.broken = images, broken

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f'texture {index}'

    def read(self, index: int) -> np.ndarray:
        if index in self.broken:
            raise ImageError(f'texture {index} is torn')
        return self.images[index]

    def check(self, index: int) -> str:
        return ''


def textures(places: int, views: int = 4, seed: int = 0) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for _ in range(places):
        texture = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (160, 120))
        for _ in range(views):
            y, x = rng.integers(0, 12, 2)
            yield (texture[y : y + 108, x : x + 148] * rng.uniform(0.7, 1.0)).astype(np.uint8)


def texture_views(
    places: int = 24, views: int = 4, seed: int = 0, broken: tuple[int, ...] = ()
) -> ViewSet:
    """Places 100 m apart on a line, each seen within 5 m in as many sessions as views."""
    names = np.repeat(np.arange(places), views)
    aside = np.random.default_rng(seed).uniform(0, 5, len(names))
    return ViewSet(
        Memory(list(textures(places, views, seed)), broken),
        np.column_stack([names * 100.0 + aside, np.zeros(len(names))]),
        np.zeros(len(names)),
        names,
        np.zeros(len(names), np.int64),
        np.tile(np.arange(views), places),
        ('textures',),
    )


def write_textures(folder: Path, places: int = 12, views: int = 4, seed: int = 0) -> Path:
    """The same as JPEG files with @utm_east@utm_north@ names, a sub-folder a session."""
    pictures = texture_views(places, views, seed)
    for index in range(len(pictures)):
        east, north = pictures.position_m[index] + (500_000.0, 4_500_000.0)
        session = folder / f'session{pictures.sessions[index]}'
        session.mkdir(parents=True, exist_ok=True)
        name = f'@{east:.2f}@{north:.2f}@32@T@@@{index:04d}@@90.0@@@@@@.jpg'
        cv2.imwrite(str(session / name), pictures.pictures.read(index)[..., ::-1])
    return folder
