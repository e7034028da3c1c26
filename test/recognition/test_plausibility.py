"""No robot moves further than its odometry says, unless many queries in a row say that it did."""

import math
from dataclasses import replace

import numpy as np
import pytest
from test_recognizer import CONFIG, ask, known_map, model, unit  # noqa: F401

from vpr_ros.recognition.over_time.agreement import NS
from vpr_ros.recognition.over_time.plausibility import Plausibility
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import Place, Pose, Verdict

FAR = 25  # place of the map, in metres from the first one
ALWAYS = replace(CONFIG, decision=replace(CONFIG.decision, max_jump_m=10.0, jump_frames=4))


def at(x):
    return Pose((float(x), 0.0, 0.0))


def test_the_excess_is_the_distance_beyond_the_way():
    plausibility, first, second = Plausibility(), Place(1, 1, 0, at(0)), Place(2, 1, 0, at(30))
    assert math.isnan(plausibility.excess_m(second, 0.0))
    plausibility.accept(first, 100.0)
    assert plausibility.excess_m(second, 112.0) == pytest.approx(18.0)
    assert plausibility.excess_m(first, 112.0) == pytest.approx(-12.0)
    assert math.isnan(plausibility.excess_m(second, None))
    assert math.isnan(plausibility.excess_m(replace(second, pose=None), 112.0))
    plausibility.accept(first, None)  # without odometry nothing can be told
    assert math.isnan(plausibility.excess_m(second, 112.0))


def verdicts(recognizer, model, rows, start_s, odometry):  # noqa: F811
    poses = [at(0.1 * k) if odometry else None for k in range(len(rows))]
    return [
        ask(recognizer, unit(0.1 * row, model), (start_s + k) * NS, poses[k]).verdict
        for k, row in enumerate(rows)
    ]


def test_a_jump_contradicts_odometry_until_enough_queries_agree(model):  # noqa: F811
    recognizer = Recognizer(model, known_map(model, np.linspace(0, 3, 31)), ALWAYS)
    assert verdicts(recognizer, model, [0, 0], 100, True)[-1] is Verdict.ACCEPTED
    jump = verdicts(recognizer, model, [FAR] * 6, 102, True)
    assert jump[:3] == [Verdict.INCONSISTENT] * 3
    assert Verdict.ACCEPTED in jump[3:]


def test_without_odometry_or_limit_a_jump_is_taken(model):  # noqa: F811
    place_map = known_map(model, np.linspace(0, 3, 31))
    free = replace(ALWAYS, decision=replace(ALWAYS.decision, max_jump_m=0.0))
    for config, odometry in ((ALWAYS, False), (free, True)):
        recognizer = Recognizer(model, place_map, config)
        verdicts(recognizer, model, [0, 0], 100, odometry)
        assert verdicts(recognizer, model, [FAR] * 2, 102, odometry)[-1] is Verdict.ACCEPTED


def test_forgetting_takes_a_jump(model):  # noqa: F811
    recognizer = Recognizer(model, known_map(model, np.linspace(0, 3, 31)), ALWAYS)
    verdicts(recognizer, model, [0, 0], 100, True)
    recognizer.forget()
    assert verdicts(recognizer, model, [FAR] * 2, 102, True)[-1] is Verdict.ACCEPTED
