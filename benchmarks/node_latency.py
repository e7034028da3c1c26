"""What the live node costs: from an image message to PlaceMatch, over DDS between two processes.

    python benchmarks/node_latency.py [--sizes 480x640 1080x1920] [--encodings rgb8 mono8 jpeg]
                                      [--verified 3 0] [--rate HZ] [--images N] [--model NAME]
                                      [--set NAME=VALUE ...] [--json OUT]
    python benchmarks/node_latency.py --soak MINUTES [--plot OUT.png]

The frames are those of the shared set `duckietown`, 640x480, scaled where another size is asked
for; every second one is a place of the map (250), the others are sent. Latency counts from just
before `publish` until the serialised answer is here; the columns after it are medians. `rest` is
what no stage of the node has seen: DDS there and back, rclpy, conversion of messages. `beside` is
all but the model: an asterisk where it keeps the goal of 6 ms. Cores and MiB are those of the
node's process.

A soak sends the first case of the lists, at 30 Hz unless --rate says otherwise, and samples memory
every second; its trend leaves out the first minute. On a busy machine figures are pessimistic.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from itertools import islice, product
from pathlib import Path
from typing import Any

from vpr_ros.threads import share_the_processor

share_the_processor()

import yaml  # noqa: E402
from node_latency_link import images, running, usage  # noqa: E402
from node_latency_report import Case, Row, draw_memory, record, row, table, trend  # noqa: E402
from rich.console import Console  # noqa: E402

from vpr_ros.config import RecognizerConfig  # noqa: E402
from vpr_ros.errors import VprError  # noqa: E402
from vpr_ros.evaluation.datasets import LoopSet, duckietown  # noqa: E402
from vpr_ros.evaluation.drive_answers import EVERY_IMAGE  # noqa: E402
from vpr_ros.evaluation.speed import check_output, write_whole  # noqa: E402
from vpr_ros.maps.place_map import PlaceMap  # noqa: E402
from vpr_ros.models import build_model  # noqa: E402
from vpr_ros.models.engines.machine import machine  # noqa: E402
from vpr_ros.recognition.recognizer import Recognizer  # noqa: E402
from vpr_ros.records import Pose  # noqa: E402

DEFAULT_ROOT = Path(__file__).resolve().parents[2] / 'shared' / 'data'
FRAMES_HZ = 10.0  # of the set; every second frame is a place
WARM_UP = 5  # answers
SOAK_HZ = 30.0


def main() -> int:
    arguments = parsed()
    data = duckietown(arguments.root / 'duckietown_sim', FRAMES_HZ)
    cases = [
        Case(size, encoding, candidates, arguments.rate)
        for candidates, size, encoding in product(
            arguments.verified, arguments.sizes, arguments.encodings
        )
    ]
    console = Console(width=190)
    try:
        for path in filter(None, (arguments.json, arguments.plot)):
            check_output(path)
        with tempfile.TemporaryDirectory() as folder:
            map_path = Path(folder) / 'places.vprmap'
            model = make_map(data, arguments.model, map_path)
            settings = {'map': str(map_path), 'model.name': arguments.model, **arguments.set}
            if arguments.soak:
                found = soak(cases[0], data, settings, arguments, console)
            else:
                rows = []
                for case in cases:
                    rows.append(measure(case, data, settings, arguments.images, Path(folder)))
                    console.print(f'{case}, {case.candidates} verified: done', highlight=False)
                console.print(table(rows, f'{model}, milliseconds'))
                found = record(rows, machine(), model)
    except VprError as error:
        sys.stderr.write(f'{error}\n')
        return 1
    if arguments.json:
        write_whole(arguments.json, json.dumps(found, indent=1).encode())
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', nargs='+', type=size, default=[(480, 640), (1080, 1920)])
    parser.add_argument(
        '--encodings', nargs='+', choices=('rgb8', 'mono8', 'jpeg'),
        default=['rgb8', 'mono8', 'jpeg'],
    )  # fmt: skip
    parser.add_argument('--verified', nargs='+', type=int, default=[3, 0])
    parser.add_argument('--rate', type=float, help='of the images, Hz')
    parser.add_argument('--images', type=int, default=100, help='sent in each case')
    parser.add_argument('--model', default='sage_nano')
    parser.add_argument('--set', nargs='*', default=[], help='settings of the node')
    parser.add_argument('--soak', type=float, default=0.0, metavar='MINUTES')
    parser.add_argument('--json', type=Path, help='also write the figures to this file')
    parser.add_argument('--plot', type=Path, help='of a soak: PNG of memory over time')
    parser.add_argument(
        '--root', type=Path, default=Path(os.environ.get('VPR_SHARED_DATA', DEFAULT_ROOT))
    )
    arguments = parser.parse_args()
    arguments.rate = arguments.rate or (SOAK_HZ if arguments.soak else 10.0)
    pairs = (text.partition('=') for text in arguments.set)
    arguments.set = {name: yaml.safe_load(value) for name, _, value in pairs}
    return arguments


def size(text: str) -> tuple[int, int]:
    height, _, width = text.partition('x')
    return int(height), int(width)


def make_map(data: LoopSet, model_name: str, path: Path) -> str:
    """Every second frame becomes a place; gives the id of the model."""
    model = build_model(model_name, 'auto')
    with PlaceMap.create(
        path, model.name, model.require_weights(), model.descriptor_dim
    ) as place_map:
        session = place_map.add_session(data.name)
        config = RecognizerConfig(keyframes=EVERY_IMAGE)
        recognizer = Recognizer(model, place_map, config, session)
        track = zip(data.images, data.track.stamps_ns, data.track.positions_m, strict=True)
        for image, stamp, position in islice(track, 0, None, 2):
            recognizer.recognize(image, int(stamp), Pose(tuple(position.tolist())))
    return model.id


def measure(
    case: Case, data: LoopSet, settings: Mapping[str, Any], count: int, folder: Path
) -> Row:
    messages = images(data, case)
    with running(case, settings, folder, messages[0]) as (link, process):
        before = usage(process)
        link.send(messages, case.rate_hz, count)
        link.wait_for_last()
        process.check()
        return row(case, *link.answers(), [before, usage(process)], skip=WARM_UP)


def soak(
    case: Case,
    data: LoopSet,
    settings: Mapping[str, Any],
    arguments: argparse.Namespace,
    console: Console,
) -> dict[str, Any]:
    """Send for minutes and watch memory; tells what was found and gives it for JSON."""
    messages, moments = images(data, case), []
    count = round(60 * arguments.soak * case.rate_hz)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(case, settings, Path(folder), messages[0]) as (link, process),
    ):
        sender = threading.Thread(target=link.send, args=(messages, case.rate_hz, count))
        sender.start()
        while sender.is_alive():
            moments.append(usage(process))
            process.check()
            sender.join(1.0)
        link.wait_for_last()
        moments.append(usage(process))
        found = row(case, *link.answers(), moments, skip=WARM_UP)
    growth = trend(moments)
    told = 'too short for a trend'
    if growth:
        told = f'{growth.per_hour:+.1f} ± {growth.error:.1f} MiB/h after the first minute'
    title = f'{case}, {case.rate_hz:g} Hz for {arguments.soak:g} minutes'
    console.print(table([found], title))
    console.print(f'memory: {told}; answers at most {found.oldest_ms:.1f} ms older than their '
                  'processing and one period', highlight=False)  # fmt: skip
    if arguments.plot:
        write_whole(arguments.plot, draw_memory(moments, f'{title}\n{told}'))
    return {
        **record([found], machine(), settings['model.name']),
        'trend': growth and {'mib_per_hour': growth.per_hour, 'error': growth.error},
        'resident_mib': [[m.wall_s - moments[0].wall_s, m.resident_mib] for m in moments],
    }


if __name__ == '__main__':
    sys.exit(main())
