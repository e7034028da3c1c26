"""Rate and age of a camera's images."""

from __future__ import annotations

import math
import threading

import pytest

from vpr_ros.nodes.inputs.flow import WINDOW_S, Flow


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def deliver(flow, clock, count, period_s):
    for _ in range(count):
        clock.now += period_s
        flow.arrived()


def test_before_the_first_image(clock):
    flow = Flow(clock)
    assert (flow.received, flow.lost, flow.rate_hz(), flow.age_s()) == (0, 0, 0.0, math.inf)


def test_the_rate_is_right_from_the_second_image_on(clock):
    flow = Flow(clock)
    deliver(flow, clock, 1, 0.1)
    assert flow.rate_hz() == 0.0
    deliver(flow, clock, 1, 0.1)
    assert flow.rate_hz() == pytest.approx(10.0)
    deliver(flow, clock, 300, 0.1)
    assert flow.rate_hz() == pytest.approx(10.0, abs=0.21)
    assert flow.received == 302


def test_silence(clock):
    flow = Flow(clock)
    deliver(flow, clock, 300, 1 / 30)
    clock.now += WINDOW_S / 2
    assert flow.rate_hz() == pytest.approx(15.0, abs=0.5)
    assert flow.age_s() == pytest.approx(WINDOW_S / 2)
    clock.now += WINDOW_S
    assert flow.rate_hz() == 0.0


def test_a_reader_beside_the_writer():
    flow, stop = Flow(), threading.Event()

    def write():
        while not stop.is_set():
            flow.arrived()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        rates = [flow.rate_hz() for _ in range(300)]
    finally:
        stop.set()
        writer.join()
    assert all(rate >= 0.0 for rate in rates) and flow.received > 0
