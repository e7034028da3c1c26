"""The arithmetic of benchmarks/node_latency.py."""

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from benchmarks.node_latency_report import (
    STAGES,
    Answer,
    Case,
    Usage,
    draw_memory,
    excess_ms,
    record,
    row,
    table,
    trend,
)

CASE = Case((480, 640), 'rgb8', 0, 20.0)


def answer(latency_ms, dropped=0, **stages_ms):
    return Answer(latency_ms, dropped, {**dict.fromkeys(STAGES, 0.0), **stages_ms})


def moments(*resident_mib, period_s=1.0):
    return [Usage(100.0 + period_s * k, 7.0 + 0.5 * k, mib) for k, mib in enumerate(resident_mib)]


def test_what_is_beside_the_model_and_what_no_stage_has_seen():
    one = answer(20.0, queue=3.0, preprocess=2.0, inference=10.0, verify=1.0)
    assert one.beside_model_ms == 10.0
    assert one.processing_ms == 13.0
    assert one.unaccounted_ms == 4.0


def test_an_answer_may_be_as_old_as_its_processing_and_one_period():
    assert excess_ms(answer(60.0, queue=40.0, inference=10.0), rate_hz=20.0) == 0.0
    assert excess_ms(answer(80.0, queue=60.0, inference=10.0), rate_hz=20.0) == 20.0


def test_images_are_answered_dropped_or_lost():
    answers = [answer(900.0), answer(10.0, dropped=2), answer(30.0, inference=20.0)]
    found = row(CASE, 7, answers, moments(10.0, 30.0, 20.0), skip=1)
    assert (found.published, found.answered, found.dropped, found.lost) == (7, 3, 2, 2)
    assert found.latency_ms == pytest.approx({'p50': 20.0, 'p90': 28.0, 'p99': 29.8, 'max': 30.0})
    assert found.beside_model_ms['max'] == 10.0 and found.stages_ms['inference'] == 10.0
    assert found.oldest_ms == pytest.approx(10.0 - 50.0)
    assert (found.processor, found.resident_mib) == (0.5, 20.0)


def test_a_trend_is_found_to_within_its_error():
    noise = np.random.default_rng(0).normal(0.0, 0.5, 600)
    found = trend(moments(*(300.0 + 12.0 * np.arange(600) / 3600 + noise)))
    assert abs(found.per_hour - 12.0) < 2 * found.error < 3.0
    steady = trend(moments(*(300.0 + noise)))
    assert abs(steady.per_hour) < 2 * steady.error


def test_samples_that_follow_each_other_say_less():
    generator = np.random.default_rng(1)
    independent = generator.normal(0.0, 1.0, 600)
    slow = np.repeat(generator.normal(0.0, 1.0, 60), 10)
    assert trend(moments(*slow)).error > 2 * trend(moments(*independent)).error


def test_the_start_is_no_part_of_a_trend():
    memory = [*np.linspace(100.0, 300.0, 60), *np.full(60, 300.0)]
    assert trend(moments(*memory)).per_hour == pytest.approx(0.0, abs=1e-6)
    assert trend(moments(*memory[:60])) is None
    assert trend(moments(*memory[:60]), settled_s=0.0).per_hour > 1000.0


def test_table_and_record_tell_which_cases_keep_the_goal():
    usage = moments(100.0, 100.0)
    rows = [
        row(CASE, 1, [answer(16.0, inference=10.0)], usage),
        row(CASE, 1, [answer(16.2, inference=10.0)], usage),
    ]
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table(rows, 'title'))
    assert '6.0 *' in shown.get() and '6.2 *' not in shown.get()
    assert record(rows, {'cores': 2}, 'm')['rows'][0]['case']['size'] == (480, 640)


def test_memory_is_drawn(tmp_path):
    path = tmp_path / 'memory.png'
    path.write_bytes(draw_memory(moments(*range(120)), 'title'))
    assert Image.open(path).size[0] > 300
