"""`vpr explain`: one picture of what was recognised in an image, and why or why not."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vpr_ros.cli.console import console, print_table, show_losses
from vpr_ros.cli.maps import add_depth_options, add_drive_options, drive_options
from vpr_ros.cli.options import add_stages, given_settings, read_settings, read_stages
from vpr_ros.config import ModelConfig, RecognizerConfig
from vpr_ros.errors import ConfigError

if TYPE_CHECKING:
    from vpr_ros.evaluation.explain_record import Explanation
    from vpr_ros.maps.place_map import PlaceMap
    from vpr_ros.models import PlaceModel
    from vpr_ros.recognition.recognizer import Recognizer
    from vpr_ros.records import LocalFeatures, Recognition

BAGS = ('.bag', '.mcap', '.db3')
CONTEXT_S = 10.0
LEAST_NS = 10**12  # whole numbers from here on are nanoseconds, below seconds: the year 33,658
STAMP = re.compile(r'\d{1,18}(\.\d*)?|\d{19}')
ALONE = 'One image alone: agreement with the images before cannot be had and was not asked for.'


def add_commands(commands: argparse._SubParsersAction) -> None:
    explain = commands.add_parser(
        'explain', help='draw one query with its candidates, matches, numbers and verdict'
    )
    explain.add_argument('map', help='the .vprmap file')
    explain.add_argument('query', help='an image file, or a recording with --stamp or --at')
    moment = explain.add_mutually_exclusive_group()
    moment.add_argument('--stamp', help='of the image: seconds, or a whole number of nanoseconds')
    moment.add_argument('--at', type=float, help='seconds since the start of the recording')
    explain.add_argument(
        '--context', type=float, default=CONTEXT_S, metavar='S',
        help='answer the keyframes of so many seconds before it, too (default %(default)s)',
    )  # fmt: skip
    explain.add_argument(
        '-o', '--output', type=Path, help='the .png file; without it: named after the query, here'
    )
    explain.add_argument('--json', action='store_true', help='print every number as JSON')
    add_drive_options(explain)
    add_depth_options(explain)
    add_stages(explain)
    explain.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from vpr_ros.evaluation.explain import draw_explanation, to_png
    from vpr_ros.evaluation.speed import check_output, write_whole
    from vpr_ros.imagefile import read_image
    from vpr_ros.maps.place_map import PlaceMap

    check_query(arguments)
    output = arguments.output or default_output(arguments)
    check_output(output, ('.png',))
    if output.exists() and output.samefile(arguments.query):
        raise ConfigError(f'{output} is the query itself: choose another name with --output')
    told = Console(stderr=True, highlight=False, soft_wrap=True) if arguments.json else console
    image = None if is_moment(arguments) else read_image(arguments.query)
    with PlaceMap.open(arguments.map, None) as place_map:
        model = model_of(arguments, place_map)
    fingerprint = model.require_weights()
    with (
        told.status('recognising'),
        PlaceMap.open(arguments.map, fingerprint, model.name) as place_map,
    ):
        if image is None:
            shown = explained_moment(arguments, model, place_map)
        else:
            shown = explained_image(arguments, image, model, place_map)
    write_whole(output, to_png(draw_explanation(shown)))
    if arguments.json:
        print(shown.to_json())
    show(shown, output, told)


def check_query(arguments: argparse.Namespace) -> None:
    """Refuse a recording without a moment, a moment of an image, and bad figures."""
    path = Path(arguments.query)
    recorded = path.is_dir() or path.suffix in BAGS
    if recorded and arguments.stamp is None and arguments.at is None:
        raise ConfigError(f'{path} is a recording: name an image of it with --stamp or --at')
    if path.is_file() and not recorded and is_moment(arguments):
        raise ConfigError(f'{path} is no recording: --stamp and --at are for recordings alone')
    for name in ('at', 'context'):
        value = getattr(arguments, name)
        if value is not None and not 0.0 <= value < float('inf'):
            raise ConfigError(f'--{name} {value}: expected seconds, at least 0')


def is_moment(arguments: argparse.Namespace) -> bool:
    return arguments.stamp is not None or arguments.at is not None


def default_output(arguments: argparse.Namespace) -> Path:
    moment = arguments.stamp or arguments.at
    middle = '' if moment is None else f'_{moment}'
    return Path(f'{Path(arguments.query).stem}{middle}_explained.png')


def stamp_ns_of(text: str) -> int:
    """Nanoseconds of a stamp in seconds, or of a large whole number, which is nanoseconds.

    Raises:
        ConfigError: not a number.
    """
    if not STAMP.fullmatch(text):
        raise ConfigError(
            f'--stamp {text}: expected seconds such as 1700000001.25, or whole nanoseconds'
        )
    whole, _, digits = text.partition('.')
    if not digits and int(whole) >= LEAST_NS:
        return int(whole)
    return int(whole) * 10**9 + int(f'{digits:0<9.9}')


def model_of(arguments: argparse.Namespace, place_map: PlaceMap) -> PlaceModel:
    """The model of the command line; where none is named, the one that made the map."""
    from vpr_ros.models import build_model

    config = read_settings(arguments, 'model', ModelConfig())
    if 'name' not in given_settings(arguments, 'model'):
        config = replace(config, name=place_map.info.model)
    return build_model(config.name, config.device, config.weights, config.precision)


def explained_image(
    arguments: argparse.Namespace, image: np.ndarray, model: PlaceModel, place_map: PlaceMap
) -> Explanation:
    """Answer one image (H, W, 3), uint8, RGB, without a past."""
    from vpr_ros.recognition.recognizer import Recognizer

    config = _thorough(arguments)
    temporal = config.temporal
    if temporal.method in ('filter', 'sequence'):
        temporal = replace(temporal, method='none')
    alone = replace(config.decision, consistent_frames=1)
    config = replace(config, decision=alone, temporal=temporal)
    recognizer = Recognizer(model, place_map, config)
    recognition = recognizer.recognize(image, 0)
    name = Path(arguments.query).name
    return with_evidence(recognizer, image, recognition, name, (ALONE,))


def _thorough(arguments: argparse.Namespace) -> RecognizerConfig:
    """The settings; where one looks closely, all candidates are verified."""
    from vpr_ros.recognition.confirming import thorough

    config = read_stages(arguments)
    verification = replace(config.verification, until_confirmed=False)
    return thorough(replace(config, verification=verification))


def explained_moment(
    arguments: argparse.Namespace, model: PlaceModel, place_map: PlaceMap
) -> Explanation:
    """Answer one image of a recording, after the keyframes that lead up to it."""
    from vpr_ros.evaluation.explain_drive import answer_moment
    from vpr_ros.evaluation.explain_record import stamp_words
    from vpr_ros.recognition.recognizer import Recognizer

    asked: list[Recognizer] = []

    def answer(topic: str) -> Callable[..., Recognition]:
        asked.append(Recognizer(model, place_map, _thorough(arguments), camera=topic))
        return lambda frame, pose: asked[0].recognize(
            frame.image, frame.stamp_ns, pose, frame.depth
        )

    stamp_ns = None if arguments.stamp is None else stamp_ns_of(arguments.stamp)
    moment = answer_moment(
        arguments.query, stamp_ns, arguments.at or 0.0, arguments.context,
        drive_options(arguments), answer,
    )  # fmt: skip
    if not arguments.json:
        show_losses(moment.losses)
    name = f'{Path(arguments.query).name} at {stamp_words(moment.frame.stamp_ns)}'
    count = f'{moment.before} keyframe{"" if moment.before == 1 else "s"}'
    notes = [f'Answered after {count} of the {arguments.context:g} s before it.']
    if moment.losses:
        notes.append(f'{len(moment.losses)} parts of the recording could not be read.')
    return with_evidence(asked[0], moment.frame.image, moment.recognition, name, tuple(notes))


def with_evidence(
    recognizer: Recognizer,
    image: np.ndarray,
    recognition: Recognition,
    name: str,
    notes: tuple[str, ...],
) -> Explanation:
    """The answer with thumbnails, local features and the limits that decided."""
    from vpr_ros.evaluation.explain_record import Explanation

    model, place_map, best = recognizer.model, recognizer.place_map, recognition.best
    query_local = place_local = None
    if best is not None:
        found = model.describe([image]).local
        query_local = None if found is None else on_cpu(found)
        local, known = place_map.local_features([best.place.id])
        place_local = local if known[0] else None
    ids = [candidate.place.id for candidate in recognition.candidates]
    return Explanation(
        image, recognition, name, Path(place_map.path).name, recognizer.config,
        recognizer.thresholds, {place: place_map.thumbnail(place) for place in ids},
        query_local, place_local, model.input.size,
        model.network.backbone.config.patch, notes,
    )  # fmt: skip


def on_cpu(local: LocalFeatures) -> LocalFeatures:
    """The same local features where those of the map are."""
    return replace(local, **{f.name: getattr(local, f.name).cpu() for f in fields(local)})


def show(shown: Explanation, output: Path, told: Console) -> None:
    """Print the verdict, its reason, and on a terminal the candidates."""
    from vpr_ros.evaluation.explain_record import VERDICTS, candidate_rows

    answer = shown.recognition
    told.print(f'[bold]{VERDICTS[answer.verdict]}[/]: {escape(answer.reason)}')
    if told.is_terminal and answer.candidates:
        table = Table('', 'place', 'similarity', 'score', 'matches', 'inliers', 'from the best')
        for row in candidate_rows(shown):
            table.add_row(*row)
        print_table(table, told)
    told.print(f'picture: {output}', markup=False)
