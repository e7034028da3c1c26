"""The calibrator: what it says of signals, and how strict it is about what it reads."""

import json
import math
from dataclasses import replace
from importlib.resources import files

import pytest
from scipy.special import expit

from vpr_ros.errors import MapError
from vpr_ros.recognition.calibration import (
    DEFAULT,
    DIRECTION,
    FORMATS,
    VERIFIED,
    Calibrator,
)
from vpr_ros.records import Signals


@pytest.fixture
def fitted():
    return Calibrator(
        ('z_score', 'gap'), mean=(3.0, 0.1), scale=(1.0, 0.05), weight=(1.2, 0.4),
        missing=(0.0, -0.3), bias=-0.5, bounds=((0.2, 0.5), (0.7, 0.25)), fingerprint='abc',
        data=('somewhere',),
    )  # fmt: skip


@pytest.fixture
def stepped(fitted):
    return replace(fitted, knots=((-2.0, 0.1), (0.0, 0.3), (1.0, 0.9)))


def test_the_probability_is_that_of_the_log_odds(fitted):
    here = Signals(0.5, 4.0, 0.15)  # both one deviation above the mean
    assert fitted.probability(here) == pytest.approx(expit(1.2 + 0.4 - 0.5))
    assert fitted.probability(Signals(0.5, 4.0)) == pytest.approx(expit(1.2 - 0.3 - 0.5))


def test_knots_are_joined_by_lines_and_end_level(stepped):
    assert (stepped.method, replace(stepped, knots=()).method) == ('isotonic', 'logistic')
    # Log odds -0.5 at the means, and 1.2 more for each deviation of the z-score.
    for z, expected in ((0.0, 0.1), (3.0, 0.25), (3.0 + 1.0 / 1.2, 0.6), (9.0, 0.9)):
        assert stepped.probability(Signals(0.5, z, 0.1)) == pytest.approx(expected)


def test_json_there_and_back(fitted, stepped):
    for one in (fitted, stepped):
        assert Calibrator.from_json(one.to_json(), 'here') == one


def test_calibrators_of_before_are_read_and_new_ones_are_not_mistaken_for_them(fitted, stepped):
    record = json.loads(fitted.to_json())
    assert record['format'] == 'vpr_ros calibrator 1' and 'knots' not in record
    assert json.loads(stepped.to_json())['format'] == 'vpr_ros calibrator 2'


@pytest.mark.parametrize(
    'knots',
    [
        [], None, [[0.0]], [[0.0, 0.5], [0.0, 0.6]], [[0.0, 0.6], [1.0, 0.5]], [[0.0, 0.0]],
        [[0.0, 0.5], [1.0, 1.0]], [[0.0, '0.5'], [1.0, 'a']], 'drop',
    ],
)  # fmt: skip
def test_garbled_knots_are_refused(stepped, knots):
    record = {**json.loads(stepped.to_json()), 'knots': knots}
    if knots == 'drop':
        del record['knots']
    with pytest.raises(MapError, match='calibrator of here'):
        Calibrator.from_json(json.dumps(record), 'here')


def test_a_calibrator_without_steps_must_not_say_that_it_has_some(fitted):
    record = {**json.loads(fitted.to_json()), 'format': FORMATS['isotonic']}
    with pytest.raises(MapError, match='calibrator of here'):
        Calibrator.from_json(json.dumps(record), 'here')


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


@pytest.mark.parametrize('file', [DEFAULT, VERIFIED])
def test_the_defaults_can_be_read_and_use_nothing_of_one_model(file):
    text = (files('vpr_ros') / 'resource' / file).read_text(encoding='utf-8')
    default = Calibrator.from_json(text, 'the default')
    assert not default.fingerprint
    assert 'similarity' not in default.names and set(default.names) <= set(DIRECTION)
    assert ('margin' in default.names) == (file == VERIFIED)
    weak, strong = Signals(0.5, 2.0, 0.0, margin=0.0), Signals(0.5, 6.0, 0.3, margin=1.5)
    assert default.probability(weak) < 0.5 < default.probability(strong)
    assert default.threshold_for(1.1 * default.least_rate) < 1.0
