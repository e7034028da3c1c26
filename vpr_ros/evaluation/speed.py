"""How fast models describe images on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from vpr_ros.errors import ConfigError, VprError
from vpr_ros.evaluation.fresh_process import call_in_fresh_process
from vpr_ros.evaluation.speed_record import Case, Row, Speed
from vpr_ros.evaluation.speed_row import Memory, Tell, measure, weigh
from vpr_ros.models.engines.machine import machine
from vpr_ros.models.engines.runtime import resolve_device

ON_A_CPU = ('sage_nano', 'sage_vits', 'folpp_vits', 'sage_vitb')
ON_A_GPU = (*ON_A_CPU, 'folpp_vitb', 'sage_vitl', 'folpp_vitl')

Report = Callable[[int, int], None]


def usual_models(device: str) -> tuple[str, ...]:
    """Models that a robot may run on a device, by the setting of it.

    Raises:
        ConfigError: no such device.
    """
    return ON_A_GPU if resolve_device(device).type == 'cuda' else ON_A_CPU


def measure_all(cases: Sequence[Case], report: Report = lambda done, total: None) -> Speed:
    """Measure cases, at least one, one after the other in processes of their own.

    What fails is named in the result and does not stop the others.

    Raises:
        ConfigError: a case cannot be measured here.
    """
    for case in cases:
        case.check()
    state, total = machine(), sum(case.repeat for case in cases)
    rows: list[Row] = []
    failures: list[str] = []
    for number, case in enumerate(cases):
        before = sum(case.repeat for case in cases[:number])
        tell = partial(_tell, report, before, total)
        tell(0)
        rows += measured(case, failures, tell)
    return Speed(state, cases[0].camera, cases[0].repeat, rows, failures)


def measured(case: Case, failures: list[str], tell: Tell) -> list[Row]:
    """Rows of a case; what fails is added to the failures."""
    memory: dict[str, Memory] = {}
    for precision in case.precisions:
        alone = replace(case, precisions=(precision,), rival=None)
        try:
            memory[precision] = call_in_fresh_process(weigh, alone)
        except VprError as error:
            failures.append(f'{alone}: {error}')
    if not memory:
        return []
    rest = replace(case, precisions=tuple(memory))
    try:
        rows = call_in_fresh_process(measure, rest, tell)
    except VprError as error:
        failures.append(f'{rest}: {error}')
        return []
    return [
        replace(row, load_mib=load_mib, run_mib=run_mib)
        for row, (load_mib, run_mib) in zip(rows, memory.values(), strict=True)
    ]


def _tell(report: Report, before: int, total: int, done: int) -> None:
    report(before + done, total)


def check_output(path: Path, suffixes: Sequence[str] = ()) -> None:
    """Refuse, before anything is measured, a file that could not be written.

    Raises:
        ConfigError: its folder does not exist, or its name does not end as it must.
    """
    if not path.absolute().parent.is_dir():
        raise ConfigError(f'no folder {path.parent} to write {path.name} to')
    if suffixes and path.suffix not in suffixes:
        raise ConfigError(f'{path}: expected a name that ends in {" or ".join(suffixes)}')


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        OSError: it cannot be written; it names the file.
    """
    part = path.with_name(path.name + '.part')
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        part.unlink(missing_ok=True)
