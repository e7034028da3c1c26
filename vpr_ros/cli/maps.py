"""`vpr map build | info`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.table import Table

from vpr_ros.cli.console import console, progress, show_losses
from vpr_ros.cli.options import add_settings, read_settings
from vpr_ros.config import KeyframeConfig, ModelConfig, PoseConfig


def add_commands(commands: argparse._SubParsersAction) -> None:
    kinds = commands.add_parser('map', help='build and inspect maps').add_subparsers(
        metavar='COMMAND', required=True
    )
    build = kinds.add_parser('build', help='build a map from a recorded drive')
    build.add_argument('bag', help='rosbag2 folder, .mcap, .db3 or ROS 1 .bag')
    build.add_argument('-o', '--output', required=True, help='the .vprmap file to write')
    build.add_argument('--overwrite', action='store_true', help='replace an existing map')
    build.add_argument('--dim', type=int, default=0, help='length to compress descriptors to')
    add_drive_options(build)
    build.set_defaults(run=run_build)
    shorter = kinds.add_parser('compress', help='write a map with shorter descriptors')
    shorter.add_argument('map', help='the .vprmap file')
    shorter.add_argument('-o', '--output', required=True, help='the .vprmap file to write')
    shorter.add_argument('--dim', type=int, required=True, help='length of the descriptors')
    shorter.add_argument('--overwrite', action='store_true', help='replace an existing map')
    shorter.set_defaults(run=run_compress)
    info = kinds.add_parser('info', help='show what is in a map')
    info.add_argument('map', help='the .vprmap file')
    info.set_defaults(run=run_info)


def add_drive_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that reads a drive and describes its images."""
    parser.add_argument('--image-topic', default='', help='needed where a bag has several')
    parser.add_argument(
        '--pose-topic', default='', help='odometry, pose or /tf topic; `none` ignores poses'
    )
    add_settings(parser, model=ModelConfig, keyframes=KeyframeConfig, pose=PoseConfig)


def drive_options(arguments: argparse.Namespace):
    """DriveOptions of the command line."""
    from vpr_ros.recognition.drive import DriveOptions

    return DriveOptions(
        arguments.image_topic,
        arguments.pose_topic,
        read_settings(arguments, 'keyframes', KeyframeConfig()),
        read_settings(arguments, 'pose', PoseConfig()),
    )


def chosen_model(arguments: argparse.Namespace):
    """The model of the command line, with its weights."""
    from vpr_ros.models import build_model

    config = read_settings(arguments, 'model', ModelConfig())
    return build_model(config.name, config.device, config.weights, config.precision)


def run_build(arguments: argparse.Namespace) -> None:
    from vpr_ros.recognition.mapping import build_map

    options, model = drive_options(arguments), chosen_model(arguments)
    path = Path(arguments.output)
    with progress('reading images') as report:
        summary = build_map(
            arguments.bag, model, path, options, report, arguments.overwrite, arguments.dim
        )
    show_losses(summary.losses)
    console.print(
        f'{path}: {summary.places} places from {summary.images} images, '
        f'{summary.posed} with a pose, {path.stat().st_size / 1e6:.1f} MB, {model.id}'
    )


def run_compress(arguments: argparse.Namespace) -> None:
    from vpr_ros.maps.compress import compress

    with progress('copying places') as report:
        figures = compress(
            arguments.map, arguments.output, arguments.dim, arguments.overwrite, report
        )
    before, after = (Path(path).stat().st_size / 1e6 for path in (arguments.map, arguments.output))
    console.print(f'{arguments.output}: {after:.1f} MB, before {before:.1f} MB; {_told(figures)}')


def _told(figures: dict[str, float]) -> str:
    """What a compression does to a map's own search, in words."""
    words = {
        'kept': 'of the squared length kept',
        'top1': 'of the places keep their nearest other place',
        'top10': 'of the ten nearest are still among them',
    }
    told = [f'{figures[key]:.1%} {text}' for key, text in words.items() if key in figures]
    if 'similarity_change' in figures:
        told.append(f'similarity of the nearest moves by {figures["similarity_change"]:.4f}')
    return ', '.join(told)


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
    console.print(table)


def _compression(place_map) -> dict[str, str]:
    if place_map.projection is None:
        return {}
    return {
        'compressed': f'from {place_map.full_dim}: {_told(place_map.agreement)}',
        'binding': place_map.info.binding[:16],
    }
