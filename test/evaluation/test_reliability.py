"""Figures of probabilities, against cases whose answer is known."""

import numpy as np
import pytest

from vpr_ros.errors import DatasetError
from vpr_ros.evaluation.calibrate import calibrate
from vpr_ros.evaluation.reliability import (
    area_under_risk,
    bins,
    calibration_error,
    reliability_diagram,
    risk_coverage,
    risk_coverage_plot,
    summarise,
)
from vpr_ros.records import Signals


def honest(count=4000, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.random(count)
    return p, rng.random(count) < p


def test_bins_have_equal_mass_and_keep_equal_probabilities_together():
    p, right = honest()
    assert bins(p, right).mass == pytest.approx(np.full(10, 0.1))
    same = bins(np.full(50, 0.3), np.arange(50) % 2 == 0)
    assert (same.probability, same.correct, same.mass) == (pytest.approx([0.3]), [0.5], [1.0])


def test_honest_probabilities_have_a_small_error_and_shifted_ones_their_shift():
    p, right = honest()
    assert calibration_error(p, right) < 0.03
    assert calibration_error(np.full(100, 0.7), np.arange(100) < 40) == pytest.approx(0.3)


def test_weights_count_as_repetitions():
    p, right = honest(200)
    weight = np.random.default_rng(1).integers(0, 4, 200)
    repeated = calibration_error(np.repeat(p, weight), np.repeat(right, weight))
    assert calibration_error(p, right, weight=weight) == pytest.approx(repeated)


def test_risk_over_coverage_by_hand():
    score = np.array([0.9, 0.8, 0.8, 0.1])
    right = np.array([True, True, False, False])
    coverage, risk = risk_coverage(score, right)
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert risk == pytest.approx([0.0, 1 / 3, 0.5])
    assert area_under_risk(score, right) == pytest.approx(0.5 / 3 + 0.25 * 0.5)
    assert area_under_risk(-score, right) > area_under_risk(score, right)


def test_the_summary_agrees_with_its_parts():
    p, right = honest(500)
    found = summarise(p, right, block=5, replicates=50)
    low, high = found.ece_interval
    assert found.ece == calibration_error(p, right) and low < high
    assert found.brier == pytest.approx(np.mean((p - right) ** 2))
    assert summarise(p, right, block=5, replicates=50) == found


@pytest.mark.parametrize('plot', [reliability_diagram, risk_coverage_plot])
def test_figures_show_every_line(plot, tmp_path):
    figure = plot({'one': honest(100), 'two': honest(100, seed=1)})
    figure.savefig(tmp_path / 'x.png')
    shown = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [text.split(',')[0] for text in shown] == ['one', 'two']


def test_calibrating_takes_right_and_wrong_answers():
    z = np.random.default_rng(0).normal(size=200)
    signals = [Signals(0.5, float(value), support=0.5 + 0.1 * float(value)) for value in z]
    found = calibrate(signals, z > 0, 'abc', 'a drive')
    assert found.calibrator.fingerprint == 'abc'
    assert {'z_score', 'support'} == set(found.calibrator.names)
    assert found.reliability.aurc < 0.2
    for few in (np.ones(200, bool), np.arange(200) < 19, np.arange(200) > 8):
        with pytest.raises(DatasetError, match='at least 20 right and 10 wrong'):
            calibrate(signals, few, '', '')
