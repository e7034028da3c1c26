"""A map in the making: written beside its name, moved there when it is complete."""

from __future__ import annotations

import os
from pathlib import Path


def discard(part: Path) -> None:
    """Remove an unfinished map and its journals, also those a killed process left."""
    for suffix in ('', '-wal', '-shm', '-journal'):
        Path(f'{part}{suffix}').unlink(missing_ok=True)


def replace_when_complete(part: Path, path: Path) -> None:
    """Move a finished map to its name; its journal was folded in when it was closed."""
    for suffix in ('-wal', '-shm'):
        Path(str(path) + suffix).unlink(missing_ok=True)
    os.replace(part, path)
