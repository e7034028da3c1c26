"""`vpr evaluate`: how well a drive is recognised, in figures and pictures."""

from __future__ import annotations

import argparse
from dataclasses import replace

from rich.table import Table

from vpr_ros.cli.console import console, print_table, progress, show_losses
from vpr_ros.cli.maps import (
    add_depth_options,
    add_drive_options,
    chosen_model,
    drive_options,
)
from vpr_ros.cli.options import add_stages, read_stages
from vpr_ros.cli.paths import check_map, check_recording, check_report
from vpr_ros.errors import ConfigError, DatasetError

RULE_HELP = (
    'what a true match is: slam (10 m, 45 deg, 30 s and 50 m ago), indoor (1.5 m, 45 deg, 10 s), '
    'tabletop (0.3 m, 20 deg, 10 s), kitti-4m, kitti-25m, robotcar or geo-25m'
)
OVER_THE_RULE: dict[str, tuple[type, str]] = {
    'positive-m': (float, 'matches are right up to this distance'),
    'negative-m': (float, 'and wrong from this one on; between the two they are not judged'),
    'heading-deg': (float, 'largest angle between the viewing directions of a right match'),
    'gap-s': (float, 'within one drive: how long ago a place must have been seen'),
    'gap-m': (float, 'within one drive: how much path ago'),
    'gap-frames': (int, 'within one drive: how many images ago'),
}


def add_commands(commands: argparse._SubParsersAction) -> None:
    evaluate = commands.add_parser('evaluate', help='recognise a drive and score the answers')
    evaluate.add_argument('bag', help='the drive; its poses are the truth')
    evaluate.add_argument('--map', help='localise in this map; without it: loops of the drive')
    evaluate.add_argument('--report', help='folder to write figures and pages to')
    evaluate.add_argument(
        '--stages', action='store_true',
        help='compare the stages in one run: similarity alone, re-ranking, verification, time, '
        'probability',
    )  # fmt: skip
    add_rule_options(evaluate)
    add_drive_options(evaluate)
    add_depth_options(evaluate)
    add_stages(evaluate)
    evaluate.set_defaults(run=run)


def add_rule_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what a true match is."""
    parser.add_argument('--rule', default='slam', help=f'{RULE_HELP} (default %(default)s)')
    for name, (kind, text) in OVER_THE_RULE.items():
        parser.add_argument(f'--{name}', type=kind, help=f"{text}, in place of the rule's")
    parser.add_argument(
        '--viewing-axis',
        default='x',
        choices=('x', 'y', 'z', '-x', '-y', '-z'),
        help='axis of the base along which the camera looks (default %(default)s)',
    )


def run(arguments: argparse.Namespace) -> None:
    (run_stages if arguments.stages else run_once)(arguments)


def run_once(arguments: argparse.Namespace) -> None:
    """Answer the drive and score the answers."""
    rule, config = chosen_rule(arguments), read_stages(arguments)
    check_recording(arguments.bag)
    check_map(arguments.map)
    check_report(arguments.report)
    from vpr_ros.evaluation.drives import evaluate_drive
    from vpr_ros.evaluation.report import write_report

    model, options = chosen_model(arguments), drive_options(arguments)
    with progress('recognising') as report:
        drive = evaluate_drive(
            arguments.bag, model, rule, config, options,
            map_path=arguments.map, viewing_axis=arguments.viewing_axis, progress=report,
        )  # fmt: skip
    show(drive)
    if arguments.report:
        page = write_report(drive.evaluation, arguments.report, drive.queries, drive.references)
        console.print(f'report: {page}')


def run_stages(arguments: argparse.Namespace) -> None:
    """Answer the drive with each set of stages."""
    rule, config = chosen_rule(arguments), read_stages(arguments)
    check_recording(arguments.bag)
    check_map(arguments.map)
    from vpr_ros.evaluation.rides import ride_of_bag
    from vpr_ros.evaluation.stage_report import stage_table, write_stages
    from vpr_ros.evaluation.stages import compare

    model, options = chosen_model(arguments), drive_options(arguments)
    with progress('describing') as report:
        ride = ride_of_bag(
            arguments.bag, model, rule, options, arguments.map, arguments.viewing_axis, report
        )
    with progress('comparing stages') as report:
        results = compare(model, ride, config, progress=report)
    print_table(stage_table(ride.name, results))
    if arguments.report:
        console.print(f'report: {write_stages(ride.name, results, arguments.report)}')


def chosen_rule(arguments: argparse.Namespace):
    """The preset with what was given over it.

    Raises:
        ConfigError: there is none of this name, or it makes no sense with what was given.
    """
    from vpr_ros.evaluation.protocols import preset

    names = ('positive_m', 'negative_m', 'heading_deg', 'gap_s', 'gap_m', 'gap_frames')
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    try:
        rule = preset(arguments.rule)
        return replace(rule, name=f'{rule.name}, changed', **given) if given else rule
    except DatasetError as error:
        raise ConfigError(str(error)) from None  # wrong use, and not wrong data


def show(drive) -> None:
    """Print the figures of a report as people ask for them."""
    from vpr_ros.evaluation.words import facts, headline, remark

    console.print(f'[bold]{headline(drive.evaluation)}[/]')
    if not drive.evaluation.closures.matchable:
        console.print(remark(drive.evaluation), markup=False)
    table = Table(show_header=False)
    for fact in facts(drive.evaluation):
        table.add_row(fact.name, fact.value, fact.note)
    print_table(table)
    if drive.unposed:
        console.print(f'{drive.unposed} images have no pose and were not judged')
    show_losses(drive.losses)
