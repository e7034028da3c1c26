"""The figure of `benchmarks.loop_closing`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpr_ros.evaluation.theme import LIGHT, Theme, style

COLOURS = {'all believed': 'wrong', 'probability': 'missed', 'robust': 'accent', 'both': 'right'}
MARKS = {'all believed': 'X', 'probability': 's', 'robust': 'o', 'both': 'D'}


def draw(results: dict[str, dict[str, Any]], path: Path, theme: Theme = LIGHT) -> None:
    """Trajectories of the town from above, and the error over the share of false closures."""
    with matplotlib.rc_context(style(theme)):
        figure = Figure(figsize=(13.0, 4.9), dpi=150, layout='constrained')
        left, *others = figure.subplots(1, 1 + len(results), width_ratios=[1.25, 1, 1])
        _trajectories(left, results['town'], theme)
        for axes, (name, figures) in zip(others, results.items(), strict=True):
            _shares(axes, name, figures, theme)
        handles, names = others[0].get_legend_handles_labels()
        figure.legend(handles, names, loc='outside lower right', ncols=len(names))
        figure.savefig(path, facecolor=theme.paper)


def _trajectories(axes: Axes, figures: dict[str, Any], theme: Theme) -> None:
    paths, before, after = figures['paths'], figures['before_m'], figures['after_m']
    truth = np.array(paths['truth'])
    count = len(paths['before'][0])
    for part in (truth[:count], truth[count:]):
        axes.plot(*part.T, color=theme.ink, linewidth=5.0, alpha=0.22)
    axes.plot([], [], color=theme.ink, linewidth=5.0, alpha=0.22, label='truth')
    alone = ' and '.join(f'{before[k]:.1f}' for k in sorted(before) if k != 'together')
    for number, part in enumerate(paths['before']):
        label = f'odometry, each drive by itself: {alone} m' if not number else None
        axes.plot(*np.array(part).T, color=theme.wrong, linewidth=1.0, alpha=0.8, label=label)
    done = np.array(paths['after'])
    for number, part in enumerate((done[:count], done[count:])):
        label = f'loops closed, one frame: {after["together"]:.1f} m' if not number else None
        axes.plot(*part.T, color=theme.accent, linewidth=1.3, label=label)
    axes.set_aspect('equal', adjustable='datalim')
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(True, linewidth=0.7)
    axes.set(xlabel='x, m', ylabel='y, m')
    axes.set_title(
        f'town: {figures["length_m"] / 1000:.1f} km, {figures["closures"]} closures',
        fontsize=11, loc='left',
    )  # fmt: skip
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.13), ncols=1)


def _shares(axes: Axes, name: str, figures: dict[str, Any], theme: Theme) -> None:
    trials = figures['trials']
    x = np.arange(len(trials))
    for method, colour in COLOURS.items():
        values = [row[method]['ate_m'] for row in trials.values()]
        axes.plot(
            x, values, marker=MARKS[method], color=getattr(theme, colour), linewidth=1.6,
            markersize=6, label=method,
        )  # fmt: skip
    alone = [value for key, value in figures['before_m'].items() if key != 'together']
    axes.axhline(
        float(np.mean(alone)), color=theme.ink, linestyle=(0, (5, 3)), linewidth=1.2,
        label='odometry alone',
    )  # fmt: skip
    axes.set_yscale('log')
    axes.set_xticks(x, [f'{float(share):.0%}' for share in trials])
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(True, linewidth=0.7)
    axes.set(xlabel='closures replaced by false ones', ylabel='absolute trajectory error, m')
    axes.set_title(name, fontsize=11, loc='left')
