"""The page, part by part."""

from __future__ import annotations

import dataclasses
import inspect
import math
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.reference.channels import (
    ACTION,
    EXECUTABLES,
    GROUPS,
    HEARD,
    LAUNCH_FILES,
    MESSAGES,
    SAID,
    SERVED,
    Channel,
)
from tools.reference.diagnostics import diagnostics_entries
from tools.reference.interfaces import interface
from tools.reference.markdown import table
from vpr_ros.config import NodeConfig, Option, live_names, walk

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/reference.md'
TYPES = {str: 'string', int: 'integer', float: 'double', bool: 'bool'}
UNLIMITED = 1e6  # from here on a limit is only there to keep nonsense out


def page() -> str:
    """The whole reference, Markdown."""
    parts = (
        introduction(), topics(), services(), parameters(), messages(), service_fields(),
        diagnostics_entries(), executables(), launch_files(),
    )  # fmt: skip
    return '\n'.join(line for part in parts for line in part)


def introduction() -> Iterator[str]:
    yield '# Reference of the live node\n'
    yield 'Written by `python -m tools.reference` from the code; a test compares both.'
    yield 'What it all means: `concepts.md`. Node and executable are called `place_recognition`.\n'
    yield '[Topics](#topics) · [Services and action](#services-and-action) ·'
    yield '[Parameters](#parameters) · [Messages](#messages) ·'
    yield '[Fields of services and action](#fields-of-services-and-action) ·'
    yield '[Diagnostics](#diagnostics) · [Launch files](#launch-files)\n'


def topics() -> Iterator[str]:
    yield '## Topics\n'
    yield '`~` is the name of the node. *Kept*: late subscribers get the last message.\n'
    yield '### It listens to\n'
    yield 'While it is active. A camera `front` of the parameter `cameras` has `front/image`,'
    yield '`front/camera_info` and `front/depth`. The quality of service of images follows'
    yield '`qos_overrides./TOPIC.subscription.reliability` and its sisters.\n'
    yield from table(('topic', 'type', 'QoS', 'when'), map(as_row, HEARD))
    yield '### It publishes\n'
    yield 'The first four only while active.\n'
    yield from table(('topic', 'type', 'QoS', 'when'), map(as_row, SAID))


def services() -> Iterator[str]:
    yield '## Services and action\n'
    yield 'They are there from configuration on; a node that is not active says so in the answer.'
    yield 'None keeps images waiting for longer than its own work takes.\n'
    rows = [(f'`{x.name}`', f'`{x.type}`', x.text) for x in (*SERVED, ACTION)]
    yield from table(('name', 'type', 'does'), rows)
    yield 'Besides: `~/change_state`, `~/get_state` and the others of every lifecycle node, and'
    yield '`~/get_parameters`, `~/set_parameters` and the others of every node.\n'


def parameters() -> Iterator[str]:
    yield '## Parameters\n'
    yield 'Those marked *live* may change while the node is active; the others are read when it'
    yield 'is configured. The same names are the options of `vpr` and the keys in YAML.\n'
    live = set(live_names(NodeConfig))
    left = {name: (field_, type_) for name, field_, type_ in walk(NodeConfig)}
    for title, wanted in GROUPS.items():
        names = [x for x in left if x in wanted or f'{x.partition(".")[0]}.' in wanted]
        rows = [parameter_row(name, *left.pop(name), name in live) for name in names]
        yield f'### {title}\n'
        yield from table(('parameter', 'type', 'default', 'range', 'changes', 'what'), rows)
    if left:
        raise ValueError(f'these parameters are in no group of channels.py: {", ".join(left)}')


def executables() -> Iterator[str]:
    yield '## Other executables\n'
    yield 'Their topics and what they do with a neighbour: the page named beside each.\n'
    for name, (cls, page_) in EXECUTABLES.items():
        what = (cls.__doc__ or '').splitlines()[0].partition(': ')[2]
        rows = [parameter_row(*setting, False) for setting in walk(cls)]
        yield f'### `{name}`\n'
        yield f'{what.capitalize()} See [{page_}]({page_}).\n'
        kept = [(row[0], row[1], row[2], row[3], row[5]) for row in rows]
        yield from table(('parameter', 'type', 'default', 'range', 'what'), kept)


def parameter_row(
    name: str, field_: dataclasses.Field, type_: type, live: bool
) -> tuple[str, ...]:
    option: Option = field_.metadata['option']
    return (
        f'`{name}`', TYPES.get(type_, 'string[]'), f'`{in_yaml(field_.default)}`',
        limits(option, type_), 'live' if live else '', option.help,
    )  # fmt: skip


def in_yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return f'[{", ".join(map(in_yaml, value))}]'
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != '' else "''"


def limits(option: Option, type_: type) -> str:
    """Choices or range in words; what is only there to keep nonsense out is left out."""
    if option.choices:
        return ', '.join(option.choices)
    low, high = option.low, option.high
    if high is not None and high >= UNLIMITED:
        high = None
    if low is None and high is None:
        return ''
    if high is None:
        return f'at least {number(low)}'
    return f'{number(low)} to {number(high)}'


def number(value: float | None) -> str:
    return 'pi' if value == math.pi else f'{value:g}'


def messages() -> Iterator[str]:
    yield '## Messages\n'
    yield 'Of `vpr_msgs`. Lengths in metres, angles in radians; NaN: not known.\n'
    for name in MESSAGES:
        yield from interface(name, ROOT / f'vpr_msgs/msg/{name}.msg', ('',))


def service_fields() -> Iterator[str]:
    yield '## Fields of services and action\n'
    for channel in SERVED:
        if channel.type.startswith('vpr_msgs'):
            name = channel.type.rpartition('/')[2]
            path = ROOT / f'vpr_msgs/srv/{name}.srv'
            yield from interface(name, path, ('Request', 'Answer'))
    name = ACTION.type.rpartition('/')[2]
    path = ROOT / f'vpr_msgs/action/{name}.action'
    yield from interface(name, path, ('Goal', 'Result', 'Feedback'))


def launch_files() -> Iterator[str]:
    yield '## Launch files\n'
    yield '`ros2 launch vpr_ros NAME.launch.py argument:=value`\n'
    for name in LAUNCH_FILES:
        module = runpy.run_path(str(ROOT / f'launch/{name}.launch.py'))
        yield f'### {name}.launch.py\n'
        yield f'{inspect.cleandoc(module["__doc__"])}\n'
        rows = [
            (
                f'`{key}`',
                'must be given' if x.default is None else f'`{in_yaml(x.default)}`',
                choice_of(x),
                x.description,
            )
            for key, x in module['ARGUMENTS'].items()
        ]
        yield from table(('argument', 'default', 'choices', 'what'), rows)


def choice_of(argument: Any) -> str:
    switch = 'True' in argument.choices
    return 'true, false' if switch else ', '.join(filter(None, argument.choices))


def as_row(channel: Channel) -> tuple[str, ...]:
    return f'`{channel.name}`', f'`{channel.type}`', channel.qos, channel.text
