"""The figure of `benchmarks.loop_closing`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from vpr_ros.evaluation.theme import LIGHT, Theme, style

LOOKS = {  # colour, mark, its size, line; the last two lie over each other where they agree
    'all believed': ('wrong', 'X', 8, '-'),
    'probability': ('missed', 's', 7, '-'),
    'robust': ('accent', 'o', 10, '-'),
    'both': ('right', 'D', 5, (0, (2, 2))),
}


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
    for method, (colour, mark, size, line) in LOOKS.items():
        values = [row[method]['ate_m'] for row in trials.values()]
        axes.plot(
            x, values, marker=mark, color=getattr(theme, colour), linewidth=1.6, linestyle=line,
            markersize=size, label=method,
        )  # fmt: skip
    alone = [value for key, value in figures['before_m'].items() if key != 'together']
    axes.axhline(
        float(np.mean(alone)), color=theme.ink, linestyle=(0, (5, 3)), linewidth=1.2,
        label='odometry alone',
    )  # fmt: skip
    axes.set_yscale('log')
    ticks = [m * 10.0**e for e in range(-2, 4) for m in (1, 2, 5)]
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in ticks if low <= tick <= high])
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_locator(NullLocator())
    names = [f'{float(share):.0%}\n({row["injected"]:.0f})' for share, row in trials.items()]
    axes.set_xticks(x, names)
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(True, linewidth=0.7)
    axes.set(
        xlabel='false closures put in',
        ylabel='absolute trajectory error, m',
    )
    axes.set_title(
        f'{name}: {figures["closures"]} closures, {figures["false_found"]} of them false',
        fontsize=11, loc='left',
    )  # fmt: skip
