"""A picture of a speed table: bars of every model beside what it is compared with."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from vpr_ros.evaluation.speed_record import Row, Speed, digits
from vpr_ros.evaluation.theme import LIGHT, new_figure, style

SUFFIXES = ('.png', '.svg', '.pdf')
BAR_INCHES = 0.34
BETWEEN = 0.9  # models, in bars
LOG_FROM = 15.0  # ratio of the longest to the shortest bar that a linear axis no longer shows
EAGER, AUTHORS = 'same network in plain torch, fp32', "authors' code, fp32"
COLOURS = {
    EAGER: '#b9bfc9', AUTHORS: '#6b7280',
    'fp32': '#9dbde6', 'bf16': '#2463b4', 'fp16': '#1f8f8a',
}  # fmt: skip
OTHER = '#7a3fa0'


class Bar(NamedTuple):
    kind: str  # a key of COLOURS, or another precision
    ms: float  # for one image
    label: str


def draw_speed(speed: Speed, suffix: str = '.png') -> bytes:
    """Draw the time that the network takes for one image, the preprocessing left out.

    Args:
        speed: a run with at least one row.
        suffix: of the file, one of SUFFIXES.

    Returns:
        The bytes of the file.
    """
    groups: dict[str, list[Row]] = {}
    for row in speed.rows:
        groups.setdefault(title(row), []).append(row)
    count = sum(len(bars(rows)) for rows in groups.values()) + BETWEEN * len(groups)
    with rc_context(style(LIGHT)):
        figure, axes = new_figure(9.0, 1.6 + BAR_INCHES * count)
        draw_groups(axes, {name: bars(rows) for name, rows in groups.items()})
        axes.set_xlabel(
            'milliseconds an image, network alone; x: speed over the top bar of a group'
        )
        known = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        names = sorted(known, key=[*COLOURS, *known].index)
        handles, above = [known[n] for n in names], (0.5, 1.0)
        axes.legend(handles, names, loc='lower center', bbox_to_anchor=above, ncols=2)
        file = io.BytesIO()
        figure.savefig(file, format=suffix.removeprefix('.'))
    return file.getvalue()


def title(row: Row) -> str:
    """What the rows of a group of bars have in common."""
    where = row.gpu.get('gpu', row.device)
    return f'{row.model}\n{row.size[0]}x{row.size[1]}, batch {row.batch}, {where}'


def bars(rows: Sequence[Row]) -> list[Bar]:
    """Bars of one group; each but the first says how many times as fast as the first it is."""
    batch, figures = rows[0].batch, [row.figures for row in rows]
    found = [(EAGER, figures[0].eager_fp32_ms)]
    if figures[0].authors_ms is not None:
        found.insert(0, (AUTHORS, figures[0].authors_ms))
    found += [(row.precision, row.figures.network_ms) for row in rows]
    first = found[0][1]
    labels = ['', *(f', {first / ms:.1f} x' for _, ms in found[1:])]
    return [
        Bar(kind, ms / batch, f'{digits(ms / batch)} ms{label}')
        for (kind, ms), label in zip(found, labels, strict=True)
    ]


def draw_groups(axes: Axes, groups: dict[str, list[Bar]]) -> None:
    """Draw groups of bars from top to bottom."""
    place, ticks, seen = 0.0, [], set()
    for found in groups.values():
        ticks.append(place + (len(found) - 1) / 2)
        for bar in found:
            name = None if bar.kind in seen else bar.kind
            seen.add(bar.kind)
            colour = COLOURS.get(bar.kind, OTHER)
            drawn = axes.barh(place, bar.ms, height=0.84, color=colour, label=name)
            axes.bar_label(drawn, [bar.label], padding=4, fontsize=9)
            place += 1
        place += BETWEEN
    axes.set_yticks(ticks, list(groups), fontsize=9.5, color=LIGHT.ink)
    axes.margins(y=0.02)
    axes.invert_yaxis()
    axes.grid(visible=False, axis='y')
    axes.tick_params(axis='y', length=0)
    fit(axes, [bar.ms for found in groups.values() for bar in found])


def fit(axes: Axes, ms: Sequence[float]) -> None:
    """Choose an axis on which every bar and its label can be seen."""
    low, high = min(ms), max(ms)
    if high < LOG_FROM * low:
        axes.set_xlim(0, 1.25 * high)
        return
    axes.set_xscale('log')
    left = 10.0 ** math.floor(math.log10(low) - 0.2)
    axes.set_xlim(left, high * (high / left) ** 0.22)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axes.xaxis.set_minor_formatter(NullFormatter())
