"""`vpr calibrate`: fit the probability of a map's answers to a drive with poses."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from rich.table import Table

from vpr_ros.cli.console import console, print_table, progress, show_losses
from vpr_ros.cli.evaluate import add_rule_options, chosen_rule
from vpr_ros.cli.maps import (
    add_depth_options,
    add_drive_options,
    chosen_model,
    drive_options,
)
from vpr_ros.cli.options import add_stages, read_stages
from vpr_ros.cli.paths import check_map, check_recording

RATES = (0.01, 0.05, 0.1)
METHODS = ('logistic', 'isotonic')  # of recognition.calibration, which takes seconds to import


def add_commands(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        'calibrate', help='fit the probability of answers, and store it in the map'
    )
    parser.add_argument('map', help='the .vprmap file')
    parser.add_argument('bag', help='a drive through it; its poses are the truth')
    parser.add_argument(
        '--method', choices=METHODS, default=METHODS[0],
        help='logistic: logistic regression of the signals; isotonic: isotonic regression of its '
        'log odds, for long drives (default %(default)s)',
    )  # fmt: skip
    parser.add_argument('--report', help='PNG of the reliability diagram to write')
    add_rule_options(parser)
    add_drive_options(parser)
    add_depth_options(parser)
    add_stages(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    rule, config = chosen_rule(arguments), read_stages(arguments)
    check_map(arguments.map)
    check_recording(arguments.bag)
    from vpr_ros.evaluation.calibrate import calibrate_map
    from vpr_ros.evaluation.speed import check_output

    if arguments.report:
        check_output(Path(arguments.report))
    model, options = chosen_model(arguments), drive_options(arguments)
    with progress('recognising') as report:
        found = calibrate_map(
            arguments.map, arguments.bag, model, rule, config, options,
            viewing_axis=arguments.viewing_axis, progress=report, method=arguments.method,
        )  # fmt: skip
    show(found)
    show_losses(found.losses)
    if arguments.report:
        console.print(f'report: {write_diagram(found, Path(arguments.report))}')


def show(found) -> None:
    """Print the figures of held-out answers and what thresholds they allow."""
    figures, calibrator = found.reliability, found.calibrator
    low, high = figures.ece_interval
    table = Table(show_header=False)
    table.add_row('answers', f'{figures.answers}, {figures.correct:.1%} right')
    table.add_row('calibration error', f'{figures.ece:.3f}, 95 % interval {low:.3f} to {high:.3f}')
    table.add_row('Brier score', f'{figures.brier:.3f}')
    table.add_row('area under risk-coverage', f'{figures.aurc:.3f}')
    table.add_row('signals', ', '.join(calibrator.names))
    table.add_row('method', calibrator.method)
    for rate in RATES:
        threshold = calibrator.threshold_for(rate)
        shown = f'probability {threshold:.3f}' if math.isfinite(threshold) else 'too few answers'
        table.add_row(f'at most {rate:.0%} wrong', shown)
    print_table(table)


def write_diagram(found, path: Path) -> Path:
    """Draw the held-out answers; the file appears whole or not at all."""
    from vpr_ros.evaluation.reliability import reliability_diagram

    figure = reliability_diagram({'held out': (found.probability, found.correct)})
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        figure.savefig(part, format='png')
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
