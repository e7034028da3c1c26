"""From signals to the probability that the best candidate is right."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import beta

from vpr_ros.errors import MapError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.records import Signals

FORMAT = 'vpr_ros calibrator 1'
# Which way each signal may move the probability: a wrong sign would be chance in the data.
DIRECTION = {
    'similarity': 1, 'z_score': 1, 'gap': 1, 'spread': -1, 'local': 1, 'inliers': 1,
    'inlier_ratio': 1, 'support': 1, 'agreement': 1,
}  # fmt: skip
PORTABLE = tuple(name for name in DIRECTION if name != 'similarity')  # across models
RIDGE = 1.0
CONFIDENCE = 0.95  # that no more is wrong than was promised
COUNT_STEP = 1.5  # bounds are taken at numbers of accepted answers this factor apart
DEFAULT, VERIFIED = 'calibration.json', 'calibration_verified.json'


@dataclass(frozen=True)
class Calibrator:
    """Logistic regression on standardised signals; a signal that is not known says nothing.

    `bounds` are pairs of a probability and the largest share of wrong answers among those above it
    that the data are compatible with, rising in the probability.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    missing: tuple[float, ...]  # added where a signal is not known
    bias: float
    bounds: tuple[tuple[float, float], ...]
    fingerprint: str = ''  # of the model; empty: of none
    data: tuple[str, ...] = ()  # what it was fitted on

    def probability(self, signals: Signals) -> float:
        """That the best candidate is right, in (0, 1)."""
        rows = table([signals], self.names)
        return float(expit(self._logit(rows))[0])

    def _logit(self, rows: np.ndarray) -> np.ndarray:
        known, x = design(rows, np.array(self.mean), np.array(self.scale))
        return x @ np.array(self.weight) + (~known) @ np.array(self.missing) + self.bias

    def threshold_for(self, max_false_closure_rate: float) -> float:
        """Least probability at which no more than this share of what is accepted is wrong.

        With 95 % confidence for answers like those of the fit, were they independent, which
        neighbouring frames are not: 1 % takes some 300 answers without a wrong one. Above 1, so
        that nothing is accepted, where the data do not suffice for the promise.
        """
        for probability, rate in self.bounds:
            if rate <= max_false_closure_rate:
                return probability
        return math.inf

    @property
    def least_rate(self) -> float:
        """Smallest false closure rate that the data of the fit can promise."""
        return min((rate for _, rate in self.bounds), default=1.0)

    def to_json(self) -> str:
        return json.dumps({'format': FORMAT, **asdict(self)}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> Calibrator:
        """The inverse of `to_json`.

        Raises:
            MapError: it is none of ours, or garbled.
        """
        try:
            data = json.loads(text, parse_constant=_refuse)
            if data.pop('format') != FORMAT or set(data['names']) - set(DIRECTION):
                raise ValueError('format')
            bounds = tuple((float(p), float(r)) for p, r in data.pop('bounds'))
            numbers = {
                key: tuple(map(float, data.pop(key)))
                for key in ('mean', 'scale', 'weight', 'missing')
            }
            names = tuple(map(str, data.pop('names')))
            if {len(x) for x in numbers.values()} != {len(names)}:
                raise ValueError('lengths')
            _check(names, numbers, float(data['bias']), bounds)
            return cls(
                names, **numbers, bias=float(data['bias']), bounds=bounds,
                fingerprint=str(data['fingerprint']), data=tuple(map(str, data['data'])),
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise MapError(f'the calibrator of {source} is damaged: {error}') from None


def _check(
    names: tuple[str, ...],
    numbers: dict[str, tuple[float, ...]],
    bias: float,
    bounds: tuple[tuple[float, float], ...],
) -> None:
    """Refuse, by ValueError, what no fit can give."""
    rows = np.array([*numbers.values()])
    shares = np.array(bounds).reshape(-1, 2)
    if not (np.isfinite(rows).all() and np.isfinite(shares).all() and math.isfinite(bias)):
        raise ValueError('a number is not finite')
    if min(numbers['scale'], default=1.0) <= 0 or len(set(names)) < len(names):
        raise ValueError('scales')
    directions = [DIRECTION[name] for name in names]
    if any(d * w < 0 for d, w in zip(directions, numbers['weight'], strict=True)):
        raise ValueError('the sign of a weight')
    if (shares < 0).any() or (shares > 1).any() or (np.diff(shares[:, 0]) <= 0).any():
        raise ValueError('bounds')


def _refuse(constant: str) -> float:
    raise ValueError(f'{constant} is no number')


def fit(
    signals: Sequence[Signals],
    right: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str] = PORTABLE,
    fingerprint: str = '',
    data: Sequence[str] = (),
) -> Calibrator:
    """Fit to answers that were judged.

    Args:
        signals: of N answers.
        right: (N,) bool.
        groups: (N,) integer: answers of one group weigh as much together as those of another.
        names: of the signals to use; those that are never known or never differ are left out.
        fingerprint: of the model; empty: for any.
        data: what the answers are of, for the record.

    Returns:
        With `bounds` of answers that were held out group by group, where there are two groups.
    """
    found = _fit(signals, right, groups, names, fingerprint, data)
    if len(np.unique(groups)) > 1:
        probability = held_out(signals, right, groups, names)
    else:
        probability = np.array([found.probability(one) for one in signals])
    return replace(found, bounds=bounds_of(probability, right))


def _fit(
    signals: Sequence[Signals],
    right: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    fingerprint: str = '',
    data: Sequence[str] = (),
) -> Calibrator:
    rows = table(signals, names)
    keep = [k for k in range(rows.shape[1]) if _varies(rows[:, k])]
    names, rows = [names[k] for k in keep], rows[:, keep]
    mean, scale = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    known, x = design(rows, mean, scale)
    absent = np.asarray((~known).any(axis=0))
    features = np.hstack([x, (~known) * 1.0])
    share = 1.0 / np.unique(groups, return_counts=True)[1]
    sizes = share[np.unique(groups, return_inverse=True)[1]]
    weights = sizes * len(rows) / sizes.sum()
    limits: list[tuple[int | None, int | None]] = [
        (0, None) if DIRECTION[name] > 0 else (None, 0) for name in names
    ]
    limits += [(None, None) if some else (0, 0) for some in absent.tolist()]
    limits.append((None, None))
    found = minimize(
        _loss, np.zeros(features.shape[1] + 1), (features, right, weights), jac=True,
        method='L-BFGS-B', bounds=limits,
    ).x  # fmt: skip
    count = len(names)
    return Calibrator(
        tuple(names), mean=tuple(mean.tolist()), scale=tuple(scale.tolist()),
        weight=tuple(found[:count].tolist()), missing=tuple(found[count:-1].tolist()),
        bias=float(found[-1]), bounds=(), fingerprint=fingerprint, data=tuple(data),
    )  # fmt: skip


def _varies(column: np.ndarray) -> bool:
    known = column[np.isfinite(column)]
    return len(known) > 0 and bool(known.std() > 0)


def held_out(
    signals: Sequence[Signals],
    right: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str] = PORTABLE,
) -> np.ndarray:
    """Probability (N,) of each answer from a fit to the answers of the other groups."""
    probability = np.empty(len(right))
    for group in np.unique(groups):
        out = np.flatnonzero(groups == group)
        others = np.flatnonzero(groups != group)
        found = _fit([signals[int(k)] for k in others], right[others], groups[others], names)
        probability[out] = [found.probability(signals[int(k)]) for k in out]
    return probability


def _loss(
    w: np.ndarray, x: np.ndarray, right: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Weighted negative log likelihood with a ridge, and its gradient."""
    logit = x @ w[:-1] + w[-1]
    loss = weights @ (np.logaddexp(0.0, logit) - right * logit) + 0.5 * RIDGE * w[:-1] @ w[:-1]
    slope = weights * (expit(logit) - right)
    return float(loss), np.append(x.T @ slope + RIDGE * w[:-1], slope.sum())


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


def table(signals: Sequence[Signals], names: Sequence[str]) -> np.ndarray:
    """Signals as rows (N, S), float64; nan where not known. Counts enter by their logarithm."""
    rows = np.array([[getattr(s, name) for name in names] for s in signals], float)
    for k, name in enumerate(names):
        if name in ('inliers', 'agreement'):
            rows[:, k] = np.log1p(rows[:, k])
    return rows.reshape(len(signals), len(names))


def design(rows: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which are known, (N, S) bool, and the standardised values, 0 where not."""
    known = np.isfinite(rows)
    return known, np.where(known, (rows - mean) / scale, 0.0)


def calibrator_for(
    model: PlaceModel, place_map: PlaceMap, verified: bool = False
) -> Calibrator | None:
    """The map's own calibrator, else the default one, else None.

    Args:
        model: that describes queries and places.
        place_map: what is searched.
        verified: whether candidates are verified by geometry, which another default knows.

    Raises:
        MapError: the map's calibrator is damaged, or another model's.
    """
    if text := place_map.beside.calibrator():
        own = Calibrator.from_json(text, place_map.path)
        if own.fingerprint and own.fingerprint != model.fingerprint:
            raise MapError(
                f"the calibrator of {place_map.path} is another model's: run `vpr calibrate`"
            )
        return own
    default = files('vpr_ros') / 'resource' / (VERIFIED if verified else DEFAULT)
    if not default.is_file():
        return None
    return Calibrator.from_json(default.read_text(encoding='utf-8'), default.name)
