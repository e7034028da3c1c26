"""Where the shared recordings are; tests that need them skip loudly when they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data(*parts: str) -> Path:
    """Path below the shared data folder: $VPR_SHARED_DATA, or `../shared/data` of the checkout."""
    default = Path(__file__).resolve().parents[2] / 'shared' / 'data'
    path = Path(os.environ.get('VPR_SHARED_DATA', default)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f'REAL DATA ABSENT: {path} does not exist; set VPR_SHARED_DATA')
    return path
