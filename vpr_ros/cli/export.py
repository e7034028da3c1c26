"""`vpr export`: a model for engines other than torch."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from rich.markup import escape

from vpr_ros.cli.console import console, progress
from vpr_ros.errors import ConfigError

MEGABYTE = 10**6


def add_commands(commands: argparse._SubParsersAction) -> None:
    export = commands.add_parser('export', help='write a model for other engines, checked')
    export.add_argument('name', help='see `vpr models`')
    export.add_argument('--onnx', required=True, metavar='OUT', help='the .onnx file to write')
    export.add_argument('--weights', default='', help='checkpoint; without it: those at hand')
    export.add_argument('--image', default='', metavar='HxW', help='only for images of this size')
    export.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from vpr_ros.models.engines.export import export_onnx

    if not Path(arguments.onnx).absolute().parent.is_dir():
        raise ConfigError(f'no folder {Path(arguments.onnx).parent} to write the model to')
    size = parse_size(arguments.image) if arguments.image else None
    with progress(f'export of {arguments.name}') as report:
        made = export_onnx(arguments.name, arguments.onnx, arguments.weights, size, report)
    console.print(
        f'{escape(str(made.path))}: {made.bytes / MEGABYTE:.1f} MB, at most {made.difference:.1g} '
        'from torch in ONNX Runtime'
    )


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from `480x640`.

    Raises:
        ConfigError: it is something else.
    """
    found = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', text)
    if not found:
        raise ConfigError(f'expected an image size HEIGHTxWIDTH such as 480x640, found {text!r}')
    return int(found[1]), int(found[2])
