"""`vpr weights quantize`: prepare a model for precision int8."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.markup import escape

from vpr_ros.cli.console import console, progress, show_losses
from vpr_ros.errors import ConfigError

PICTURES = 64  # of each source


def add_command(kinds: argparse._SubParsersAction) -> None:
    quantize = kinds.add_parser(
        'quantize', help='prepare a model for precision int8: measure the ranges of its layers'
    )
    quantize.add_argument('name', help='see `vpr models`')
    quantize.add_argument('--weights', default='', help='checkpoint; without it: those at hand')
    quantize.add_argument(
        '--images', nargs='+', default=[], metavar='PATH',
        help='recordings, or folders of images, measured beside our synthetic town',
    )  # fmt: skip
    quantize.add_argument('--image-topic', default='', help='needed where a bag has several')
    quantize.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from vpr_ros.models.engines.calibration import calibrate
    from vpr_ros.models.engines.runtime import resolve_device, resolve_precision
    from vpr_ros.models.registry import load_model
    from vpr_ros.synthetic.demo import demo_pictures

    resolve_precision('int8', resolve_device('cpu'))
    model = load_model(arguments.name, arguments.weights)
    model.require_weights()
    model.require_single_image()
    given = [x for path in arguments.images for x in pictures(Path(path), arguments.image_topic)]
    with progress('drawing a town') as report:
        drawn = [*counted(demo_pictures(PICTURES), report)]
    with progress(f'ranges of {arguments.name}') as report:
        made = calibrate(model, drawn + given, report)
    console.print(
        f'{escape(str(made.path))}: cosine to fp32 {made.mean_cosine:.4f}, at least '
        f'{made.least_cosine:.4f}, on {made.held_out} of {made.pictures} pictures'
    )


def counted(
    drawn: Iterator[np.ndarray], report: Callable[[int, int], None]
) -> Iterator[np.ndarray]:
    for done, picture in enumerate(drawn, start=1):
        report(done, PICTURES)
        yield picture


def pictures(path: Path, topic: str = '') -> list[np.ndarray]:
    """At most PICTURES pictures, evenly from a folder of image files or from a recording.

    Raises:
        BagError: it is neither.
        ConfigError: none of its pictures can be read.
        ImageError: an image file cannot be read.
    """
    from vpr_ros.bags.reader import open_bag
    from vpr_ros.imagefile import SUFFIXES, read_image

    files = sorted(x for x in path.rglob('*') if x.suffix.lower() in SUFFIXES)
    if files:
        return [read_image(file) for file in files[:: step(len(files))]]
    with open_bag(path) as bag:
        name = bag.image_topic(topic or None)
        every = step(bag.count(name))
        found = [frame.image for n, frame in enumerate(bag.frames(name)) if n % every == 0]
        show_losses([loss.reason for loss in bag.losses])
    if not found:
        raise ConfigError(f'{path} has no pictures to measure ranges on')
    return found


def step(count: int) -> int:
    """Every how manieth of so many pictures is taken."""
    return max(1, -(-count // PICTURES))
