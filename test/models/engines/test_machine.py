"""What is said of a machine, and the memory that is taken of it."""

import subprocess
import sys
from types import SimpleNamespace

import torch

from vpr_ros.models.engines import machine as machines
from vpr_ros.models.engines.machine import Footprint, gpu_state, machine, processor_name

CPU = torch.device('cpu')


def test_the_machine_is_described():
    found = machine()
    assert found['processor'] and found['cores'] >= 1
    assert found['torch'] == torch.__version__
    assert found['threads'] == torch.get_num_threads()


def test_the_processor_is_named(tmp_path):
    cpuinfo = tmp_path / 'cpuinfo'
    cpuinfo.write_text('processor : 0\nmodel name\t: A 7 CPU @ 2 GHz\nflags : fpu\n')
    assert processor_name(cpuinfo) == 'A 7 CPU @ 2 GHz'
    assert processor_name(tmp_path / 'none') == machines.platform.machine()


def test_a_cpu_has_no_gpu_state():
    assert gpu_state(CPU) == {}


def test_a_gpu_is_asked_for_its_driver_and_clocks(monkeypatch):
    asked = []

    def answer(command, **_):
        asked.extend(command)
        return SimpleNamespace(stdout='570.1, 1980 MHz, 1980 MHz, 300.5 W\n')

    gpu = SimpleNamespace(name='A GPU', uuid='1-2')
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda device: gpu)
    monkeypatch.setattr(machines.subprocess, 'run', answer)
    assert gpu_state(torch.device('cuda')) == {
        'gpu': 'A GPU', 'driver_version': '570.1', 'clocks.sm': '1980 MHz',
        'clocks.max.sm': '1980 MHz', 'power.draw': '300.5 W',
    }  # fmt: skip
    assert asked[:3] == ['nvidia-smi', '-i', 'GPU-1-2']


def test_a_gpu_without_its_tool_still_has_a_name(monkeypatch):
    def missing(command, **_):
        raise FileNotFoundError(command[0])

    gpu = SimpleNamespace(name='A GPU', uuid='1-2')
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda device: gpu)
    monkeypatch.setattr(machines.subprocess, 'run', missing)
    assert gpu_state(torch.device('cuda')) == {'gpu': 'A GPU'}


FOOTPRINT = """
import numpy as np, torch
from vpr_ros.models.engines.machine import Footprint
footprint = Footprint(torch.device('cpu'))
array = np.ones(40 << 20, np.uint8)
assert 38 < footprint.peak_mib() < 60
del array
assert footprint.peak_mib() > 38
footprint.restart()
assert footprint.peak_mib() < 20
"""


def test_a_footprint_holds_the_peak_until_it_is_told_to_forget():
    # In a process of its own: memory that tests before gave back would be taken again unseen.
    subprocess.run([sys.executable, '-c', FOOTPRINT], check=True)


def test_a_system_that_does_not_say_has_no_footprint(tmp_path, monkeypatch):
    monkeypatch.setattr(machines, 'CLEAR', tmp_path / 'no' / 'such')
    assert Footprint(CPU).peak_mib() is None
    monkeypatch.undo()
    monkeypatch.setattr(machines, 'STATUS', tmp_path / 'none')
    assert Footprint(CPU).peak_mib() is None
