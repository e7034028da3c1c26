"""`vpr map optimize | export`."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from vpr_ros.cli.console import console, print_table, progress
from vpr_ros.cli.options import add_settings, add_stages, read_settings, read_stages
from vpr_ros.cli.paths import check_map, check_new_map
from vpr_ros.config import ModelConfig
from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import ConfigError, GraphError, MapWriteError

if TYPE_CHECKING:
    from vpr_ros.maps.closures import FoundClosure
    from vpr_ros.maps.optimize import ClosedMap
    from vpr_ros.maps.place_map import PlaceMap

SHOWN_REJECTED = 5


def add_commands(kinds: argparse._SubParsersAction) -> None:
    """Below `vpr map`."""
    optimized = kinds.add_parser('optimize', help='close the loops of mapped drives')
    optimized.add_argument('map', help='the .vprmap file')
    optimized.add_argument('-o', '--output', required=True, help='the .vprmap file to write')
    optimized.add_argument('--overwrite', action='store_true', help='replace an existing map')
    optimized.add_argument(
        '--closures', metavar='FILE.jsonl',
        help='loop_closures.jsonl of `vpr live`; without it they are found in the map',
    )  # fmt: skip
    optimized.add_argument(
        '--min-probability', type=float, default=0.5, metavar='P',
        help='leave out closures whose calibrated probability is less (default 0.5)',
    )  # fmt: skip
    add_files(optimized)
    optimized.add_argument(
        '--truth', nargs=2, metavar=('BAG', 'TOPIC'),
        help='recording and topic of true poses: tells the trajectory error and plots it',
    )  # fmt: skip
    optimized.add_argument(
        '--plot', metavar='FILE.png', help='with --truth; by default beside the map'
    )
    add_settings(optimized, model=ModelConfig, graph=GraphConfig)
    add_stages(optimized)
    optimized.set_defaults(run=run_optimize)
    exported = kinds.add_parser('export', help='write what is in a map for other programs')
    exported.add_argument('map', help='the .vprmap file')
    add_files(exported)
    exported.add_argument('--images', metavar='FOLDER', help='thumbnails, PLACE_STAMP.jpg')
    exported.set_defaults(run=run_export)


def add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--g2o', metavar='FILE', help='pose graph to write')
    parser.add_argument('--tum', metavar='FILE', help='trajectory to write')


def run_optimize(arguments: argparse.Namespace) -> None:
    from vpr_ros.maps.closures import believable
    from vpr_ros.maps.factors import load_gtsam
    from vpr_ros.maps.graph_files import write_g2o, write_tum
    from vpr_ros.maps.optimize import close_loops, write_moved
    from vpr_ros.maps.place_map import PlaceMap

    if arguments.plot and not arguments.truth:
        raise ConfigError('--plot shows trajectories over the truth: name it with --truth')
    load_gtsam()  # tells that it is missing before the work is done, as these tell what is wrong
    if arguments.truth:
        _check_truth(*arguments.truth)
    check_map(arguments.map)
    check_new_map(arguments.output, arguments.overwrite)
    config = read_settings(arguments, 'graph', GraphConfig())
    found = closures_of(arguments)
    closures = believable(found, arguments.min_probability)
    with PlaceMap.open(arguments.map, None) as place_map:
        closed = close_loops(place_map.places, closures, config)
        write_moved(place_map, closed.poses, arguments.output, arguments.overwrite)
        console.print(f'{arguments.output}: {len(place_map)} places', markup=False)
        show_closed(closed, place_map, len(found) - len(closures))
    if arguments.g2o:
        write_g2o(arguments.g2o, closed.graph)
    if arguments.tum:
        write_tum(arguments.tum, closed.nodes)
    if arguments.truth:
        show_truth(arguments, closed)


def closures_of(arguments: argparse.Namespace) -> list[FoundClosure]:
    """Closures that were named, or those that the map holds."""
    from vpr_ros.maps.closures import read_closures

    return read_closures(arguments.closures) if arguments.closures else search(arguments)


def search(arguments: argparse.Namespace) -> list[FoundClosure]:
    from vpr_ros.maps.place_map import PlaceMap
    from vpr_ros.models import build_model
    from vpr_ros.recognition.closing import find_closures

    chosen = read_settings(arguments, 'model', ModelConfig())
    model = build_model(chosen.name, chosen.device, chosen.weights, chosen.precision)
    stages, fingerprint = read_stages(arguments), model.require_weights()
    with (
        PlaceMap.open(arguments.map, fingerprint, model.name) as place_map,
        progress('looking for closures') as report,
    ):
        return find_closures(place_map, model, stages, report)


def show_closed(closed: ClosedMap, place_map: PlaceMap, improbable: int) -> None:
    """A screen about what was done."""
    table = Table(show_header=False)
    used, rejected = int(closed.kept.sum()), closed.rejected
    left_out = f', {improbable} too improbable' if improbable else ''
    table.add_row('closures', f'{used} used, {len(rejected)} rejected as false{left_out}')
    for closure, why in closed.map_graph.unused[:SHOWN_REJECTED]:
        table.add_row('  no edge', f'to place {closure.to_place}: {why}')
    for closure in rejected[:SHOWN_REJECTED]:
        table.add_row('  rejected', f'{_asked(closure, place_map)} to place {closure.to_place}')
    optimized = closed.optimized
    table.add_row(
        'residuals', f'{optimized.error_before:.1f} before, {optimized.error_after:.1f} after'
    )
    if used:
        before, after = closed.gaps_m()
        table.add_row(
            'gaps of the closures used', f'{_metres(before)} before, {_metres(after)} after'
        )
    place_id, distance_m = closed.largest_move()
    table.add_row('largest move', f'place {place_id}, {distance_m:.2f} m')
    print_table(table)


def show_truth(arguments: argparse.Namespace, closed: ClosedMap) -> None:
    """Trajectory error before and after, in figures and as a plot."""
    from vpr_ros.bags.poses import read_trajectory
    from vpr_ros.bags.reader import open_bag
    from vpr_ros.evaluation.trajectory_error import save_trajectories, trajectory_error

    bag_path, topic = arguments.truth
    with open_bag(bag_path) as bag:
        truth = read_trajectory(bag, topic)
    before = trajectory_error(closed.map_graph.graph.nodes, truth)
    after = trajectory_error(closed.nodes, truth)
    plot = arguments.plot or Path(arguments.output).with_suffix('.png')
    save_trajectories(plot, before, after)
    console.print(
        f'absolute trajectory error of {len(after.errors_m)} poses: {before.rmse_m:.2f} m before, '
        f'{after.rmse_m:.2f} m after (largest {before.max_m:.2f} and {after.max_m:.2f} m)'
    )
    console.print(f'plot: {plot}')


def _check_truth(bag_path: str, topic: str) -> None:
    """Refuse a recording or topic of poses that is not there, before the loops are closed."""
    from vpr_ros.bags.reader import open_bag

    with open_bag(bag_path) as bag:
        bag.info(topic)


def run_export(arguments: argparse.Namespace) -> None:
    from vpr_ros.maps.graph_files import write_g2o, write_tum
    from vpr_ros.maps.map_graph import map_graph
    from vpr_ros.maps.place_map import PlaceMap

    if not (arguments.g2o or arguments.tum or arguments.images):
        raise ConfigError('nothing to write: name --g2o, --tum or --images')
    with PlaceMap.open(arguments.map, None) as place_map:
        graph = map_graph(place_map.places, (), GraphConfig()).graph
        if (arguments.g2o or arguments.tum) and not graph.nodes:
            raise GraphError(
                f'no place of {arguments.map} has a pose: there is no trajectory to write; build '
                'the map with --pose-topic'
            )
        if arguments.g2o:
            write_g2o(arguments.g2o, graph)
            console.print(f'{arguments.g2o}: {len(graph.nodes)} poses', markup=False)
        if arguments.tum:
            write_tum(arguments.tum, graph.nodes)
            console.print(f'{arguments.tum}: {len(graph.nodes)} poses', markup=False)
        if arguments.images:
            count = write_images(place_map, Path(arguments.images))
            console.print(f'{arguments.images}: {count} thumbnails of {len(place_map)} places')


def write_images(place_map: PlaceMap, folder: Path) -> int:
    """Thumbnails as files, all of them or none; returns how many there are."""
    if folder.exists():
        raise MapWriteError(f'{folder} exists already: choose another name or remove it')
    part = folder.with_name(folder.name + '.part')
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        count = 0
        for place in place_map.places:
            if (jpeg := place_map.thumbnail(place.id)) is not None:
                (part / f'{place.id:06d}_{place.stamp_ns}.jpg').write_bytes(jpeg)
                count += 1
        os.replace(part, folder)
    except OSError as error:
        raise MapWriteError(f'cannot write {folder}: {error.strerror}') from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def _asked(closure: FoundClosure, place_map: PlaceMap) -> str:
    """The place of a closure's newer moment."""
    same = [place.id for place in place_map.places if place.stamp_ns == closure.from_stamp_ns]
    return f'place {same[0]}' if same else f'stamp {closure.from_stamp_ns}'


def _metres(gaps: np.ndarray) -> str:
    return f'{np.median(gaps):.2f} m (at most {gaps.max():.2f})'
