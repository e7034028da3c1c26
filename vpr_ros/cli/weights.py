"""`vpr weights list | fetch | convert | info | quantize`: weights, mostly published by others."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from vpr_ros.cli import quantize
from vpr_ros.cli.console import console, print_table, progress
from vpr_ros.errors import ConfigError

if TYPE_CHECKING:
    from vpr_ros.models.weights.convert import WeightsFile

MEGABYTE = 10**6


def add_commands(commands: argparse._SubParsersAction) -> None:
    kinds = commands.add_parser(
        'weights', help='fetch, convert and look at published weights'
    ).add_subparsers(metavar='COMMAND', required=True)
    listed = kinds.add_parser('list', help='list what can be fetched')
    listed.add_argument('--addresses', action='store_true', help='show where each file lies')
    listed.set_defaults(run=run_list)
    fetch = kinds.add_parser('fetch', help='download weights; an interrupted download continues')
    fetch.add_argument('name', help='see `vpr weights list`')
    fetch.add_argument('--folder', type=Path, help='where to; without it: where models look')
    fetch.add_argument('--url', default='', help='another address of the published file')
    fetch.add_argument('--verify', action='store_true', help='insist on the SHA-256 on record')
    fetch.add_argument('--sha256', default='', help='insist on this SHA-256')
    fetch.add_argument('--again', action='store_true', help='although they are there')
    fetch.set_defaults(run=run_fetch)
    convert = kinds.add_parser('convert', help='write a released file in our own format')
    convert.add_argument('file', help='.pth or .safetensors of SAGE, FoL, DINOv2 or timm')
    convert.add_argument('-o', '--output', required=True, help='the .safetensors file to write')
    convert.add_argument('--model', default='', help='for it; without this: the one it fits')
    convert.set_defaults(run=run_convert)
    info = kinds.add_parser('info', help='show what a file of weights is')
    info.add_argument('file', help='of ours, or .pth or .safetensors of others')
    info.set_defaults(run=run_info)
    quantize.add_command(kinds)


def run_list(arguments: argparse.Namespace) -> None:
    from vpr_ros.models.weights.published import PUBLISHED, fetched_weights

    table = Table('name', 'licence', 'here', 'what')
    for name, entry in PUBLISHED.items():
        here = 'yes' if fetched_weights(name).is_file() else ''
        table.add_row(name, entry.licence, here, entry.about)
    print_table(table)
    if arguments.addresses:
        for name, entry in PUBLISHED.items():
            for address in entry.addresses:
                console.print(f'{name} {address}', markup=False)


def run_fetch(arguments: argparse.Namespace) -> None:
    from vpr_ros.models.weights.fetch import Wish, fetch

    keys = ('name', 'folder', 'url', 'sha256', 'verify', 'again')
    wish = Wish(**{key: getattr(arguments, key) for key in keys})
    try:
        with progress(f'{arguments.name}, MB') as report:
            fetched = fetch(wish, lambda done, all_: report(done // MEGABYTE, all_ // MEGABYTE))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            'interrupted; what has come is kept, the same command continues'
        ) from None
    if fetched.differs:
        console.print(
            f'[bold red]SHA-256 {fetched.found} is not {fetched.recorded}[/], which a third party '
            'recorded: the file may have been replaced; --verify refuses it'
        )
    state = 'there already' if fetched.was_there else 'fetched'
    console.print(f'{escape(str(fetched.path))}: {state}')
    _show(fetched.file)


def run_convert(arguments: argparse.Namespace) -> None:
    from vpr_ros.models.weights.convert import convert

    if not Path(arguments.output).absolute().parent.is_dir():
        raise ConfigError(f'no folder {Path(arguments.output).parent} to write the weights to')
    _show(convert(arguments.file, arguments.output, arguments.model))


def run_info(arguments: argparse.Namespace) -> None:
    from vpr_ros.models.weights.convert import inspect

    _show(inspect(arguments.file))


def _show(file: WeightsFile) -> None:
    for key, value in {  # lines, not a table, which would break a hash in two
        'kind': file.kind,
        'model': file.model,
        'parameters': f'{file.parameters:,} in {file.tensors} tensors',
        'fingerprint': file.fingerprint or 'none: no whole model of ours',
        'threshold': file.threshold or (file.fingerprint and 'none stored'),
        'sha256': file.sha256,
        'published as': file.published.file if file.published else '',
        'licence': file.published.licence if file.published else '',
    }.items():
        if value:
            console.print(f'{key:<13} {value}', markup=False)
    if file.provenance:
        console.print_json(json.dumps(file.provenance))
