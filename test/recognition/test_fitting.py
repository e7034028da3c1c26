"""Fitting a calibrator: monotone, honest on small samples, and each answer told by the others."""

import math

import numpy as np
import pytest
from scipy.special import expit

from vpr_ros.recognition.calibration import METHODS, Calibrator
from vpr_ros.recognition.fitting import bounds_of, fit, held_out, isotonic
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


def test_isotonic_regression_by_hand():
    # A right one is put below all and a wrong one above all:
    # at -2 right, wrong; at -1 wrong; at 0 right, wrong; at 1 right; at 3 right, right, wrong.
    odds = np.array([3.0, -1.0, 0.0, -2.0, 3.0, 0.0, 1.0])
    right = np.array([1, 0, 1, 0, 1, 0, 1], bool)
    found = isotonic(odds, right)
    # -2 (1/2) and -1 (0/1) are pooled to 1/3, 1 (1/1) and 3 (2/3) to 3/4.
    assert np.array(found) == pytest.approx(np.array([[-5 / 3, 1 / 3], [0, 1 / 2], [2.5, 3 / 4]]))


@pytest.mark.parametrize('all_right', [True, False])
def test_a_few_answers_that_agree_are_not_certain(all_right):
    ((_, probability),) = isotonic(np.arange(8.0), np.full(8, all_right))
    assert probability == pytest.approx(0.9 if all_right else 0.1)


def test_isotonic_regression_bends_what_is_not_logistic():
    """Right with 0.2 below a step and with 0.8 above: no logistic function of the signal."""
    rng = np.random.default_rng(3)
    z = rng.uniform(-1, 1, 4000)
    right = rng.random(4000) < np.where(z < 0.5, 0.2, 0.8)
    signals = [Signals(0.5, value) for value in z.tolist()]
    told = {m: fit(signals, right, np.zeros(4000, int), ('z_score',), method=m) for m in METHODS}
    asked = [Signals(0.5, x) for x in np.linspace(-0.95, 0.95, 39).tolist()]
    truth = np.array([0.2 if one.z_score < 0.5 else 0.8 for one in asked])
    errors = {m: np.abs(one.probabilities(asked) - truth).mean() for m, one in told.items()}
    assert errors['isotonic'] < 0.5 * errors['logistic']
    rising = told['isotonic'].probabilities([Signals(0.5, x) for x in np.linspace(-3, 3, 50)])
    assert (np.diff(rising) >= 0).all() and 0 < rising[0] and rising[-1] < 1


def test_isotonic_answers_are_told_by_the_other_groups():
    signals, right, groups = answers(300)
    told = held_out(signals, right, groups, ('z_score',), 'isotonic')
    flipped = np.where(groups == 2, ~right, right)
    again = held_out(signals, flipped, groups, ('z_score',), 'isotonic')
    assert np.array_equal(told[groups == 2], again[groups == 2])


def test_a_set_of_many_answers_counts_as_many():
    signals, right, groups = answers(600)
    uneven = np.where(groups > 0, 1, 0)
    assert fit(signals, right, groups, ('z_score',)).weight == (
        fit(signals, right, uneven, ('z_score',)).weight
    )
