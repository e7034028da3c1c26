"""`vpr demo` and `vpr demo-data`: the whole way on two synthetic drives; surveys to train on."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vpr_ros.cli.console import console, progress
from vpr_ros.cli.evaluate import show
from vpr_ros.cli.live import show_live
from vpr_ros.errors import ConfigError

if TYPE_CHECKING:
    from vpr_ros.recognition.drive import DriveOptions

MODEL, RULE = 'sage_nano', 'slam'
MAP_NAME = 'town.vprmap'
TRUTH_TOPIC = '/ground_truth/pose'
MOST_DEPTH_M = 65.535  # of 16 bits of millimetres
PLACES, SESSIONS, VIEWS_A_SESSION = 2000, 6, 2  # of a survey


def add_commands(commands: argparse._SubParsersAction) -> None:
    demo = commands.add_parser(
        'demo', help='render two drives, map one, recognise the other live over DDS'
    )
    demo.add_argument('-o', '--out', default='demo_out', help='folder for everything it makes')
    demo.add_argument('--seed', type=int, default=0, help='of the town')
    demo.set_defaults(run=run_demo)
    data = commands.add_parser(
        'demo-data', help='render two drives through a synthetic town, or a survey of one'
    )
    data.add_argument('-o', '--out', required=True, help='folder for the bags or the pictures')
    data.add_argument('--seed', type=int, default=0, help='of the town')
    data.add_argument('--workers', type=int, help='processes; without it: one a core')
    data.add_argument('--overwrite', action='store_true', help='replace earlier bags')
    data.add_argument(
        '--depth', type=float, nargs='?', const=MOST_DEPTH_M, default=0.0, metavar='M',
        help='bags: write depth images, too, to this range in metres (without it %(const)s)',
    )  # fmt: skip
    data.add_argument(
        '--survey', action='store_true', help='JPEG files of all streets in several sessions'
    )
    data.add_argument('--places', type=int, help='of a survey, at least')
    data.add_argument(
        '--sessions',
        help='of a survey: how many, or which: NAME=LIGHT/SEASON,... as in '
        'reference=noon/summer,query=night/winter',
    )
    data.add_argument('--views', type=int, help='of each place, over all sessions')
    data.set_defaults(run=run_data)


def run_data(arguments: argparse.Namespace) -> None:
    if arguments.survey:
        _run_survey(arguments)
        return
    _refuse_survey_options(arguments)
    from vpr_ros.synthetic.demo import write_demo

    start = time.monotonic()
    with progress('rendering') as report:
        drives = write_demo(
            arguments.out, arguments.seed, arguments.workers, report, arguments.overwrite,
            arguments.depth,
        )  # fmt: skip
    console.print(f'{drives.first} and {drives.second} in {time.monotonic() - start:.0f} s')


def _run_survey(arguments: argparse.Namespace) -> None:
    from vpr_ros.synthetic.outings import named_outings, plan_outings
    from vpr_ros.synthetic.survey import write_survey

    if arguments.overwrite:
        raise ConfigError('--overwrite is for bags: remove the earlier survey yourself')
    if arguments.depth:
        raise ConfigError('--depth is for bags: a survey is pictures alone')
    start, sessions = time.monotonic(), arguments.sessions or str(SESSIONS)
    if sessions.isdecimal():
        count = int(sessions)
        outings = plan_outings(count, arguments.views or VIEWS_A_SESSION * count)
    else:
        outings = named_outings(sessions, arguments.views)
    with progress('rendering') as report:
        survey = write_survey(
            arguments.out, arguments.seed, arguments.places or PLACES, outings,
            workers=arguments.workers, progress=report,
        )  # fmt: skip
    console.print(
        f'{survey.folder}: {survey.pictures} pictures of {survey.places} places, '
        f'{survey.look_alike} of which look like another, in {time.monotonic() - start:.0f} s'
    )


def _refuse_survey_options(arguments: argparse.Namespace) -> None:
    for option in ('places', 'sessions', 'views'):
        if getattr(arguments, option) is not None:
            raise ConfigError(f'--{option} is for surveys: add --survey, or leave it out')


def run_demo(arguments: argparse.Namespace) -> None:
    from vpr_ros.nodes import require_ros
    from vpr_ros.recognition.drive import DriveOptions
    from vpr_ros.synthetic.demo import write_demo

    require_ros()  # now, not after two minutes of rendering
    out, options = Path(arguments.out), DriveOptions(pose_topic=TRUTH_TOPIC)
    out.mkdir(parents=True, exist_ok=True)
    _step('1  Two drives: a loop in the morning; in the afternoon part of it, and new streets')
    with progress('rendering') as report:
        drives = write_demo(out / 'drives', arguments.seed, progress=report, overwrite=True)
    _map_first(drives.first, out, options)
    _loops_of_first(drives.first, out, options)
    _second_live(drives.second, out, options)


def _map_first(bag: Path, out: Path, options: DriveOptions) -> None:
    from vpr_ros.models import build_model
    from vpr_ros.recognition.mapping import build_map

    _step('2  A map from the first drive')
    with progress('describing') as report:
        summary = build_map(
            bag, build_model(MODEL), out / MAP_NAME, options, report, overwrite=True
        )
    console.print(f'{out / MAP_NAME}: {summary.places} places from {summary.images} images')


def _loops_of_first(bag: Path, out: Path, options: DriveOptions) -> None:
    from vpr_ros.evaluation.drives import evaluate_drive
    from vpr_ros.evaluation.protocols import preset
    from vpr_ros.evaluation.report import write_report
    from vpr_ros.models import build_model

    _step('3  Loops of the first drive with its own past')
    with progress('recognising') as report:
        drive = evaluate_drive(
            bag, build_model(MODEL), preset(RULE), options=options, progress=report
        )
    show(drive)
    page = write_report(drive.evaluation, out / 'loops', drive.queries)
    console.print(f'report: {page}')


def _second_live(bag: Path, out: Path, options: DriveOptions) -> None:
    from vpr_ros.evaluation.drives import evaluate_live
    from vpr_ros.evaluation.protocols import preset
    from vpr_ros.evaluation.report import write_report
    from vpr_ros.nodes.playback.live import run_live

    _step('4  The second drive, played over DDS to the live node, which localises in the map')
    with progress('live') as report:
        result = run_live(bag, {'map': str(out / MAP_NAME)}, out / 'live', progress=report)
    show_live(result)
    drive = evaluate_live(bag, result.matches_file, preset(RULE), options, out / MAP_NAME)
    show(drive)
    page = write_report(drive.evaluation, out / 'report', drive.queries, drive.references)
    console.print(f'[bold]report: {page}[/]')


def _step(words: str) -> None:
    console.print(f'\n[bold cyan]{words}[/]')
