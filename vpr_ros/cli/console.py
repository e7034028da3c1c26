"""What people see: one console, progress bars on a terminal and plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG_PERIOD_S = 10.0
SHOWN_LOSSES = 5

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
