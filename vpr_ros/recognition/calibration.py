"""From signals to the probability that the best candidate is right."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
DEFAULT = 'calibration.json'


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

        With 95 % confidence on the data of the fit. Above 1, so that nothing is accepted, where
        the data do not suffice for the promise.
        """
        for probability, rate in self.bounds:
            if rate <= max_false_closure_rate:
                return probability
        return math.inf

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
            return cls(
                names, **numbers, bias=float(data['bias']), bounds=bounds,
                fingerprint=str(data['fingerprint']), data=tuple(map(str, data['data'])),
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise MapError(f'the calibrator of {source} is damaged: {error}') from None


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
    """
    rows = table(signals, names)
    keep = [k for k in range(rows.shape[1]) if np.nanstd(rows[:, k]) > 0]  # nan is not
    names, rows = [names[k] for k in keep], rows[:, keep]
    mean, scale = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    known, x = design(rows, mean, scale)
    absent = ~known.all(axis=0)
    features = np.hstack([x, (~known) * 1.0])
    share = 1.0 / np.unique(groups, return_counts=True)[1]
    sizes = share[np.unique(groups, return_inverse=True)[1]]
    weights = sizes * len(rows) / sizes.sum()
    limits = [(0, None) if DIRECTION[name] > 0 else (None, 0) for name in names]
    limits += [(None, None) if some else (0, 0) for some in absent] + [(None, None)]
    found = minimize(
        _loss, np.zeros(features.shape[1] + 1), (features, right, weights), jac=True,
        method='L-BFGS-B', bounds=limits,
    ).x  # fmt: skip
    probability = expit(features @ found[:-1] + found[-1])
    count = len(names)
    return Calibrator(
        tuple(names), *(tuple(map(float, v)) for v in (mean, scale, found[:count],
                                                       found[count:-1])),
        float(found[-1]), bounds_of(probability, right), fingerprint, tuple(data),
    )  # fmt: skip


def _loss(
    w: np.ndarray, x: np.ndarray, right: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Weighted negative log likelihood with a ridge, and its gradient."""
    logit = x @ w[:-1] + w[-1]
    loss = weights @ (np.logaddexp(0.0, logit) - right * logit) + 0.5 * RIDGE * w[:-1] @ w[:-1]
    slope = weights * (expit(logit) - right)
    return float(loss), np.append(x.T @ slope + RIDGE * w[:-1], slope.sum())


def bounds_of(probability: np.ndarray, right: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Upper bound of the share of wrong answers above each probability (Clopper-Pearson)."""
    order = np.argsort(-probability, kind='stable')
    accepted = np.arange(1, len(order) + 1)
    wrong = np.cumsum(~right[order])
    upper = beta.ppf(CONFIDENCE, wrong + 1, accepted - wrong)
    upper = np.where(wrong == accepted, 1.0, upper)
    last = np.append(np.diff(probability[order]) != 0, True)  # of equals, all or none
    pairs = [(float(probability[order][k]), float(upper[k])) for k in np.flatnonzero(last)]
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


def calibrator_for(model: PlaceModel, place_map: PlaceMap) -> Calibrator | None:
    """The map's own calibrator, else the default one where it fits, else None.

    Raises:
        MapError: the map's calibrator is damaged, or another model's.
    """
    if text := place_map.calibration():
        own = Calibrator.from_json(text, place_map.path)
        if own.fingerprint and own.fingerprint != model.fingerprint:
            raise MapError(
                f"the calibrator of {place_map.path} is another model's: run `vpr calibrate`"
            )
        return own
    default = files('vpr_ros') / 'resource' / DEFAULT
    if not default.is_file():
        return None
    return Calibrator.from_json(default.read_text(encoding='utf-8'), DEFAULT)
