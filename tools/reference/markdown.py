"""Tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table, and an empty one after it."""
    yield f'| {" | ".join(head)} |'
    yield f'|{" --- |" * len(head)}'
    for row in rows:
        cells = (cell.replace('|', '\\|') for cell in row)
        yield f'| {" | ".join(cells)} |'
    yield ''
