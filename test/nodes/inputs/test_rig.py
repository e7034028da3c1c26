"""Images of one moment come together; nothing is handed over twice or kept for long."""

from __future__ import annotations

import random
import struct

import pytest

from vpr_ros.nodes.inputs.received import Received
from vpr_ros.nodes.inputs.rig import Rig

MS = 1_000_000


class Hearer:
    """A rig of cameras a, b, c ... and the groups that it handed over, as text."""

    def __init__(self, cameras, gap_s=0.03):
        self.groups, self.late = [], []
        self.rig = Rig(cameras, gap_s, self.groups.append, self.late.append)

    def hear(self, text):
        """Take images such as `a100 b105`, camera and stamp in ms; the groups that came of it."""
        before = len(self.groups)
        for word in text.split():
            self.rig.put(image(word[0], int(word[1:]) * MS))
        return [' '.join(map(told, group)) for group in self.groups[before:]]


def image(camera, stamp_ns):
    sec, nanosec = divmod(stamp_ns, 10**9)
    return Received(camera, b'\0\1\0\0' + struct.pack('<iI', sec, nanosec), 0.0)


def told(received):
    return f'{received.camera}{received.stamp_ns // MS}'


@pytest.fixture
def two():
    return Hearer('ab')


def test_one_camera_passes_through_at_once_whatever_its_stamps():
    assert Hearer(['a']).hear('a100 a133 a100 a0') == ['a100', 'a133', 'a100', 'a0']


def test_images_of_a_moment_come_together_in_the_order_of_the_cameras(two):
    assert two.hear('b100') == []
    assert two.hear('a110') == ['a110 b100']
    assert two.hear('a143 b133') == ['a143 b133']


def test_the_gap_is_inclusive_and_of_the_whole_group():
    three = Hearer('abc')
    assert three.hear('a100 b130 c115') == ['a100 b130 c115']
    assert three.hear('a200 b220') == []
    assert three.hear('c231') == ['a200 b220']  # near b, but not near a
    assert three.hear('a240 b250') == ['a240 b250 c231']


def test_a_missing_image_costs_one_period(two):
    assert two.hear('a100') == []
    assert two.hear('a133') == ['a100']
    assert two.hear('b133') == ['a133 b133']


def test_a_dead_camera_is_not_waited_for_until_it_is_back(two):
    assert two.hear('a100 a200 a300') == ['a100', 'a200']
    assert two.hear('a400') == ['a300', 'a400']  # missing from three: no more waiting
    assert two.hear('a500') == ['a500']
    assert two.hear('b505') == []
    assert two.hear('a600') == ['b505']
    assert two.hear('b600') == ['a600 b600']
    assert two.hear('a700') == []


def test_two_dead_cameras_of_three():
    three = Hearer('abc')
    assert three.hear('b100 b200 b300 b400 b500')[-1] == 'b500'
    assert three.hear('c510 b600') == ['c510']
    assert three.hear('c600') == ['b600 c600']  # a is dead still


def test_an_older_image_that_fits_nothing_goes_alone_and_the_group_waits(two):
    assert two.hear('a100 a133') == ['a100']
    assert two.hear('b100') == ['b100']
    assert two.hear('b133') == ['a133 b133']


def test_time_never_seems_to_go_back(two):
    assert two.hear('a100 b100') == ['a100 b100']
    assert two.hear('a300 a333') == ['a300']
    assert two.hear('b267') == []
    assert two.late == ['b']
    assert two.hear('b333') == ['a333 b333']


def test_a_clock_that_jumps_back_starts_anew(two):
    assert two.hear('a9000 b9000 a9033') == ['a9000 b9000']
    assert two.hear('b33') == ['a9033']
    assert two.hear('a33 a66 b66') == ['a33 b33', 'a66 b66']
    assert two.late == []


def test_a_small_jump_of_one_camera_starts_anew(two):
    assert two.hear('a500 b500 a400 b400') == ['a500 b500', 'a400 b400']


def test_a_dead_camera_with_a_wild_stamp_does_not_silence_the_other(two):
    assert two.hear('a100 b100 b999999') == ['a100 b100']
    assert two.hear('a133 a166') == ['a133', 'a166']
    assert two.hear('b1000032') == ['b999999']
    assert two.hear('a200') == ['b1000032']
    assert two.hear('a233 a266 a300') == ['a200', 'a233', 'a266', 'a300']
    assert two.late == []


def test_an_image_without_a_stamp_goes_alone(two):
    assert two.hear('a0') == ['a0']
    assert two.hear('a100 b0') == ['b0']
    assert two.hear('a0') == ['a100', 'a0']
    assert two.hear('a133 b133') == ['a133 b133']
    two.rig.put(Received('a', b'', 0.0))
    assert two.groups[-1][0].data == b''


@pytest.mark.parametrize('seed', range(40))
def test_whatever_arrives(seed):
    """Random cameras, rates, delays, losses and jumps of the clock."""
    chance = random.Random(seed)
    cameras, gap_ms = 'abcd'[: chance.randint(2, 4)], chance.choice([0, 5, 30, 60])
    arrivals = []
    for camera in cameras:
        period, delay = chance.choice([10, 33, 33, 100]), chance.choice([0, 0, 20, 80])
        for number in range(60):
            stamp = 5000 + number * period + chance.randint(0, 12)
            if number >= 40 and seed % 2:
                stamp -= 4000
            moment = number * period + delay + chance.randint(0, 15)
            if chance.random() < 0.8:
                arrivals.append((moment, image(camera, chance.random() > 0.02 and stamp * MS)))
    hearer, put, out, held = Hearer(cameras, gap_ms * 1e-3), [], set(), {}
    for _, arrived in sorted(arrivals, key=lambda x: x[0]):
        late, count = len(hearer.late), len(hearer.groups)
        hearer.rig.put(arrived)
        put.append(id(arrived))
        handed = [x for group in hearer.groups[count:] for x in group]
        assert not out & {id(x) for x in handed}  # never twice
        out |= {id(x) for x in handed}
        if arrived.camera in held:  # nothing waits longer than for its camera's next image
            assert id(held.pop(arrived.camera)) in out
        held = {c: x for c, x in held.items() if id(x) not in out}
        if id(arrived) not in out and len(hearer.late) == late:
            held[arrived.camera] = arrived
    assert out <= set(put) and len(put) == len(out) + len(held) + len(hearer.late)
    for group in hearer.groups:
        stamps = [x.stamp_ns for x in group]
        assert max(stamps) - min(stamps) <= gap_ms * MS
        names = [x.camera for x in group]
        assert names == sorted(set(names))
