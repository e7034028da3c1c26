"""What there is to compute with, and how much memory of it is taken."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

from vpr_ros.models.engines.processor import CPUINFO

STATUS = Path('/proc/self/status')
CLEAR = Path('/proc/self/clear_refs')
FORGET_PEAK = '5'
MIB = 2**20
GPU_STATE = ('driver_version', 'clocks.sm', 'clocks.max.sm', 'power.draw')


def machine() -> dict[str, str | int | float]:
    """What a figure of time is worth little without."""
    return {
        'processor': processor_name(),
        'cores': len(os.sched_getaffinity(0)),
        'threads': torch.get_num_threads(),
        'load': round(os.getloadavg()[0], 1),
        'torch': torch.__version__,
        'system': platform.platform(),
    }


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """As Linux has it; where it names none, as on Arm, the architecture."""
    try:
        lines = cpuinfo.read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.machine())


def gpu_state(device: torch.device) -> dict[str, str]:
    """Name, driver, clocks and power of a GPU as they are now; empty for a CPU."""
    if device.type != 'cuda':
        return {}
    properties = torch.cuda.get_device_properties(device)
    query = f'--query-gpu={",".join(GPU_STATE)}'
    try:
        command = ['nvidia-smi', '-i', f'GPU-{properties.uuid}', query, '--format=csv,noheader']
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, AttributeError, subprocess.SubprocessError):
        return {'gpu': properties.name}
    values = found.stdout.strip().split(', ')
    return {'gpu': properties.name, **dict(zip(GPU_STATE, values, strict=False))}


class Footprint:
    """Memory on a device above what was taken at the start, in MiB.

    Of a GPU what torch has allocated; of a CPU the resident set of this process, so that the
    process should do nothing else.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._forgets = True
        self.restart()
        self._start = self._resident('VmRSS')

    def restart(self) -> None:
        """Forget the peak so far; the start stays the same."""
        if self._device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        try:
            CLEAR.write_text(FORGET_PEAK, encoding='ascii')
        except OSError:
            self._forgets = False

    def peak_mib(self) -> float | None:
        """The most since the start or restart; None where the system does not say."""
        if self._device.type == 'cuda':
            return torch.cuda.max_memory_allocated(self._device) / MIB
        peak = self._resident('VmHWM')
        if not self._forgets or peak is None or self._start is None:
            return None
        return peak - self._start

    def _resident(self, key: str) -> float | None:
        try:
            lines = STATUS.read_text(encoding='ascii').splitlines()
        except OSError:
            return None
        values = (line.split()[1] for line in lines if line.startswith(key + ':'))
        return next((int(value) / 1024 for value in values), None)
