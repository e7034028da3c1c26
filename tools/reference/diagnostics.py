"""Everything that the diagnostics can say, said by the functions that say it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools.reference.interfaces import read_interface
from tools.reference.markdown import table

ROOT = Path(__file__).resolve().parents[2]
TOPIC = '/camera/image_raw'
SILENT = (
    f'no image on {TOPIC}, which nobody publishes; is the camera driver running, with the same '
    'ROS_DOMAIN_ID?'
)
LOSING = f'images of {TOPIC} are lost on the way, 40 since the last report: ...'
LATE = (
    f'images of {TOPIC} come after those of the other cameras of their moment were answered, and '
    'are not looked at, 10 since the last report: ...'
)
POSELESS = 'no pose on /odom, which nobody publishes: remap odom, or set pose_input to tf or none'
DARK = 'the image is black: 100% of it is darker than 12 of 255'


def diagnostics_entries() -> Iterator[str]:
    from vpr_ros.nodes.outputs.status import state_of

    yield '## Diagnostics\n'
    yield (
        'An entry for each camera, one for the poses where they are asked for, and three more. '
        'Sentences and their levels, for example:\n'
    )
    said: dict[tuple[str, str, str], None] = {}  # each once, in order
    keys: dict[str, dict[str, None]] = {}
    for situation in situations():
        for entry in entries_of(situation):
            name = entry.name.partition(': ')[2].partition(' ')[0]
            level = ('OK', 'WARN', 'ERROR')[entry.level[0]]
            said[name, level, entry.message] = None
            keys.setdefault(name, {}).update(dict.fromkeys(x.key for x in entry.values))
    for name, values in keys.items():
        title = {'input': 'input TOPIC', 'poses': 'poses SOURCE'}.get(name, name)
        yield f'### {title}\n'
        rows = [(level, text) for which, level, text in said if which == name]
        yield from table(('level', 'it says'), sorted(rows, key=lambda x: 'OWE'.index(x[0][0])))
        yield f'Values: {", ".join(folded(values))}.\n'
    yield '### The same in `~/status`\n'
    names = state_names()
    told = {names[state]: text for state, text in map(state_of, situations())}
    yield 'What keeps the node from more is told first, in this order:\n'
    order = ('LOADING', 'INACTIVE', 'PAUSED', 'STALE_INPUT', 'ERROR', 'DEGRADED', 'LOCALIZED')
    rows = [(f'`{x}`', told[x]) for x in (*order, 'MAPPING', 'SEARCHING')]
    yield from table(('state', 'for example'), rows)


def state_names() -> dict[int, str]:
    _, [part] = read_interface((ROOT / 'vpr_msgs/msg/VprStatus.msg').read_text(encoding='utf-8'))
    return {int(value): name for value, name, _ in part.values['state']}


def folded(keys: Iterable[str]) -> list[str]:
    """Names of values; those of the times of the stages in one."""
    found: dict[str, list[str]] = {}
    plain = []
    for key in keys:
        if match := re.fullmatch(r'lately: (\w+) (p50|p95|max), ms', key):
            found.setdefault(match[1], []).append(match[2])
        else:
            plain.append(f'`{key}`')
    if found:
        kinds = next(iter(found.values()))
        plain.append(f'`lately: STAGE KIND, ms` of {", ".join(found)}; {", ".join(kinds)}')
    return plain


def entries_of(situation: Any) -> list[Any]:
    from builtin_interfaces.msg import Time

    from vpr_ros.nodes.outputs.diagnostics import diagnostics

    return list(diagnostics('place_recognition', situation, Time()).status)


def usual() -> Any:
    """A moment at which all is well."""
    import torch

    from vpr_ros.models.engines.runtime import Placement
    from vpr_ros.nodes.inputs.pose_watch import PoseReport
    from vpr_ros.nodes.outputs.statistics import STAGES, Figures, Recent, Spread
    from vpr_ros.nodes.outputs.status import InputReport, MapReport, Situation
    from vpr_ros.records import Verdict

    recent = Recent(100, rate_hz=14.8, stages=dict.fromkeys(STAGES, Spread(45.0, 60.0, 81.0)))
    figures = Figures({Verdict.ACCEPTED: 210, Verdict.LOW_SIMILARITY: 600}, recent=recent)
    hears = InputReport(TOPIC, 900, 0, 29.97, 0.031, camera='known, and its mounting')
    poses = PoseReport('/odom', 809, 1)
    places = MapReport('office.vprmap', 'uuid', 3, 620)
    cpu = Placement(torch.device('cpu'), 'bf16', 'the processor has avx512_bf16')
    return Situation(
        'localize', True, '', False, True, (hears,), figures, places, 'sage_nano:0', cpu,
        poses,
    )  # fmt: skip


def situations() -> list[Any]:
    """Made-up moments in the life of a node, in which it says everything that it can say."""
    well = usual()

    def lately(**changes: Any) -> Any:
        recent = replace(well.figures.recent, **changes)
        return replace(well, figures=replace(well.figures, recent=recent))

    def heard(**changes: Any) -> Any:
        return replace(well, inputs=(replace(well.inputs[0], **changes),))

    lost = replace(well.placement, precision='fp32', reason='the GPU was lost', fell_back=True)
    full = 'no space left on device'
    return [
        well,
        replace(well, localized=False),
        replace(well, localized=False, mode='map'),
        type(well)('localize', active=False, loading='the model'),
        replace(well, active=False),
        replace(well, paused=True),
        heard(received=0),
        heard(trouble=LOSING),
        heard(trouble=SILENT, silent=True),
        heard(trouble=LATE, is_late=True),
        replace(well, poses=replace(well.poses, known=0)),
        replace(well, poses=replace(well.poses, trouble=POSELESS)),
        lately(unusable=60, last_unusable=DARK),
        lately(errors=100, last_error=full),
        lately(errors=3, last_error=full),
        lately(lost=40),
        lately(dropped=400),
        lately(answers=0, stages={}),
        replace(well, map=replace(well.map, places=0)),
        replace(well, mode='map', map=replace(well.map, unsaved=full)),
        replace(well, placement=lost),
        replace(well, clock_stands=True),
    ]
