"""What people see: one console, progress bars on a terminal and plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

LOG_PERIOD_S = 10.0
SHOWN_LOSSES = 5
ENDLESS = 10_000  # characters

console = Console(highlight=False, soft_wrap=True)

Report = Callable[[int, int], None]


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """Show how far something is; the yielded function takes items done and items in all."""
    if not console.is_terminal:
        yield _log_lines(what)
        return
    columns = (
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn('{task.fields[note]}'),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None, note='')
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_table(table: Table, told: Console = console) -> None:
    """Print a table whole on any terminal.

    What does not fit is continued below. Columns that do not wrap are those of figures: they
    make lines longer than the terminal's instead, for half a figure is another figure.
    """
    endless = told.options.update(max_width=ENDLESS)
    figures = any(column.no_wrap for column in table.columns)
    for column in table.columns:
        column.overflow = 'fold'
        if figures:
            sizes = [Measurement.get(told, endless, x) for x in (column.header, *column.cells)]
            column.min_width = max(x.maximum if column.no_wrap else x.minimum for x in sizes)
    least = Measurement.get(told, endless, table).minimum if figures else 0
    Console(file=told.file, width=max(told.width, least), highlight=False).print(table)


def show_losses(losses: Sequence[str]) -> None:
    """Say what of a recording was lost: the first few in words, the rest as a number."""
    for loss in losses[:SHOWN_LOSSES]:
        console.print(f'[yellow]lost[/] {escape(loss)}')
    if len(losses) > SHOWN_LOSSES:
        console.print(f'[yellow]lost[/] {len(losses) - SHOWN_LOSSES} more')


def _log_lines(what: str) -> Report:
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LOG_PERIOD_S:
            last = now
            console.print(f'{what}: {done} of {total}')

    return report
