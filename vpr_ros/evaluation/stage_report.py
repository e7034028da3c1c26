"""The comparison of stages as a table, as JSON, and as a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from vpr_ros.evaluation.stages import StageResult
from vpr_ros.evaluation.theme import LIGHT, style

CUMULATIVE = 5  # sets of stages that add up; each of the others stands for itself
COLUMNS = {
    'R@1': ('r@1', '.2f'),
    'AP': ('ap', '.2f'),
    'R@100P': ('r@100p', '.2f'),
    'right': ('right', 'd'),
    'wrong': ('wrong', 'd'),
    '/km': ('wrong per km', '.1f'),
    '/1000': ('wrong per 1000', '.1f'),
    'delay': ('delay s', '.1f'),
    'ms': ('own ms', '.1f'),
}
LEGEND = (
    'right, wrong: closures accepted; /km, /1000: wrong ones per kilometre or 1000 queries; '
    'delay: s to the first right one of a revisit; ms: median of these stages alone'
)


def stage_table(name: str, results: Sequence[StageResult]) -> Table:
    """Rows of sets of stages, columns of figures; narrow enough for 80 characters."""
    figures = [result.figures() for result in results]
    title = f'{name}: {figures[0]["of"]} revisits'
    table = Table(title=title, caption=LEGEND, padding=(0, 0, 0, 1))
    table.add_column('stages', no_wrap=True)
    known = [
        column
        for column, (key, _) in COLUMNS.items()
        if any(row[key] is not None for row in figures)
    ]
    if '/km' in known:
        known.remove('/1000')
    for column in known:
        table.add_column(column, justify='right', no_wrap=True)
    for row in figures:
        cells = (shown(row[key], form) for key, form in (COLUMNS[column] for column in known))
        table.add_row(row['stages'], *cells)
    return table


def shown(value: float | None, form: str) -> str:
    return '' if value is None else format(value, form)


def write_stages(name: str, results: Sequence[StageResult], folder: Path | str) -> Path:
    """Write `stages.json` and `stages.png` into a folder, and return the picture.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {'drive': name, 'stages': [r.figures() for r in results]}
    whole(folder / 'stages.json', json.dumps(record, indent=1).encode())
    part = folder / '.stages.part.png'
    drawn(name, results).savefig(part)
    os.replace(part, folder / 'stages.png')
    return folder / 'stages.png'


def whole(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + '.part')
    part.write_bytes(data)
    os.replace(part, path)


def drawn(name: str, results: Sequence[StageResult]) -> Figure:
    """Precision over recall of each set of stages, and what the decision made of it."""
    with rc_context(style(LIGHT)):
        figure = Figure(figsize=(13.0, 5.2), dpi=120, layout='constrained')
        left, right = figure.subplots(1, 2)
        draw_curves(left, results)
        left.set_title(name)
        draw_closures(right, results)
    return figure


def draw_curves(axes: Axes, results: Sequence[StageResult]) -> None:
    for number, result in enumerate(results):
        curve = result.evaluation.single_best_curve
        if curve.positives:
            look = 'solid' if number < CUMULATIVE else 'dotted'
            axes.plot(curve.recall, curve.precision, label=result.name, linestyle=look, lw=1.6)
    axes.set(xlabel='recall', ylabel='precision', xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(fontsize=8)


def draw_closures(axes: Axes, results: Sequence[StageResult]) -> None:
    """Right closures to the right, wrong ones to the left."""
    rows = range(len(results))
    closures = [result.evaluation.closures for result in results]
    axes.barh(rows, [c.correct for c in closures], color=LIGHT.right, label='right closures')
    axes.barh(rows, [-c.wrong for c in closures], color=LIGHT.wrong, label='wrong closures')
    axes.axvline(0, color=LIGHT.ink, linewidth=0.8)
    axes.set_yticks(rows, [result.name for result in results])
    axes.invert_yaxis()
    axes.set_xlabel(f'accepted, of {closures[0].matchable} revisits')
    axes.legend(fontsize=8)
