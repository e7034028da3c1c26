"""Figures of a drive: along its time, from above, and every pair of its images."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from vpr_ros.evaluation.events import Outcome, events, outcomes
from vpr_ros.evaluation.result import Evaluation
from vpr_ros.evaluation.theme import LOOK, Theme, draw_threshold, legend_below, new_figure, scatter

LEAST_SPAN = 0.1  # of an axis of similarities
MAX_MATRIX = 2000  # rows and columns; a larger table of similarities is not drawn


def timeline(evaluation: Evaluation, theme: Theme) -> Figure | None:
    """Best similarity along the drive; revisits are shaded."""
    evidence, answers = evaluation.evidence, evaluation.answers
    stamps = evidence.queries.stamps_ns
    if stamps is None or not evidence.ranking.answered.any():
        return None
    figure, axes = new_figure(13.0, 3.6)
    along = (stamps - stamps[0]) / 1e9
    half = float(np.median(np.diff(along))) / 2 if len(along) > 1 else 0.5
    for number, (first, last) in enumerate(events(answers.has_positive)):
        label = 'revisit (truth)' if number == 0 else None
        axes.axvspan(
            along[first] - half, along[last] + half, color=theme.right, alpha=0.1, label=label
        )
    score = np.where(evidence.ranking.answered, evidence.ranking.similarities[:, 0], np.nan)
    axes.plot(along, score, color=theme.missed, linewidth=1.0, alpha=0.7)
    scatter(axes, along, score, evaluation, theme)
    draw_threshold(axes, evaluation, theme, vertical=False)
    axes.set(xlabel='time of the drive, s', ylabel='similarity of the best match')
    axes.margins(x=0.01)
    show_no_rounding(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc='upper left', bbox_to_anchor=(1.0, 1.0))
    return figure


def show_no_rounding(axes: Axes) -> None:
    """A drive in a map of itself is all of one similarity: its rounding is no news."""
    low, high = axes.get_ylim()
    if high - low < LEAST_SPAN:
        middle = (low + high) / 2
        axes.set_ylim(middle - LEAST_SPAN / 2, middle + LEAST_SPAN / 2)


def trajectory(evaluation: Evaluation, theme: Theme) -> Figure | None:
    """The drive from above: where closures were accepted, and where revisits were missed."""
    evidence = evaluation.evidence
    ours, theirs = evidence.queries.positions_m, evidence.references.positions_m
    if ours is None or theirs is None:
        return None
    figure, axes = new_figure()
    extent = np.ptp(np.concatenate((ours, theirs)), axis=0)
    flat = [0, 1 if extent[1] >= extent[2] else 2]  # poses of a camera have their height in y
    if theirs is not ours:
        label = 'references'
        axes.plot(*theirs[:, flat].T, color=theme.accent, linewidth=1.3, label=label)
    axes.plot(*ours[:, flat].T, color=theme.missed, linewidth=1.3, label='queries')
    wrong = np.flatnonzero(outcomes(evaluation.answers) == Outcome.WRONG)
    for row in wrong:
        ends = np.stack((ours[row], theirs[evidence.ranking.indices[row, 0]]))[:, flat]
        axes.plot(*ends.T, color=theme.wrong, linewidth=1.0, alpha=0.55, zorder=2)
    scatter(axes, ours[:, flat[0]], ours[:, flat[1]], evaluation, theme)
    axes.set_aspect('equal', adjustable='datalim')
    axes.set(xlabel=f'{"xyz"[flat[0]]}, m', ylabel=f'{"xyz"[flat[1]]}, m')
    legend_below(axes, 3)
    return figure


def matrix(evaluation: Evaluation, theme: Theme) -> Figure | None:
    """Similarity of every admissible pair, with the truth beside it."""
    table, truth = evaluation.evidence.similarity, evaluation.evidence.truth
    if table is None or max(table.shape) > MAX_MATRIX or not truth.admissible.any():
        return None
    figure = Figure(figsize=(13.0, 5.6), dpi=150, layout='constrained')
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    hidden = ~truth.admissible
    shown = np.where(hidden, np.nan, table)
    ramp = LinearSegmentedColormap.from_list('ramp', [theme.line, theme.accent, theme.ink])
    low, high = np.nanquantile(shown, (0.01, 0.999))
    drawn = left.imshow(shown, cmap=ramp, vmin=low, vmax=high, interpolation='nearest')
    figure.colorbar(drawn, ax=left, shrink=0.85, label='similarity').outline.set_visible(False)
    kinds = np.where(hidden, np.nan, truth.positive + 0.5 * truth.ignored)
    tones = LinearSegmentedColormap.from_list('truth', [theme.line, theme.missed, theme.right])
    right.imshow(kinds, cmap=tones, vmin=0, vmax=1, interpolation='nearest')
    meaning = 'right in green, ignored in grey' if truth.ignored.any() else 'right in green'
    for axes, title in ((left, 'similarity'), (right, f'truth: {meaning}')):
        axes.set_title(title, fontsize=11, color=theme.ink, loc='left')
        axes.set(xlabel='reference', ylabel='query')
        axes.spines[:].set_color(theme.line)
    mark_accepted(right, evaluation, theme)
    return figure


def mark_accepted(axes: Axes, evaluation: Evaluation, theme: Theme) -> None:
    """Accepted closures as marks on the table of truth."""
    outcome = outcomes(evaluation.answers)
    best = evaluation.evidence.ranking.indices[:, 0]
    for kind in (Outcome.RIGHT, Outcome.WRONG):
        marker, colour, text = LOOK[kind]
        rows = np.flatnonzero(outcome == kind)
        if len(rows):
            tone = getattr(theme, colour)
            axes.scatter(
                best[rows], rows, s=26, marker=marker, facecolor=theme.paper, edgecolor=tone,
                linewidth=1.4, label=text,
            )  # fmt: skip
            axes.legend(loc='upper right')
