"""Whether probabilities keep their word, and what refusing the doubtful answers is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from vpr_ros.evaluation.bootstrap import LEVEL, block_weights
from vpr_ros.evaluation.theme import LIGHT, Theme, legend_below, new_figure, style

BINS = 10


@dataclass(frozen=True)
class Bins:
    """Answers sorted by probability and cut into B bins of equal mass."""

    probability: np.ndarray  # (B,) mean
    correct: np.ndarray  # (B,) share
    mass: np.ndarray  # (B,) share of all answers


@dataclass(frozen=True)
class Reliability:
    """Figures of M answers; the interval of the calibration error is of level LEVEL."""

    answers: int
    correct: float  # share
    ece: float
    ece_interval: tuple[float, float]
    brier: float
    aurc: float


def bins(
    probability: np.ndarray,
    correct: np.ndarray,
    count: int = BINS,
    weight: np.ndarray | None = None,
) -> Bins:
    """Cut answers into bins of equal mass; equal probabilities stay together.

    Args:
        probability: (M,) in [0, 1].
        correct: (M,), bool.
        count: of bins; fewer come out where many probabilities are equal.
        weight: (M,) of the answers, all 1 if not given.
    """
    weight = np.ones(len(correct)) if weight is None else weight
    order = np.argsort(probability, kind='stable')
    p, right, w = probability[order], correct[order].astype(float), weight[order].astype(float)
    _, level = np.unique(p, return_inverse=True)
    middle = (np.cumsum(w) - 0.5 * w) / w.sum()
    of_level = np.bincount(level, w * middle) / np.maximum(np.bincount(level, w), 1e-300)
    number = np.minimum((of_level * count).astype(int), count - 1)[level]
    mass = np.bincount(number, w)
    some = mass > 0
    mean, share = (np.bincount(number, w * x)[some] / mass[some] for x in (p, right))
    return Bins(mean, share, mass[some] / mass.sum())


def calibration_error(
    probability: np.ndarray,
    correct: np.ndarray,
    count: int = BINS,
    weight: np.ndarray | None = None,
) -> float:
    """Expected calibration error: mean distance of probability and share of right answers.

    Bins of equal mass. It is biased upwards: of M perfectly calibrated answers it is not 0, but
    of the order of sqrt(count / M) / 3.
    """
    cut = bins(probability, correct, count, weight)
    return float(cut.mass @ np.abs(cut.probability - cut.correct))


def risk_coverage(score: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share answered and share of wrong ones among them, (T,), accepting from the top score down.

    Equal scores are accepted together.
    """
    order = np.argsort(-score, kind='stable')
    wrong = np.cumsum(~correct[order])
    answered = np.arange(1, len(order) + 1)
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    return answered[last] / len(order), wrong[last] / answered[last]


def area_under_risk(score: np.ndarray, correct: np.ndarray) -> float:
    """AURC (Geifman and El-Yaniv 2017): mean risk over all coverages; smaller is better."""
    coverage, risk = risk_coverage(score, correct)
    return float(np.diff(coverage, prepend=0.0) @ risk)


def summarise(
    probability: np.ndarray,
    correct: np.ndarray,
    block: int = 1,
    replicates: int = 500,
    seed: int = 0,
) -> Reliability:
    """All figures of M answers, with a block bootstrap of the calibration error.

    Args:
        probability: (M,) in [0, 1].
        correct: (M,), bool.
        block: consecutive answers drawn together, see `bootstrap.default_block`.
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        calibration_error(probability, correct, weight=block_weights(len(correct), block, rng))
        for _ in range(replicates)
    ]
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)) if drawn else (0.0, 1.0)
    return Reliability(
        len(correct),
        float(correct.mean()),
        calibration_error(probability, correct),
        (float(low), float(high)),
        float(np.mean((probability - correct) ** 2)),
        area_under_risk(probability, correct),
    )


def reliability_diagram(
    curves: dict[str, tuple[np.ndarray, np.ndarray]], theme: Theme = LIGHT
) -> Figure:
    """Share of right answers over probability, a line for each named (probability, correct)."""
    with rc_context(style(theme)):
        figure, axes = new_figure(6.0, 5.6)
        dashes = (0, (4, 3))
        axes.plot((0, 1), (0, 1), color=theme.faint, linewidth=1.2, linestyle=dashes)
        for (name, (probability, correct)), colour in zip(
            curves.items(), colours(len(curves), theme), strict=True
        ):
            cut = bins(probability, correct)
            label = f'{name}, ECE {calibration_error(probability, correct):.3f}'
            axes.plot(
                cut.probability, cut.correct, marker='o', color=colour, linewidth=1.8, label=label
            )
        axes.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel='probability', ylabel='share of right answers'
        )
        legend_below(axes, 2)
    return figure


def risk_coverage_plot(
    curves: dict[str, tuple[np.ndarray, np.ndarray]], theme: Theme = LIGHT
) -> Figure:
    """Share of wrong answers over share answered, a line for each named (score, correct)."""
    with rc_context(style(theme)):
        figure, axes = new_figure(6.0, 5.6)
        for (name, (score, correct)), colour in zip(
            curves.items(), colours(len(curves), theme), strict=True
        ):
            label = f'{name}, AURC {area_under_risk(score, correct):.3f}'
            axes.plot(*risk_coverage(score, correct), color=colour, linewidth=1.8, label=label)
        axes.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel='share of queries answered',
            ylabel='share of wrong answers',
        )  # fmt: skip
        legend_below(axes, 2)
    return figure


def colours(count: int, theme: Theme) -> list[str]:
    """Colours that tell lines apart, the accent of the theme first."""
    known = [
        theme.accent, theme.wrong, theme.right, theme.missed, '#b07aa1', '#e0a030', '#2aa5a0',
        '#8c6d46', '#d774b8',
    ]  # fmt: skip
    return [known[number % len(known)] for number in range(count)]
