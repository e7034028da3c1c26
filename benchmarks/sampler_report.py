"""Tables and a plot of what `benchmarks/sampler.py` measured; also run by itself: OUT."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

LEVEL = 0.95
BASE = 'places'
Runs = dict[str, dict[int, dict]]


def read_runs(out: Path) -> Runs:
    """Results by variant and seed."""
    runs: Runs = {}
    for path in sorted(out.glob('runs/*/result.json')):
        record = json.loads(path.read_text())
        runs.setdefault(record['variant'], {})[record['seed']] = record
    return runs


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of Student's interval."""
    if len(values) < 2:
        return float(values.mean()), float('nan')
    spread = stats.sem(values) * stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
    return float(values.mean()), float(spread)


def measures(record: dict) -> dict[str, float]:
    """Every figure of a run by its name."""
    found = {f'town {name}': value for name, value in record['town'].items()}
    for name, row in record['real'].items():
        found |= {f'{name} {measure}': value for measure, value in row.items()}
    real = [next(iter(row.values())) for row in record['real'].values()]
    return {**found, 'mean of the real sets': float(np.mean(real))}


def collected(runs: Runs) -> dict[str, dict[str, dict[int, float]]]:
    """Values by measure, variant and seed."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for variant, seeds in runs.items():
        for seed, record in seeds.items():
            for name, value in measures(record).items():
                found.setdefault(name, {}).setdefault(variant, {})[seed] = value
    return found


def difference(values: dict[str, dict[int, float]], one: str, other: str) -> tuple[float, float]:
    """Mean and half width of the difference of two variants, paired by seed."""
    seeds = sorted(values[one].keys() & values[other].keys())
    return interval(np.array([values[one][s] - values[other][s] for s in seeds]))


def report(out: Path, console: Console) -> None:
    """Print the tables, and write `sampler.json` and `sampler.png`."""
    runs = read_runs(out)
    found = collected(runs)
    variants = list(runs)
    seeds = {variant: len(runs[variant]) for variant in variants}
    table = Table('measure', *(f'{v} ({seeds[v]})' for v in variants), title='mean and interval')
    apart = Table('measure', *(v for v in variants if v != BASE), title=f'difference to {BASE}')
    summary: dict[str, dict] = {}
    for name, values in found.items():
        cells, other = [], []
        for variant in variants:
            mean, half = interval(np.array(list(values[variant].values())))
            cells.append(f'{mean:.3f} ± {half:.3f}')
            summary.setdefault(name, {})[variant] = {'mean': mean, 'half': half}
            if variant != BASE and BASE in values:
                mean, half = difference(values, variant, BASE)
                star = '*' if abs(mean) > half else ''
                other.append(f'{mean:+.3f} ± {half:.3f}{star}')
                summary[name][variant]['to_base'] = {'mean': mean, 'half': half}
        table.add_row(name, *cells)
        apart.add_row(name, *other)
    console.print(table)
    console.print(apart)
    for variant in variants:
        rows = runs[variant].values()
        seconds, pairs = (np.mean([r[k] for r in rows]) for k in ('seconds', 'active_pairs'))
        console.print(f'{variant}: {seconds:.0f} s a run, {pairs:.0f} active pairs a batch')
    (out / 'sampler.json').write_text(json.dumps(summary, indent=1))
    plot(runs, found, out / 'sampler.png')


def plot(runs: Runs, found: dict, path: Path) -> None:
    """Recall over the steps, and the final figures with their intervals."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout='constrained')
    for index, (variant, seeds) in enumerate(runs.items()):
        steps = sorted(int(step) for step in next(iter(seeds.values()))['curve'])
        rows = np.array([[r['curve'][str(step)]['R@1'] for step in steps] for r in seeds.values()])
        colour = f'C{index}'
        left.plot(steps, rows.mean(axis=0), '.-', color=colour, label=variant)
        left.fill_between(steps, rows.min(axis=0), rows.max(axis=0), color=colour, alpha=0.1)
        for row, name in enumerate(('town R@1', 'town AP', 'mean of the real sets')):
            mean, half = interval(np.array(list(found[name][variant].values())))
            x = row + (index - len(runs) / 2) * 0.09
            right.errorbar(x, mean, half, fmt='o', color=colour, capsize=2, markersize=4)
    left.set(xlabel='steps', ylabel='recall@1, unseen town', title='while training (range)')
    left.legend(fontsize=8)
    right.set_xticks(range(3), ['town R@1', 'town AP', 'real sets, mean'])
    right.set(title=f'at the end, {LEVEL:.0%} intervals over seeds')
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    report(Path(sys.argv[1]), Console())
