"""CSV files of published data sets, with errors that name file and row."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vpr_ros.errors import DatasetError


def read_table(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a CSV file as they are.

    Raises:
        DatasetError: no such file, or a column is missing.
    """
    if not path.is_file():
        raise DatasetError(f'no table {path}: is the data set whole?')
    with path.open(newline='', encoding='utf-8') as file:
        rows = csv.DictReader(file)
        missing = set(columns) - set(rows.fieldnames or ())
        if missing:
            raise DatasetError(
                f'{path} lacks the column {sorted(missing)[0]}: found '
                f'{", ".join(rows.fieldnames or ["nothing"])}'
            )
        return list(rows)


def numbers(rows: list[dict[str, str]], column: str, path: Path) -> np.ndarray:
    """A column as floats (N,).

    Raises:
        DatasetError: a value is not a number; its row is named.
    """
    found = np.empty(len(rows))
    for row, values in enumerate(rows):
        try:
            found[row] = float(values[column])
        except (TypeError, ValueError):
            raise DatasetError(
                f'{path}, row {row + 2}: {column} is {values[column]!r}, expected a number'
            ) from None
    return found


def is_true(text: str) -> bool:
    return text.strip().lower() in ('true', '1')
