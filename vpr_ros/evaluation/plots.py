"""Figures of the scores, and the table of all figures of a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vpr_ros.evaluation.bootstrap import GRID, LEVEL
from vpr_ros.evaluation.drive_plots import matrix, timeline, trajectory
from vpr_ros.evaluation.precision_recall import Curve, average_precision
from vpr_ros.evaluation.result import Evaluation, thinned
from vpr_ros.evaluation.theme import Theme, draw_threshold, legend_below, new_figure, style


def precision_recall(evaluation: Evaluation, theme: Theme) -> Figure | None:
    """Precision over recall with its band, and the point at which answers were accepted."""
    if not evaluation.single_best.positives:
        return None
    figure, axes = new_figure()
    if evaluation.bootstrap is not None:
        low, high = evaluation.bootstrap.band_low, evaluation.bootstrap.band_high
        label = f'{100 * LEVEL:.0f} % interval'
        axes.fill_between(GRID, low, high, color=theme.accent, alpha=0.16, lw=0, label=label)
    if evaluation.multi_match_curve is not None:
        dashed = {'color': theme.missed, 'linewidth': 1.4, 'linestyle': (0, (4, 2))}
        draw_curve(axes, evaluation.multi_match_curve, 'all pairs', dashed)
    solid = {'color': theme.accent, 'linewidth': 2.2}
    draw_curve(axes, evaluation.single_best_curve, 'best match', solid)
    mark_operating_point(axes, evaluation, theme)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel='recall', ylabel='precision')
    legend_below(axes, 2)
    return figure


def draw_curve(axes: Axes, points: Curve, name: str, look: dict[str, Any]) -> None:
    area = average_precision(points)
    if area is not None:
        some = thinned(points)
        recall, precision = points.recall[some], points.precision[some]
        axes.plot(recall, precision, label=f'{name}, AP {area:.2f}', **look)


def mark_operating_point(axes: Axes, evaluation: Evaluation, theme: Theme) -> None:
    closures = evaluation.closures
    if closures.precision is None or closures.recall is None:
        return
    threshold = evaluation.acceptance.threshold
    label = 'accepted' if threshold is None else f'accepted, similarity ≥ {threshold:.3f}'
    if evaluation.acceptance.hindsight:
        label += ' (hindsight)'
    axes.plot(
        closures.recall,
        closures.precision,
        marker='o',
        markersize=10,
        color=theme.ink,
        markerfacecolor=theme.paper,
        markeredgewidth=2.2,
        linestyle='',
        clip_on=False,
        zorder=5,
        label=label,
    )


def recall(evaluation: Evaluation, theme: Theme) -> Figure | None:
    """Recall@K over the queries that have a right answer."""
    table = evaluation.recall
    if not table.matchable or not table.ks:
        return None
    figure, axes = new_figure()
    shares = [share or 0.0 for share in table.of_matchable]
    places = np.arange(len(shares))
    bars = axes.bar(places, shares, width=0.62, color=theme.accent)
    labels = [
        f'{share:.1%}\n{found} of {table.matchable}'
        for share, found in zip(shares, table.found, strict=True)
    ]
    axes.bar_label(bars, labels, padding=4, fontsize=9.5, color=theme.ink)
    axes.set_xticks(places, [f'K = {k}' for k in table.ks])
    axes.grid(visible=False, axis='x')
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(ylim=(0, 1.15), ylabel='share of queries that have a right answer')
    axes.set_yticks(np.linspace(0, 1, 6))
    return figure


def similarities(evaluation: Evaluation, theme: Theme) -> Figure | None:
    """Histogram of the best similarity: right, wrong, and where nothing could be right."""
    answers, ranking = evaluation.answers, evaluation.evidence.ranking
    judged = ranking.answered & ~answers.ignored
    if not judged.any():
        return None
    figure, axes = new_figure()
    groups = (
        ('right', theme.right, answers.correct),
        ('wrong, a right one existed', theme.wrong, ~answers.correct & answers.has_positive),
        ('never seen before', theme.missed, ~answers.has_positive),
    )
    score = ranking.similarities[:, 0]
    bins = min(40, max(10, int(judged.sum()) // 8))
    low, high = float(score[judged].min()), float(score[judged].max())
    edges = np.linspace(low, max(high, low + 0.01), bins + 1).tolist()
    for label, colour, group in groups:
        values = score[judged & group]
        if len(values):
            text = f'{label} ({len(values)})'
            axes.hist(values, edges, color=colour, alpha=0.22, histtype='stepfilled')
            axes.hist(values, edges, color=colour, histtype='step', linewidth=1.8, label=text)
    draw_threshold(axes, evaluation, theme, vertical=True)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel='similarity of the best match', ylabel='queries')
    legend_below(axes, 3)
    return figure


PLOTS: dict[str, tuple[str, Callable[[Evaluation, Theme], Figure | None]]] = {
    'trajectory': ('The drive from above', trajectory),
    'precision_recall': ('Precision and recall', precision_recall),
    'timeline': ('Along the drive', timeline),
    'recall': ('Recall@K: a right answer among the first K', recall),
    'similarities': ('Similarity of right and wrong matches', similarities),
    'matrix': ('Every pair', matrix),
}


def draw(name: str, evaluation: Evaluation, theme: Theme) -> Figure | None:
    """Draw one of PLOTS; None where the evaluation holds nothing to draw."""
    with rc_context(style(theme)):
        return PLOTS[name][1](evaluation, theme)
