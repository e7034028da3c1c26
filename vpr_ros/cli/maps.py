"""`vpr map build | compress | merge | check | info`, and those of `map_graph`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from vpr_ros.cli import map_graph
from vpr_ros.cli.console import Report, console, print_table, progress, show_losses
from vpr_ros.cli.options import add_settings, read_settings
from vpr_ros.cli.paths import check_new_map, check_recording
from vpr_ros.config import KeyframeConfig, ModelConfig, NodeConfig, PoseConfig
from vpr_ros.errors import ConfigError, MapDamagedError

if TYPE_CHECKING:
    from vpr_ros.maps.place_map import PlaceMap


def add_commands(commands: argparse._SubParsersAction) -> None:
    kinds = commands.add_parser('map', help='build and inspect maps').add_subparsers(
        metavar='COMMAND', required=True
    )
    build = kinds.add_parser('build', help='build a map from a recorded drive')
    build.add_argument('bag', help='rosbag2 folder, .mcap, .db3 or ROS 1 .bag')
    build.add_argument('-o', '--output', required=True, help='the .vprmap file to write')
    build.add_argument('--overwrite', action='store_true', help='replace an existing map')
    build.add_argument('--dim', type=int, help='compress descriptors to this length')
    add_centred(build)
    add_drive_options(build)
    build.set_defaults(run=run_build)
    shorter = kinds.add_parser('compress', help='write a map with shorter descriptors')
    shorter.add_argument('map', help='the .vprmap file')
    shorter.add_argument('-o', '--output', required=True, help='the .vprmap file to write')
    shorter.add_argument(
        '--dim', type=int, required=True, metavar='N',
        help='length of the descriptors, less than the number of places',
    )  # fmt: skip
    add_centred(shorter)
    shorter.add_argument('--overwrite', action='store_true', help='replace an existing map')
    shorter.set_defaults(run=run_compress)
    merged = kinds.add_parser('merge', help='write one map of the places of several')
    merged.add_argument('maps', nargs='+', metavar='MAP', help='two or more .vprmap files')
    merged.add_argument('-o', '--output', required=True, help='the .vprmap file to write')
    merged.add_argument('--overwrite', action='store_true', help='replace an existing map')
    merged.set_defaults(run=run_merge)
    checked = kinds.add_parser('check', help='look whether a map is whole; exit code 1: it is not')
    checked.add_argument('map', help='the .vprmap file')
    checked.set_defaults(run=run_check)
    map_graph.add_commands(kinds)
    info = kinds.add_parser('info', help='show what is in a map')
    info.add_argument('map', help='the .vprmap file')
    info.set_defaults(run=run_info)


def add_centred(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--centred', action='store_true',
        help="compress as SAGE's authors do: similarities are cosines no more, and thresholds of "
        'weights do not fit them',
    )  # fmt: skip


def add_drive_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that reads a drive and describes its images."""
    parser.add_argument('--image-topic', default='', help='needed where a bag has several')
    parser.add_argument(
        '--pose-topic', default='', help='odometry, pose or /tf topic; `none` ignores poses'
    )
    parser.add_argument(
        '--base-frame', default=NodeConfig.base_frame, metavar='FRAME',
        help='whose poses they are, where the topic does not say (default %(default)s); '
        '/tf_static tells how the camera is mounted on it',
    )  # fmt: skip
    parser.add_argument(
        '--pose-frame', default='', metavar='FRAME',
        help='that poses are given in, where the topic has several; of /tf: map, or else odom',
    )  # fmt: skip
    add_settings(parser, model=ModelConfig, keyframes=KeyframeConfig, pose=PoseConfig)


def add_depth_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that asks about the images of a drive; places have no depth."""
    parser.add_argument(
        '--depth-topic', default='',
        help='depth aligned with the image, for poses in metres; without it: the one beside the '
        'camera in the same frame; `none` ignores depth',
    )  # fmt: skip
    parser.add_argument(
        '--depth-gap-s', type=float, default=NodeConfig.depth_gap_s, metavar='S',
        help='largest time between an image and its depth (default %(default)s)',
    )  # fmt: skip


def drive_options(arguments: argparse.Namespace):
    """DriveOptions of the command line."""
    from vpr_ros.recognition.drive import NO_DEPTH, DriveOptions

    return DriveOptions(
        arguments.image_topic,
        arguments.pose_topic,
        read_settings(arguments, 'keyframes', KeyframeConfig()),
        read_settings(arguments, 'pose', PoseConfig()),
        getattr(arguments, 'depth_topic', NO_DEPTH),
        getattr(arguments, 'depth_gap_s', NodeConfig.depth_gap_s),
        arguments.base_frame,
        arguments.pose_frame,
    )


def chosen_model(arguments: argparse.Namespace):
    """The model of the command line, with its weights."""
    from vpr_ros.models import build_model

    config = read_settings(arguments, 'model', ModelConfig())
    return build_model(config.name, config.device, config.weights, config.precision)


def run_build(arguments: argparse.Namespace) -> None:
    check_recording(arguments.bag)
    check_new_map(arguments.output, arguments.overwrite)
    from vpr_ros.maps.compress import Compression
    from vpr_ros.recognition.mapping import build_map

    options, model = drive_options(arguments), chosen_model(arguments)
    path, dim = Path(arguments.output), arguments.dim
    with stages() as stage:
        compression = None if dim is None else Compression(dim, arguments.centred, stage)
        report = stage('reading images')
        summary = build_map(
            arguments.bag, model, path, options, report, arguments.overwrite, compression
        )
    show_losses(summary.losses)
    console.print(
        f'{path}: {summary.places} places from {summary.images} images, '
        f'{summary.posed} with a pose, {path.stat().st_size / 1e6:.1f} MB, {model.id}'
    )
    if summary.compression:
        console.print(f'compressed to {dim}: {_told(summary.compression)}')
    elif compression:
        console.print(
            f'[yellow]not compressed[/] to {dim}: {summary.places} places have no more directions '
            'than that; descriptors are whole'
        )


def run_compress(arguments: argparse.Namespace) -> None:
    from vpr_ros.maps.compress import Compression, compress

    before = Path(arguments.map)
    size = before.stat().st_size if before.is_file() else 0
    with stages() as stage:
        compression = Compression(arguments.dim, arguments.centred, stage)
        figures = compress(before, arguments.output, compression, arguments.overwrite)
    after = Path(arguments.output).stat().st_size
    console.print(
        f'{arguments.output}: {after / 1e6:.1f} MB, before {size / 1e6:.1f} MB; {_told(figures)}'
    )
    if after >= size:
        console.print('[yellow]no smaller[/]: the directions take what the descriptors gave')


def run_merge(arguments: argparse.Namespace) -> None:
    from vpr_ros.maps.merge import merge_files

    if len(arguments.maps) < 2:
        raise ConfigError('one map alone is no merge: name two or more')
    path = Path(arguments.output)
    with stages() as stage:
        gained = merge_files(arguments.maps, path, arguments.overwrite, stage)
    console.print(
        f'{path}: {gained.places} places of {gained.sessions} sessions added to those of '
        f'{arguments.maps[0]}, {path.stat().st_size / 1e6:.1f} MB'
    )


def run_check(arguments: argparse.Namespace) -> None:
    from vpr_ros.maps.check import check_map

    with progress('looking at places') as report:
        found = check_map(arguments.map, report)
    for finding in found.findings:
        console.print(f'[red]wrong[/] {escape(finding)}')
    if count := len(found.findings):
        findings = 'finding' if count == 1 else 'findings'
        raise MapDamagedError(
            f'{count} {findings} in {arguments.map}: copy it again or build it anew'
        )
    sessions = 'session' if found.sessions == 1 else 'sessions'
    console.print(
        f'{arguments.map}: {found.places} places of {found.sessions} {sessions}, '
        f'{found.thumbnails} thumbnails, local features of {found.local_features}: all whole'
    )


@contextmanager
def stages() -> Iterator[Callable[[str], Report]]:
    """Progress of one step after the other: naming the next one ends the one before."""
    with ExitStack() as shown:

        def stage(what: str) -> Report:
            shown.close()
            return shown.enter_context(progress(what))

        yield stage


def _told(figures: dict[str, float]) -> str:
    """What a compression does to a map's own search, in words."""
    words = {
        'kept': '{:.1%} of the squared length kept',
        'variance_kept': '{:.1%} of the variance kept',
        'top1': '{:.1%} of the places keep their nearest other place',
        'top10': '{:.1%} of the ten nearest are still among them',
        'change': 'the best similarity changes by {:+.3f} on average',
        'change_least': '{:+.3f} at worst',
    }
    return ', '.join(text.format(figures[key]) for key, text in words.items() if key in figures)


def run_info(arguments: argparse.Namespace) -> None:
    from vpr_ros.maps.place_map import PlaceMap

    with PlaceMap.open(arguments.map, None) as place_map:
        info, places = place_map.info, place_map.places
        posed = sum(place.pose is not None for place in places)
        table = Table(show_header=False)
        for key, value in {
            'map': arguments.map,
            'uuid': info.uuid,
            'revision': info.revision,
            'model': f'{info.model}:{info.fingerprint[:16]}',
            'descriptor': f'{info.dim} x fp16',
            **_compression(place_map),
            **_beside(place_map),
            'frame': info.frame,
            'created': info.created,
            'places': f'{len(places)}, {posed} with a pose',
            'search': 'exact',
            'size': f'{Path(arguments.map).stat().st_size / 1e6:.1f} MB',
        }.items():
            table.add_row(key, str(value))
        for number, name, source, created in place_map.sessions():
            count = sum(place.session_id == number for place in places)
            table.add_row(f'session {number}', f'{name}: {count} places, {created}, {source}')
    print_table(table)


def _beside(place_map: PlaceMap) -> dict[str, str]:
    """What the map holds for the stages after the search."""
    shown, beside = {}, place_map.beside
    count, size = beside.features_size()
    if count:
        shown['local features'] = f'of {count} places, {size / count / 1000:.1f} kB each'
    for name, camera in beside.cameras.items():
        mounted = 'mounting known' if camera.base else 'mounting not known'
        shown[f'camera {name}'] = f'{camera.size[1]}x{camera.size[0]}, {mounted}'
    shown['calibrator'] = 'its own' if beside.calibrator() else 'the default'
    return shown


def _compression(place_map: PlaceMap) -> dict[str, str]:
    """How the descriptors were shortened, and how well that fits places that came later."""
    if place_map.projection is None:
        return {}
    figures = place_map.agreement
    shown = {
        'compressed': f'from {place_map.full_dim}: {_told(figures)}',
        'similarities': 'as of whole descriptors, nearly',
        'fingerprint': f'{place_map.info.binding[:16]}, of model and compression',
    }
    if not place_map.keeps_cosines:
        shown['similarities'] = 'no cosines: set decision.similarity_threshold for this map'
    later = place_map.descriptors()[int(figures.get('places', len(place_map))) :]
    if len(later) and place_map.keeps_cosines:
        kept = float((later**2).sum(axis=1).mean())
        shown['added since'] = f'{len(later)} places: {kept:.1%} of the squared length kept'
    return shown
