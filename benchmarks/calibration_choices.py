"""Which signals and which method a calibrator should use: chosen inside the sets, told outside.

    python benchmarks/calibration_choices.py CACHE

CACHE is what benchmarks/calibration.py has left there. For each choice of signals, every set is
predicted from a fit to the others: calibration error over all answers and its mean over the sets,
log loss, area under the risk-coverage curve, and the least false closure rate that can be
promised. In the rows `chosen inside` the signals are those with the least log loss, mean over the
sets, when each of the other sets is left out in turn; the set itself plays no part in that, and
agreement, which depends on the frame rate, is not to be chosen. With `known share` the log odds of
each set are shifted so that their mean is what it should be: what is lost by not knowing it.
Below that the methods of `vpr calibrate` are compared on each drive by itself: five stretches,
each predicted from the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from calibration import SIGNALS
from rich.console import Console
from rich.table import Table
from scipy.optimize import brentq
from scipy.special import expit, logit

from vpr_ros.evaluation.calibrate import BLOCKS, LEAST_RIGHT, LEAST_WRONG
from vpr_ros.evaluation.reliability import area_under_risk, calibration_error
from vpr_ros.recognition.calibration import DIRECTION, METHODS
from vpr_ros.recognition.fitting import bounds_of, fit, held_out
from vpr_ros.records import Signals
from vpr_ros.threads import share_the_processor

SIMILARITY: tuple[tuple[str, ...], ...] = (
    ('z_score',), ('gap',), ('z_score', 'gap'), ('z_score', 'gap', 'agreement'),
)  # fmt: skip
VERIFIED: tuple[tuple[str, ...], ...] = (
    ('z_score', 'gap', 'inliers'), ('z_score', 'gap', 'inlier_ratio'), ('margin',),
    ('z_score', 'margin'), ('gap', 'margin'), ('z_score', 'gap', 'margin'),
    ('z_score', 'gap', 'inliers', 'margin'), ('z_score', 'gap', 'margin', 'agreement'),
)  # fmt: skip
DEFAULTS = tuple(SIGNALS.values())
LEAST = 1e-4  # probability in the log loss


class Answers:
    """Signals, right or wrong (N,), and the set (N,) and the drive (N,) of cached answers."""

    def __init__(self, cache: Path) -> None:
        self.signals: list[Signals] = []
        right, sets, drives = [], [], []
        for path in sorted(cache.glob('*.json')):
            of = path.stem.partition(' ')[2]
            for one, correct in json.loads(path.read_text()):
                self.signals.append(Signals(**one))
                right.append(correct)
                sets.append('town' if of.startswith('town ') else of)
                drives.append(path.stem)
        self.right, self.sets, self.drives = map(np.array, (right, sets, drives))
        self.set_numbers = np.unique(self.sets, return_inverse=True)[1]

    def where(self, some: np.ndarray) -> list[Signals]:
        return [self.signals[row] for row in np.flatnonzero(some).tolist()]


def log_loss(probability: np.ndarray, right: np.ndarray) -> float:
    """Mean negative log likelihood."""
    told = np.clip(np.where(right, probability, 1 - probability), LEAST, 1)
    return float(-np.log(told).mean())


def over_sets(
    measure: Callable[[np.ndarray, np.ndarray], float], probability: np.ndarray, answers: Answers
) -> float:
    """Mean over the sets."""
    return float(
        np.mean(
            [
                measure(probability[answers.sets == name], answers.right[answers.sets == name])
                for name in np.unique(answers.sets)
            ]
        )
    )


def chosen_inside(answers: Answers, choices: tuple[tuple[str, ...], ...]) -> np.ndarray:
    """Probability (N,): of each set with the signals that are best among the others."""
    probability = np.empty(len(answers.right))
    for name in np.unique(answers.sets):
        others, out = answers.sets != name, answers.sets == name
        signals, right, sets = answers.where(others), answers.right[others], answers.sets[others]

        def loss(names: tuple[str, ...], given=(signals, right, sets)) -> float:
            signals, right, sets = given
            told = held_out(signals, right, np.unique(sets, return_inverse=True)[1], names)
            return float(np.mean([log_loss(told[sets == s], right[sets == s]) for s in set(sets)]))

        best = min((names for names in choices if 'agreement' not in names), key=loss)
        print(f'without {name}: {", ".join(best)}')
        found = fit(signals, right, np.zeros(len(right), int), best)
        probability[out] = found.probabilities(answers.where(out))
    return probability


def with_known_share(told: np.ndarray, answers: Answers) -> np.ndarray:
    """Probability (N,) with the log odds of each set shifted to its share of right answers."""
    shifted = np.empty(len(told))
    for name in np.unique(answers.sets):
        some = answers.sets == name
        share = np.clip(answers.right[some].mean(), LEAST, 1 - LEAST)
        odds = logit(np.clip(told[some], LEAST, 1 - LEAST))
        shift = brentq(lambda b, x=odds, m=share: expit(x + b).mean() - m, -30, 30)
        shifted[some] = expit(odds + shift)
    return shifted


def signal_table(answers: Answers) -> Table:
    table = Table('signals', 'ECE', 'mean over sets', 'log loss', 'mean', 'AURC', 'least rate')

    def add(label: str, told: np.ndarray) -> None:
        table.add_row(
            label, f'{calibration_error(told, answers.right):.3f}',
            f'{over_sets(calibration_error, told, answers):.3f}',
            f'{log_loss(told, answers.right):.3f}', f'{over_sets(log_loss, told, answers):.3f}',
            f'{area_under_risk(told, answers.right):.3f}',
            f'{min(rate for _, rate in bounds_of(told, answers.right)):.3f}',
        )  # fmt: skip

    for choices in (SIMILARITY, VERIFIED):
        for names in choices:
            told = held_out(answers.signals, answers.right, answers.set_numbers, names)
            add(', '.join(names), told)
        add('chosen inside', chosen_inside(answers, choices))
    for names in DEFAULTS:
        told = held_out(answers.signals, answers.right, answers.set_numbers, names)
        add(', '.join(names) + '; known share', with_known_share(told, answers))
        told = held_out(answers.signals, answers.right, answers.set_numbers, names, 'isotonic')
        add(', '.join(names) + '; isotonic', told)
    return table


def method_table(answers: Answers) -> Table:
    """Mean over the drives that `vpr calibrate` would take."""
    table = Table('method', 'drives', 'ECE', 'Brier', 'log loss', 'AURC')
    enough = [
        drive for drive in np.unique(answers.drives)
        if answers.right[answers.drives == drive].sum() >= LEAST_RIGHT
        and (~answers.right[answers.drives == drive]).sum() >= LEAST_WRONG
    ]  # fmt: skip
    without = tuple(name for name in DIRECTION if name != 'margin')
    rows = [(method, method, tuple(DIRECTION)) for method in METHODS]
    for label, method, names in [*rows, ('logistic, without the margin', 'logistic', without)]:
        figures = []
        for drive in enough:
            some = answers.drives == drive
            right = answers.right[some]
            blocks = np.arange(len(right)) * BLOCKS // len(right)
            told = held_out(answers.where(some), right, blocks, names, method)
            brier = float(np.mean((told - right) ** 2))
            figures.append(
                (calibration_error(told, right), brier, log_loss(told, right),
                 area_under_risk(told, right))
            )  # fmt: skip
        table.add_row(label, str(len(enough)), *(f'{x:.3f}' for x in np.mean(figures, axis=0)))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('cache', type=Path, help='folder of benchmarks/calibration.py --cache')
    share_the_processor()
    answers = Answers(parser.parse_args().cache)
    console = Console(width=120)
    console.print(signal_table(answers))
    console.print(method_table(answers))
    return 0


if __name__ == '__main__':
    sys.exit(main())
