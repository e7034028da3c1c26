"""What a file of weights says of its preprocessing, looked at before anything relies on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpr_ros.errors import CheckpointError
from vpr_ros.records import MAX_MEGAPIXELS, ImageInput

INTERPOLATIONS = ('bilinear', 'bicubic')


def read_input(data: Mapping[str, Any]) -> ImageInput:
    """The preprocessing out of the JSON of a header.

    Raises:
        TypeError, ValueError: it is none that images can be prepared by.
    """
    fields: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    spec = ImageInput(**fields)
    height, width = spec.size
    whole = isinstance(height, int) and isinstance(width, int)
    if not whole or min(spec.size) < 1 or height * width > MAX_MEGAPIXELS * 1e6:
        raise ValueError('size')
    if not all(len(x) == 3 and all(map(math.isfinite, x)) for x in (spec.mean, spec.std)):
        raise ValueError('mean and std')
    if min(spec.std) <= 0 or spec.interpolation not in INTERPOLATIONS:
        raise ValueError('std and interpolation')
    if not isinstance(spec.antialias, bool):
        raise TypeError('antialias')
    return spec


def check_threshold(value: Any) -> None:
    """Refuse what is no similarity threshold of a header: a cosine, or None.

    Raises:
        TypeError, ValueError: it is neither.
    """
    if value is not None and not -1.0 <= value <= 1.0:
        raise ValueError('similarity threshold')


def require_patches(spec: ImageInput, patch: int, path: Path | str) -> None:
    """Refuse an input that the patches of a model do not fill.

    Raises:
        CheckpointError: they do not.
    """
    height, width = spec.size
    if height % patch or width % patch:
        raise CheckpointError(
            f'{path} asks for images of {height}x{width}: '
            f'expected height and width in multiples of {patch} pixels'
        )
