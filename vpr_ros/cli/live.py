"""`vpr replay` and `vpr live`: recordings over DDS, for those without `ros2 bag`."""

from __future__ import annotations

import argparse
from typing import Any

from rich.table import Table

from vpr_ros.cli.console import console, print_table, progress
from vpr_ros.cli.evaluate import add_rule_options, chosen_rule, show
from vpr_ros.cli.options import add_settings, given_settings
from vpr_ros.cli.paths import check_report
from vpr_ros.config import NodeConfig
from vpr_ros.errors import ConfigError

RULE_NOTE = 'score the answers by the poses of the recording; see `vpr evaluate --help`'


def add_commands(commands: argparse._SubParsersAction) -> None:
    _add_replay(commands)
    _add_live(commands)


def _add_replay(commands: argparse._SubParsersAction) -> None:
    replay = commands.add_parser('replay', help='publish a recording over DDS')
    replay.add_argument('bag', help='rosbag2 folder, .mcap, .db3 or ROS 1 .bag')
    replay.add_argument('--topics', nargs='+', help='only these; without it: all')
    replay.add_argument(
        '--rate', type=float, default=1.0, help='times as fast as recorded (default %(default)s)'
    )
    replay.add_argument(
        '--lockstep', action='store_true', help='publish each image once the last is answered'
    )
    replay.add_argument('--loop', action='store_true', help='begin anew at the end')
    replay.add_argument('--clock', action='store_true', help='publish recording time on /clock')
    replay.add_argument(
        '--remap',
        nargs='+',
        default=[],
        metavar='FROM:=TO',
        type=_remap,
        help='other names for topics',
    )
    replay.set_defaults(run=run_replay)


def _add_live(commands: argparse._SubParsersAction) -> None:
    live = commands.add_parser(
        'live', help='start the node, play a recording to it over DDS, and score its answers'
    )
    live.add_argument('bag', help='rosbag2 folder, .mcap, .db3 or ROS 1 .bag')
    live.add_argument('-o', '--out', required=True, help='folder for answers, log and settings')
    live.add_argument('--image-topic', default='', help='needed where a bag has several')
    live.add_argument('--pose-topic', default='', help='poses to play to the node')
    live.add_argument(
        '--depth-topic', default='',
        help='depth aligned with the image; without it: the one beside the camera in the same '
        'frame; `none` plays none',
    )  # fmt: skip
    live.add_argument('--truth-topic', default='', help=f'poses to {RULE_NOTE}')
    live.add_argument(
        '--rate', type=float, default=1.0, help='times as fast as recorded (default %(default)s)'
    )
    live.add_argument('--lockstep', action='store_true', help='as fast as the node answers')
    live.add_argument('--report', help='folder to write figures and pages to')
    add_rule_options(live)
    add_settings(live, _=NodeConfig)
    live.set_defaults(run=run_live)


def run_replay(arguments: argparse.Namespace) -> None:
    from vpr_ros.nodes import require_ros

    require_ros()
    from vpr_ros.nodes.playback.replay import replay

    with progress('publishing') as report:
        summary = replay(
            arguments.bag, arguments.topics, arguments.rate, arguments.lockstep, arguments.loop,
            dict(arguments.remap), report, arguments.clock,
        )  # fmt: skip
    for topic, type_ in summary.skipped.items():
        console.print(f'[yellow]skipped[/] {topic}: {type_} is not installed')
    console.print(
        f'{summary.messages} messages, {summary.images} images with a listener, '
        f'{summary.unanswered} unanswered, {summary.duration_s:.1f} s'
    )


def run_live(arguments: argparse.Namespace) -> None:
    from vpr_ros.nodes import require_ros

    require_ros()
    from vpr_ros.bags.reader import open_bag
    from vpr_ros.nodes.playback.live import run_live
    from vpr_ros.nodes.playback.node_arguments import topics_of

    settings = given_settings(arguments, '_')
    if arguments.truth_topic and settings.get('mode') == 'both':
        raise ConfigError(
            'answers of mode both come from the map and the drive itself, which --truth-topic '
            'cannot judge at once: use mode localize or map, or leave it out'
        )
    if arguments.report and not arguments.truth_topic:
        raise ConfigError('--report shows answers that were scored: name --truth-topic, too')
    chosen_rule(arguments)  # whatever is wrong is told now, not after the drive
    check_report(arguments.report)
    with open_bag(arguments.bag) as bag:
        if arguments.truth_topic:
            bag.info(arguments.truth_topic)
        topics = topics_of(bag, arguments.image_topic, arguments.pose_topic, arguments.depth_topic)
    with progress('live') as report:
        result = run_live(
            arguments.bag, settings, arguments.out, topics, arguments.rate, arguments.lockstep,
            report,
        )  # fmt: skip
    show_live(result)
    if arguments.truth_topic:
        score_live(arguments, result, settings)


def show_live(result: Any) -> None:
    """Print the figures of a live run."""
    table = Table(show_header=False)
    lost = f', {result.losses} messages could not be read' if result.losses else ''
    table.add_row('images published', f'{result.images}{lost}')
    table.add_row('answered', f'{result.answered}, {result.dropped} dropped for a newer one')
    table.add_row('accepted', f'{result.accepted}, {result.closures} loop closures')
    for verdict, count in sorted(result.verdicts.items()):
        table.add_row(f'  {verdict.lower()}', str(count))
    latency = ', '.join(f'{name} {value:.0f} ms' for name, value in result.latency_ms.items())
    table.add_row('publish to answer', latency)
    table.add_row('model', f'{result.inference_ms:.1f} ms on average')
    print_table(table)
    if result.exit_code:
        console.print(f'[yellow]the node ended with exit code {result.exit_code}[/]: see node.log')


def score_live(arguments: argparse.Namespace, result: Any, settings: dict[str, Any]) -> None:
    """Judge the answers of a live run by the poses of the recording."""
    from vpr_ros.evaluation.drives import evaluate_live
    from vpr_ros.evaluation.report import write_report
    from vpr_ros.recognition.drive import DriveOptions

    localised = settings.get('mode', 'localize') == 'localize'
    drive = evaluate_live(
        arguments.bag, result.matches_file, chosen_rule(arguments),
        DriveOptions(arguments.image_topic, arguments.truth_topic),
        settings.get('map') if localised else None, arguments.viewing_axis,
    )  # fmt: skip
    show(drive)
    if arguments.report:
        page = write_report(drive.evaluation, arguments.report, drive.queries, drive.references)
        console.print(f'report: {page}')


def _remap(text: str) -> tuple[str, str]:
    before, found, after = text.partition(':=')
    if not found:
        raise argparse.ArgumentTypeError(f'expected FROM:=TO, found {text!r}')
    return before, after
