"""`vpr models`: what models there are and what their weights say of themselves."""

from __future__ import annotations

import argparse
import json

from rich.table import Table

from vpr_ros.cli.console import console, print_table


def add_commands(commands: argparse._SubParsersAction) -> None:
    models = commands.add_parser('models', help='list the models, or show a checkpoint')
    models.add_argument('checkpoint', nargs='?', help='show this file; without it: list all')
    models.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from vpr_ros.models.registry import MODELS
    from vpr_ros.models.weights.checkpoint import read_header

    if arguments.checkpoint:
        header = read_header(arguments.checkpoint)
        console.print(f'{header.model}, fingerprint {header.fingerprint}')
        console.print(f'similarity threshold {header.similarity_threshold}')
        console.print_json(json.dumps(header.provenance))
        return
    table = Table('name', 'input', 'descriptor', 'weights', 'what')
    for name, spec in MODELS.items():
        size = f'{spec.input.size[0]}x{spec.input.size[1]}'
        weights = 'bundled' if spec.bundled else 'yours'
        table.add_row(name, size, str(spec.descriptor_dim), weights, spec.about)
    print_table(table)
