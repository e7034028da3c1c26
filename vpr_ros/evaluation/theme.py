"""How every figure looks: colours for light and dark pages, and the marks of outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpr_ros.evaluation.events import Outcome, outcomes
from vpr_ros.evaluation.result import Evaluation


@dataclass(frozen=True)
class Theme:
    """Colours of one kind of page; right and wrong also differ by shape."""

    name: str
    paper: str
    ink: str
    faint: str
    line: str
    accent: str
    right: str
    wrong: str
    missed: str


LIGHT = Theme(
    'light', '#ffffff', '#1c2330', '#68707d', '#dfe3e8', '#2463b4', '#12833f', '#d32f1f', '#949ba6'
)
DARK = Theme(
    'dark', '#181c22', '#e8ebf0', '#98a1ae', '#323943', '#74aef5', '#4cc476', '#ff6f5e', '#828b98'
)
LOOK: dict[Outcome, tuple[str, str, str]] = {
    Outcome.RIGHT: ('o', 'right', 'accepted, right'),
    Outcome.WRONG: ('X', 'wrong', 'accepted, wrong'),
    Outcome.IGNORED: ('s', 'accent', 'accepted, not judged'),
    Outcome.MISSED: ('o', 'missed', 'revisit missed'),
}


def new_figure(width: float = 6.4, height: float = 5.0) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes; call it inside the style of a theme."""
    figure = Figure(figsize=(width, height), dpi=150, layout='constrained')
    axes = figure.add_subplot()
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(True, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def style(theme: Theme) -> Any:
    """Settings of matplotlib in the colours of a theme."""
    return {
        'font.size': 11,
        'axes.facecolor': theme.paper,
        'figure.facecolor': theme.paper,
        'axes.edgecolor': theme.line,
        'axes.labelcolor': theme.faint,
        'xtick.color': theme.faint,
        'ytick.color': theme.faint,
        'grid.color': theme.line,
        'text.color': theme.ink,
        'legend.frameon': False,
        'legend.fontsize': 9.5,
        'lines.solid_capstyle': 'round',
    }


def scatter(
    axes: Axes, x: np.ndarray, y: np.ndarray, evaluation: Evaluation, theme: Theme
) -> None:
    """One mark for each query that is not silent."""
    outcome = outcomes(evaluation.answers)
    size = 34 * min(1.0, (400 / max(len(x), 1)) ** 0.5)  # many queries, small marks
    for kind in (Outcome.MISSED, Outcome.IGNORED, Outcome.RIGHT, Outcome.WRONG):
        marker, colour, text = LOOK[kind]
        rows, tone = outcome == kind, getattr(theme, colour)
        if not rows.any():
            continue
        hollow = kind is Outcome.MISSED
        axes.scatter(
            x[rows],
            y[rows],
            s=2 * size if kind is Outcome.WRONG else size,
            marker=marker,
            facecolor='none' if hollow else tone,
            edgecolor=tone if hollow else theme.paper,
            linewidth=(1.3 if hollow else 0.6) * size / 34,
            zorder=3 + int(kind is Outcome.WRONG),
            label=f'{text} ({int(rows.sum())})',
        )


def draw_threshold(axes: Axes, evaluation: Evaluation, theme: Theme, vertical: bool) -> None:
    threshold = evaluation.acceptance.threshold
    if threshold is not None:
        draw = axes.axvline if vertical else axes.axhline
        draw(threshold, color=theme.ink, linewidth=1.3, linestyle=(0, (5, 3)))


def legend_below(axes: Axes, columns: int) -> None:
    """A legend under the axes, where it hides nothing."""
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.11), ncols=columns)
