"""Calibrating with a drive: what is refused, and the two methods."""

import argparse

import numpy as np
import pytest
from scipy.special import expit

from vpr_ros.cli import calibrate as command
from vpr_ros.errors import DatasetError
from vpr_ros.evaluation import calibrate as evaluation
from vpr_ros.evaluation.calibrate import LEAST_RIGHT, LEAST_WRONG, calibrate
from vpr_ros.recognition.calibration import METHODS, Calibrator
from vpr_ros.records import Signals


def drive(count=200, seed=0):
    """Answers in order of time whose log odds are three times their margin."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(size=count)
    right = rng.random(count) < expit(3 * margin)
    return [Signals(0.5, margin=value) for value in margin.tolist()], right


@pytest.mark.parametrize('method', METHODS)
def test_either_method_learns_what_the_margin_is_worth(method):
    found = calibrate(*drive(), 'abc', 'a drive', method=method)
    assert (found.calibrator.method, found.calibrator.names) == (method, ('margin',))
    assert (found.calibrator.fingerprint, found.calibrator.data) == ('abc', ('a drive',))
    weak, strong = found.calibrator.probabilities([Signals(0.5, margin=x) for x in (-1.0, 1.0)])
    assert weak < 0.2 and strong > 0.8
    assert found.reliability.aurc < 0.5 * found.reliability.correct
    assert Calibrator.from_json(found.calibrator.to_json(), 'here') == found.calibrator


def test_the_methods_differ_in_the_probability_and_hardly_in_the_order():
    told = [calibrate(*drive(), 'abc', 'a drive', method=method) for method in METHODS]
    assert not np.allclose(told[0].probability, told[1].probability)
    assert told[0].reliability.aurc == pytest.approx(told[1].reliability.aurc, abs=0.02)


@pytest.mark.parametrize(('right', 'wrong'), [(LEAST_RIGHT - 1, 50), (50, LEAST_WRONG - 1)])
def test_too_few_answers_of_a_kind_are_refused(right, wrong):
    signals = [Signals(0.5, margin=0.01 * k) for k in range(right + wrong)]
    with pytest.raises(DatasetError, match=f'found {right} and {wrong}'):
        calibrate(signals, np.arange(right + wrong) < right, 'abc', 'a drive')


@pytest.mark.parametrize('method', METHODS)
def test_the_command_offers_every_method(monkeypatch, capsys, method):
    """The map and the drive are made up: only what is handed on is of interest."""
    asked, looked_at = [], []

    def told(*given, method, **others):
        asked.append(method)
        return calibrate(*drive(), 'abc', 'a drive', method=method)

    monkeypatch.setattr(evaluation, 'calibrate_map', told)
    monkeypatch.setattr(command, 'chosen_model', lambda arguments: None)
    monkeypatch.setattr(command, 'check_map', looked_at.append)
    monkeypatch.setattr(command, 'check_recording', looked_at.append)
    parser = argparse.ArgumentParser()
    command.add_commands(parser.add_subparsers())
    arguments = parser.parse_args(['calibrate', 'a.vprmap', 'a.mcap', '--method', method])
    arguments.run(arguments)
    assert asked == [method]
    assert looked_at == ['a.vprmap', 'a.mcap']
    assert method in capsys.readouterr().out
    assert command.METHODS == METHODS
