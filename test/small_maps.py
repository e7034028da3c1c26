"""Small maps with everything in them, and disks that are full."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.records import Camera, LocalFeatures, Place, Pose

DIM = 16
FINGERPRINT = 'f' * 64
CAMERA = Camera((480, 640), 500.0, 500.0, 319.5, 239.5)


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def jpeg(shade: int = 0) -> bytes:
    buffer = BytesIO()
    Image.new('RGB', (32, 24), (shade % 256, 0, 0)).save(buffer, 'JPEG')
    return buffer.getvalue()


def local_features(seed: int) -> LocalFeatures:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.nn.functional.normalize(torch.randn(1, 5, 8, generator=generator), dim=2)
    position = torch.arange(10.0).reshape(1, 5, 2)
    return LocalFeatures(tokens, torch.ones(1, 5, dtype=torch.bool), position, torch.ones(1, 5))


def new_map(
    path: Path | str,
    seed: int = 0,
    count: int = 12,
    frame: str = 'map',
    fingerprint: str = FINGERPRINT,
) -> PlaceMap:
    """An open map: every third place without a pose, every fourth without anything beside it."""
    place_map = PlaceMap.create(path, 'sage_test', fingerprint, DIM, frame)
    place_map.beside.put_camera('front', CAMERA)
    session = place_map.add_session(f'drive {seed}', 'bag')
    for i, row in enumerate(unit_rows(count, seed)):
        pose = Pose((float(i), float(seed), 0.0), (0.0, 0.0, 0.6, 0.8)) if i % 3 else None
        place = Place(0, session, (100 * seed + i) * 10**9, pose, 'front', float(i))
        whole = i % 4 != 0
        place_map.add(place, row, jpeg(i) if whole else None, local_features(i) if whole else None)
    return place_map


def write_map(path: Path, **settings) -> Path:
    new_map(path, **settings).close()
    return path


@contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, as on a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
