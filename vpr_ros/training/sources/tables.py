"""CSV files of published data sets, with errors that name file and row."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError

FIRST_ROW = 2  # as editors count: the first one is the header


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """These columns of a CSV file, as text.

    Raises:
        DatasetError: no such file, not CSV, or a column or a value of one is missing.
    """
    if not path.is_file():
        raise DatasetError(f'no table {path}: is the data set whole?')
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            _require(columns, reader.fieldnames or (), path)
            return [_cut(row, columns, path, number) for number, row in enumerate(reader)]
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DatasetError(f'{path} cannot be read as a table: {error}') from None


def _require(columns: Sequence[str], found: Sequence[str], path: Path) -> None:
    missing = [name for name in columns if name not in found]
    if missing:
        raise DatasetError(
            f'{path} lacks the column {missing[0]}: expected columns {" and ".join(columns)}, '
            f'found {", ".join(found) or "nothing"}'
        )


def _cut(
    row: dict[str, str | None], columns: Sequence[str], path: Path, number: int
) -> dict[str, str]:
    cut = {name: value for name in columns if (value := row[name]) is not None}
    if len(cut) < len(columns):
        missing = next(name for name in columns if name not in cut)
        raise DatasetError(f'{path}, row {number + FIRST_ROW}: ends before its {missing}')
    return cut


def numbers(
    rows: list[dict[str, str]], column: str, path: Path, unknown: float | None = None
) -> np.ndarray:
    """A column as finite floats (N,).

    Args:
        rows: of the whole table, so that a row can be named.
        column: which one.
        path: of the table, for errors.
        unknown: stands for values that are empty or NaN; None refuses them.

    Raises:
        DatasetError: a value is not a finite number; its row is named.
    """
    found = np.empty(len(rows))
    for index, row in enumerate(rows):
        text = row[column].strip()
        if unknown is not None and text.lower() in ('', 'nan'):
            found[index] = unknown
            continue
        try:
            found[index] = float(text)
        except ValueError:
            found[index] = np.nan
        if not np.isfinite(found[index]):
            raise DatasetError(
                f'{path}, row {index + FIRST_ROW}: {column} is {row[column]!r}, expected a number'
            )
    return found


def whole_numbers(rows: list[dict[str, str]], column: str, path: Path) -> np.ndarray:
    """A column as integers (N,), int64; `7.0` is one.

    Raises:
        DatasetError: a value is not a whole number; its row is named.
    """
    found = numbers(rows, column, path)
    wrong = np.flatnonzero((found != np.rint(found)) | (np.abs(found) > 2**53))
    if len(wrong):
        raise DatasetError(
            f'{path}, row {wrong[0] + FIRST_ROW}: {column} is {rows[wrong[0]][column]!r}, '
            'expected a whole number'
        )
    return found.astype(np.int64)


def is_true(text: str) -> bool:
    return text.strip().lower() in ('true', '1')
