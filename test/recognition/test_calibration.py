"""The calibrator: monotone, honest on small samples, and strict about what it reads."""

import json
import math

import numpy as np
import pytest
from scipy.special import expit

from vpr_ros.errors import MapError
from vpr_ros.recognition.calibration import (
    DIRECTION,
    Calibrator,
    bounds_of,
    fit,
    held_out,
)
from vpr_ros.records import Signals


def answers(count=1500, seed=0):
    """Answers whose log odds are 2 z - 1, of five sets; the gap is noise."""
    rng = np.random.default_rng(seed)
    z, gap = rng.normal(size=(2, count))
    right = rng.random(count) < expit(2 * z - 1)
    signals = [Signals(0.5, float(a), float(b)) for a, b in zip(z, gap, strict=True)]
    return signals, right, np.arange(count) * 5 // count


@pytest.fixture(scope='module')
def fitted():
    return fit(*answers(), names=('z_score', 'gap', 'spread'))


def test_it_finds_the_odds_that_made_the_answers(fitted):
    for z in (-1.5, 0.0, 0.5, 1.5):
        told = fitted.probability(Signals(0.5, z, 0.0))
        assert told == pytest.approx(expit(2 * z - 1), abs=0.05)
    assert 'spread' not in fitted.names  # never known


def test_no_weight_has_the_wrong_sign():
    signals, right, groups = answers()
    backwards = fit(signals, ~right, groups, ('z_score', 'gap'))
    assert min(backwards.weight) >= 0.0
    spread = [Signals(0.5, spread=one.z_score) for one in signals]
    assert fit(spread, right, groups, ('spread',)).weight == (0.0,)
    assert fit(spread, ~right, groups, ('spread',)).weight[0] < 0.0


def test_a_signal_that_is_sometimes_missing_speaks_by_its_absence():
    signals, right, groups = answers()
    some = [Signals(0.5) if k % 2 else one for k, one in enumerate(signals)]
    found = fit(some, right, groups, ('z_score',))
    share = right[1::2].mean()
    assert found.probability(Signals(0.5)) == pytest.approx(share, abs=0.05)


def test_fitting_twice_gives_the_same(fitted):
    assert fit(*answers(), names=('z_score', 'gap', 'spread')) == fitted


def test_a_group_is_predicted_from_the_others_alone():
    signals, right, groups = answers(300)
    told = held_out(signals, right, groups, ('z_score',))
    flipped = np.where(groups == 2, ~right, right)
    again = held_out(signals, flipped, groups, ('z_score',))
    assert np.array_equal(told[groups == 2], again[groups == 2])
    assert not np.allclose(told[groups != 2], again[groups != 2])


def test_the_promise_holds_on_new_answers(fitted):
    signals, right, _ = answers(20_000, seed=1)
    probability = np.array([fitted.probability(one) for one in signals])
    threshold = fitted.threshold_for(0.25)
    accepted = probability >= threshold
    assert accepted.any()
    assert (~right[accepted]).mean() <= 0.25
    assert fitted.threshold_for(0.4) <= threshold


def test_few_answers_promise_little():
    p = np.linspace(0.9, 0.99, 20)
    few = Calibrator((), (), (), (), (), 0.0, bounds_of(p, np.ones(20, bool)))
    assert math.isinf(few.threshold_for(0.05))  # 20 right ones of 20 do not show 5 %
    assert few.threshold_for(0.3) < 1.0
    many = bounds_of(np.linspace(0.5, 0.99, 2000), np.ones(2000, bool))
    assert Calibrator((), (), (), (), (), 0.0, many).threshold_for(0.01) < 1.0


def test_json_there_and_back(fitted):
    assert Calibrator.from_json(fitted.to_json(), 'here') == fitted


@pytest.mark.parametrize(
    'change',
    [
        {'format': 'other'}, {'bias': math.nan}, {'bias': math.inf}, {'names': ['z_score', 'x']},
        {'scale': [1.0, 0.0]}, {'weight': [1.0, -1.0]}, {'weight': [1.0]}, {'mean': None},
        {'names': ['gap', 'gap']}, {'bounds': [[0.9, 0.1], [0.8, 0.2]]}, {'bounds': [[0.5, 2.0]]},
    ],
)  # fmt: skip
def test_a_garbled_calibrator_is_refused_in_one_sentence(fitted, change):
    text = json.dumps({**json.loads(fitted.to_json()), **change})
    with pytest.raises(MapError, match='calibrator of here') as told:
        Calibrator.from_json(text, 'here')
    assert '\n' not in str(told.value)


@pytest.mark.parametrize('text', ['', '[]', '{"format": 1', '1e999', '{}'])
def test_what_is_no_calibrator_is_refused(text):
    with pytest.raises(MapError):
        Calibrator.from_json(text, 'here')


def test_a_number_too_large_is_refused(fitted):
    record = fitted.to_json().replace(f'"bias": {fitted.bias!r}', '"bias": 1e999')
    with pytest.raises(MapError, match='finite'):
        Calibrator.from_json(record, 'here')


def test_the_default_can_be_read_and_uses_nothing_of_one_model():
    from importlib.resources import files

    text = (files('vpr_ros') / 'resource' / 'calibration.json').read_text(encoding='utf-8')
    default = Calibrator.from_json(text, 'the default')
    assert not default.fingerprint
    assert 'similarity' not in default.names and set(default.names) <= set(DIRECTION)
    weak, strong = Signals(0.5, 2.0, 0.0), Signals(0.5, 6.0, 0.3)
    assert default.probability(weak) < 0.5 < default.probability(strong)
