"""Poses and labels from text files; a row that cannot be read is named by file and line."""

from __future__ import annotations

import csv
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.protocols import Track, needed


def lines(path: Path) -> list[str]:
    """Lines of a text file.

    Raises:
        DatasetError: no such file, or not text.
    """
    try:
        return path.read_text(encoding='utf-8').splitlines()
    except OSError as error:
        raise DatasetError(f'{path}: expected a table, found none ({error.strerror})') from None
    except UnicodeDecodeError:
        raise DatasetError(f'{path}: expected a table, found bytes that are not text') from None


def table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file that must have these columns."""
    text = lines(path)
    reader = csv.DictReader(text)
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise DatasetError(f'{path}: expected a column {missing[0]!r}, found {text[:1]}')
    rows = list(reader)
    if not rows:
        raise DatasetError(f'{path}: expected rows below the header, found none')
    for row in rows:
        if None in row or any(row[name] is None for name in columns):
            raise DatasetError(f'{path}: expected {len(columns)} or more values, found {row}')
    return rows


def words(path: Path, width: int) -> list[list[str]]:
    """Words of every line that is not empty and not a comment; `width` on each."""
    rows = []
    for number, line in enumerate(lines(path), start=1):
        parts = line.split('#')[0].replace(',', ' ').split()
        if parts and len(parts) != width:
            raise DatasetError(
                f'{path}, line {number}: expected {width} numbers, found {len(parts)}'
            )
        if parts:
            rows.append(parts)
    if not rows:
        raise DatasetError(f'{path}: expected rows of {width} numbers, found none')
    return rows


def numbers(path: Path, width: int) -> np.ndarray:
    """Rows of finite numbers, (N, width) float64."""
    return as_numbers(path, words(path, width))


def as_numbers(path: Path, rows: list[list[str]]) -> np.ndarray:
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise DatasetError(f'{path}: expected numbers, found {error}') from None
    if not np.isfinite(values).all():
        raise DatasetError(f'{path}: expected finite numbers, found nan or infinity')
    return values


def tum_track(path: Path, viewing_axis: str = 'x') -> Track:
    """Poses `stamp[s] tx ty tz qx qy qz qw`; stamps are read exactly, to the nanosecond."""
    rows = words(path, 8)
    poses = as_numbers(path, rows)
    try:
        stamps = [int(Decimal(row[0]) * 1_000_000_000) for row in rows]
    except InvalidOperation:
        raise DatasetError(f'{path}: expected stamps in seconds') from None
    return Track(
        np.array(stamps, np.int64), poses[:, 1:4], poses[:, 4:], viewing_axis=viewing_axis
    )


def stamps_in_names(folder: Path, names: list[str], poses: Track) -> np.ndarray:
    """Stamps (N,) from names in nanoseconds, which must be those of the poses to a microsecond.

    Pose files that went through double precision are off by some hundred nanoseconds.
    """
    try:
        stamps = np.array([int(Path(name).stem) for name in names], np.int64)
    except ValueError:
        raise DatasetError(f'{folder}: expected names in nanoseconds, found {names[0]}') from None
    late = np.abs(stamps - needed(poses.stamps_ns, 'stamp')) > 1000
    if late.any():
        raise DatasetError(f'{folder / names[int(np.argmax(late))]}: no pose has its stamp')
    return stamps


def utm_positions(folder: Path, names: list[str]) -> np.ndarray:
    """Positions (N, 3) from names `@east@north@...`, in metres; the height is zero."""
    positions = np.zeros((len(names), 3))
    for row, name in enumerate(names):
        parts = name.split('@')
        try:
            positions[row, :2] = float(parts[1]), float(parts[2])
        except (IndexError, ValueError):
            raise DatasetError(
                f'{folder / name}: expected a name @utm_east@utm_north@...@.jpg'
            ) from None
    return positions


def same_length(folder: Path, images: int, poses: int) -> None:
    if images != poses:
        raise DatasetError(f'{folder}: {images} images, but {poses} poses; one is incomplete')
