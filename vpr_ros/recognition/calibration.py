"""From signals to the probability that the best candidate is right; fitted in `fitting`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files

import numpy as np
from scipy.special import expit

from vpr_ros.errors import MapError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.records import Signals

# Isotonic ones say so first: a program that does not know them must not take them for logistic.
FORMATS = {'logistic': 'vpr_ros calibrator 1', 'isotonic': 'vpr_ros calibrator 2'}
METHODS = tuple(FORMATS)
# Which way each signal may move the probability: a wrong sign would be chance in the data.
DIRECTION = {
    'similarity': 1, 'z_score': 1, 'gap': 1, 'spread': -1, 'local': 1, 'inliers': 1,
    'inlier_ratio': 1, 'margin': 1, 'support': 1, 'agreement': 1,
}  # fmt: skip
PORTABLE = tuple(name for name in DIRECTION if name != 'similarity')  # across models
DEFAULT, VERIFIED = 'calibration.json', 'calibration_verified.json'


@dataclass(frozen=True)
class Calibrator:
    """Logistic regression on standardised signals, isotonic regression of its log odds or not.

    `bounds` are pairs of a probability and the largest share of wrong answers among those above it
    that the data are compatible with, rising in the probability. `knots` are pairs of log odds and
    a probability, rising, between which the probability is interpolated; none: it is that of the
    log odds.
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
    knots: tuple[tuple[float, float], ...] = ()

    @property
    def method(self) -> str:
        """One of METHODS."""
        return 'isotonic' if self.knots else 'logistic'

    def probability(self, signals: Signals) -> float:
        """That the best candidate is right, in (0, 1)."""
        return float(self.probabilities([signals])[0])

    def probabilities(self, signals: Sequence[Signals]) -> np.ndarray:
        """Of N answers, (N,)."""
        odds = self.log_odds(signals)
        return np.interp(odds, *np.transpose(self.knots)) if self.knots else expit(odds)

    def log_odds(self, signals: Sequence[Signals]) -> np.ndarray:
        """Of N answers, (N,), before the isotonic regression."""
        rows = table(signals, self.names)
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
        record = {'format': FORMATS[self.method], **asdict(self)}
        if not self.knots:
            del record['knots']
        return json.dumps(record, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> Calibrator:
        """The inverse of `to_json`.

        Raises:
            MapError: it is none of ours, or garbled.
        """
        try:
            data = json.loads(text, parse_constant=_refuse)
            isotonic = data['format'] == FORMATS['isotonic']
            if data['format'] not in FORMATS.values() or set(data['names']) - set(DIRECTION):
                raise ValueError('format')
            bounds = tuple((float(p), float(r)) for p, r in data.pop('bounds'))
            knots = tuple((float(o), float(p)) for o, p in data['knots']) if isotonic else ()
            numbers = {
                key: tuple(map(float, data.pop(key)))
                for key in ('mean', 'scale', 'weight', 'missing')
            }
            names = tuple(map(str, data.pop('names')))
            if {len(x) for x in numbers.values()} != {len(names)}:
                raise ValueError('lengths')
            _check(names, numbers, float(data['bias']), bounds)
            if isotonic:
                _check_knots(knots)
            return cls(
                names, **numbers, bias=float(data['bias']), bounds=bounds, knots=knots,
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


def _check_knots(knots: tuple[tuple[float, float], ...]) -> None:
    odds, probability = np.array(knots).reshape(-1, 2).T
    rising = (np.diff(odds) > 0).all() and (np.diff(probability) > 0).all()
    if not len(odds) or not np.isfinite(odds).all() or not rising:
        raise ValueError('knots')
    if not 0 < probability[0] <= probability[-1] < 1:
        raise ValueError('the probability of a knot')


def _refuse(constant: str) -> float:
    raise ValueError(f'{constant} is no number')


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
    return default_calibrator(verified)


def default_calibrator(verified: bool) -> Calibrator | None:
    """The one that belongs to no model and no map; None in an installation without it."""
    default = files('vpr_ros') / 'resource' / (VERIFIED if verified else DEFAULT)
    if not default.is_file():
        return None
    return Calibrator.from_json(default.read_text(encoding='utf-8'), default.name)
