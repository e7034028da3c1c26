"""Fit a calibrator to answers that were judged, and what false closure rate it can promise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import beta

from vpr_ros.recognition.calibration import DIRECTION, PORTABLE, Calibrator, design, table
from vpr_ros.records import Signals

RIDGE = 1.0
CONFIDENCE = 0.95  # that no more is wrong than was promised
COUNT_STEP = 1.5  # bounds are taken at numbers of accepted answers this factor apart


def fit(
    signals: Sequence[Signals],
    right: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str] = PORTABLE,
    fingerprint: str = '',
    data: Sequence[str] = (),
    method: str = 'logistic',
) -> Calibrator:
    """Fit to answers that were judged; each weighs the same.

    Args:
        signals: of N answers.
        right: (N,) bool.
        groups: (N,) integer: which answers are held out together, for the bounds.
        names: of the signals to use; those that are never known or never differ are left out.
        fingerprint: of the model; empty: for any.
        data: what the answers are of, for the record.
        method: one of `calibration.METHODS`.

    Returns:
        With `bounds` of answers that were held out group by group, where there are two groups.
    """
    found = _fit(signals, right, names, method)
    if len(np.unique(groups)) > 1:
        probability = held_out(signals, right, groups, names, method)
    else:
        probability = found.probabilities(signals)
    return replace(
        found, bounds=bounds_of(probability, right), fingerprint=fingerprint, data=tuple(data)
    )


def held_out(
    signals: Sequence[Signals],
    right: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str] = PORTABLE,
    method: str = 'logistic',
) -> np.ndarray:
    """Probability (N,) of each answer from a fit to the answers of the other groups."""
    probability = np.empty(len(right))
    for group in np.unique(groups):
        out = np.flatnonzero(groups == group)
        others = np.flatnonzero(groups != group)
        found = _fit([signals[k] for k in others.tolist()], right[others], names, method)
        probability[out] = found.probabilities([signals[k] for k in out.tolist()])
    return probability


def _fit(
    signals: Sequence[Signals], right: np.ndarray, names: Sequence[str], method: str
) -> Calibrator:
    found = _logistic(signals, right, names)
    if method == 'logistic':
        return found
    return replace(found, knots=isotonic(found.log_odds(signals), right))


def _logistic(signals: Sequence[Signals], right: np.ndarray, names: Sequence[str]) -> Calibrator:
    rows = table(signals, names)
    keep = [k for k in range(rows.shape[1]) if _varies(rows[:, k])]
    names, rows = [names[k] for k in keep], rows[:, keep]
    mean, scale = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    known, x = design(rows, mean, scale)
    absent = np.asarray((~known).any(axis=0))
    features = np.hstack([x, (~known) * 1.0])
    limits: list[tuple[int | None, int | None]] = [
        (0, None) if DIRECTION[name] > 0 else (None, 0) for name in names
    ]
    limits += [(None, None) if some else (0, 0) for some in absent.tolist()]
    limits.append((None, None))
    found = minimize(
        _loss, np.zeros(features.shape[1] + 1), (features, right), jac=True, method='L-BFGS-B',
        bounds=limits,
    ).x  # fmt: skip
    count = len(names)
    return Calibrator(
        tuple(names), mean=tuple(mean.tolist()), scale=tuple(scale.tolist()),
        weight=tuple(found[:count].tolist()), missing=tuple(found[count:-1].tolist()),
        bias=float(found[-1]), bounds=(),
    )  # fmt: skip


def _varies(column: np.ndarray) -> bool:
    known = column[np.isfinite(column)]
    return len(known) > 0 and bool(known.std() > 0)


def _loss(w: np.ndarray, x: np.ndarray, right: np.ndarray) -> tuple[float, np.ndarray]:
    """Negative log likelihood with a ridge, and its gradient."""
    logit = x @ w[:-1] + w[-1]
    loss = (np.logaddexp(0.0, logit) - right * logit).sum() + 0.5 * RIDGE * w[:-1] @ w[:-1]
    slope = expit(logit) - right
    return float(loss), np.append(x.T @ slope + RIDGE * w[:-1], slope.sum())


def isotonic(log_odds: np.ndarray, right: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Isotonic regression by pooling adjacent violators (Zadrozny and Elkan 2002).

    With one wrong answer above all and one right below all that were seen: a few answers all
    right, or all wrong, do not make the next ones certain. Equal log odds are pooled.

    Args:
        log_odds: (N,), N of at least one.
        right: (N,) bool.

    Returns:
        Mean log odds and share of right answers of each pool, both rising.
    """
    odds, which = np.unique(log_odds, return_inverse=True)
    count = np.bincount(which).astype(float)
    hits = np.bincount(which, weights=right)
    count[0], hits[0] = count[0] + 1, hits[0] + 1
    count[-1] += 1
    pools: list[tuple[float, float, float]] = []  # answers, sum of log odds, right ones
    for pool in zip(count.tolist(), (count * odds).tolist(), hits.tolist(), strict=True):
        n, total, good = pool
        while pools and pools[-1][2] * n >= good * pools[-1][0]:
            before = pools.pop()
            n, total, good = n + before[0], total + before[1], good + before[2]
        pools.append((n, total, good))
    return tuple((total / n, good / n) for n, total, good in pools)


def bounds_of(probability: np.ndarray, right: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Upper bounds of the share of wrong answers above some probabilities (Clopper-Pearson).

    At numbers of accepted answers COUNT_STEP apart. All bounds hold together with CONFIDENCE
    (Bonferroni), so that one may pick among them.
    """
    order = np.argsort(-probability, kind='stable')
    accepted = np.arange(1, len(order) + 1)
    wrong = np.cumsum(~right[order])
    last = np.flatnonzero(np.append(np.diff(probability[order]) != 0, True))  # of equals all
    steps = int(math.log(len(order), COUNT_STEP)) + 1
    wanted = len(order) / COUNT_STEP ** np.arange(steps)
    rows = last[np.unique(np.searchsorted(accepted[last], wanted - 1e-9))]
    level = 1 - (1 - CONFIDENCE) / len(rows)
    upper = beta.ppf(level, wrong[rows] + 1, np.maximum(accepted[rows] - wrong[rows], 1e-9))
    upper = np.where(wrong[rows] == accepted[rows], 1.0, upper)
    pairs = [(float(probability[order][k]), float(u)) for k, u in zip(rows, upper, strict=True)]
    pairs.reverse()  # rising in probability
    return tuple(pairs)
