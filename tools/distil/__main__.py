"""Put what several models find side by side into the end of `sage_nano`.

    python -m tools.distil lessons --survey DIR --photos DIR --tower DIR --floors A+B \\
        --teachers "sage_nano sage_vitti=VIT whitened=VIT" --chunks 64 -o LESSONS
    python -m tools.distil learn LESSONS --batches 2400 -o OUT.safetensors --log LOG.jsonl
    python -m tools.distil threshold WEIGHTS --data town:1:800 tower:DIR:A+B -o OUT.safetensors

docs/sage_nano.md tells what came of it. `learn` may begin while `lessons` still writes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from tools.distil.groups import KINDS, Groups
from tools.distil.learn import Course, learn
from tools.distil.lessons import HELD_OUT, write_lessons
from tools.distil.teachers import open_teachers
from vpr_ros.cli.console import console, progress
from vpr_ros.config.training import SamplerConfig
from vpr_ros.models import build_model, save_checkpoint
from vpr_ros.models.networks.sage import Sage
from vpr_ros.models.registry import load_model
from vpr_ros.models.weights.checkpoint import read_header
from vpr_ros.training.sampling import settled
from vpr_ros.training.sources import open_views
from vpr_ros.training.sources.folder import read_folder
from vpr_ros.training.sources.photos import read_photos
from vpr_ros.training.sources.tower import read_tower
from vpr_ros.training.threshold import measure_similarities, similarity_threshold
from vpr_ros.training.views import joined

HELD_OUT_SEED = 99


def make_lessons(arguments: argparse.Namespace) -> None:
    tower = read_tower(arguments.tower, tuple(arguments.floors.split('+')))
    sources = tower, read_folder(arguments.survey), read_photos(arguments.photos)
    groups = Groups(*sources, kinds=arguments.kinds)
    student = load_model(arguments.model, arguments.weights)
    teachers = open_teachers(arguments.teachers, sources)
    orders = [([HELD_OUT], HELD_OUT_SEED)]
    orders += [([f'{arguments.seed}_{n:04d}' for n in range(arguments.chunks)], arguments.seed)]
    for names, seed in orders:
        with progress('lessons') as report:
            write_lessons(arguments.output, names, groups, seed, student, teachers, report)


def take_course(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model, arguments.weights)
    assert isinstance(model.network, Sage)
    course = Course(
        arguments.batches, arguments.rate, tuple(arguments.shares), seed=arguments.seed
    )
    for seen in learn(model.network, arguments.lessons, course):
        line = json.dumps({name: round(value, 5) for name, value in seen.items()})
        console.print(line)
        if arguments.log:
            with arguments.log.open('a', encoding='utf-8') as log:
                log.write(line + '\n')
    model.network.eval().requires_grad_(False)
    save_checkpoint(model, arguments.output, {'distilled': vars(course) | seen}, half=True)


def measure_threshold(arguments: argparse.Namespace) -> None:
    """As a training does it: below it lie the best wrong matches of 95 % of the views."""
    model = load_model(arguments.model, arguments.weights)
    views = joined(open_views(arguments.data))
    reader = build_model(arguments.model, 'cpu', arguments.weights)

    def describe(rows: np.ndarray) -> np.ndarray:
        found = []
        with progress('views') as report:
            for done, row in enumerate(rows):
                found.append(reader.describe([views.pictures.read(int(row))]).descriptor.numpy())
                report(done + 1, len(rows))
        return np.concatenate(found)

    areas = measure_similarities(
        views,
        describe,
        settled(SamplerConfig(), views),
        np.random.default_rng([arguments.seed, 6]),
    )
    threshold = similarity_threshold(areas)
    model.similarity_threshold = round(threshold.value, 3)
    notes = json.loads(arguments.notes.read_text()) if arguments.notes else {}
    told = {
        **read_header(arguments.weights).provenance, **notes,
        'accepted_genuine': threshold.accepted_genuine,
        'accepted_impostors': threshold.accepted_impostors,
    }  # fmt: skip
    save_checkpoint(model, arguments.output, told, half=True)
    console.print(f'similarity threshold {model.similarity_threshold}')


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = found.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--model', default='sage_nano')
    common.add_argument('--seed', type=int, default=1)
    common.add_argument('-o', '--output', type=Path, required=True)

    lessons = commands.add_parser('lessons', parents=[common])
    lessons.add_argument('--survey', type=Path, required=True, help='of vpr demo-data --survey')
    lessons.add_argument('--tower', type=Path, required=True, help='ie_tower')
    lessons.add_argument('--floors', required=True, help='of it, as A+B')
    lessons.add_argument('--weights', default='', help='of the student')
    lessons.add_argument('--photos', type=Path, required=True, help='a folder of photographs')
    lessons.add_argument('--teachers', required=True, help='NAME=WEIGHTS of each; whitened=VIT_TI')
    lessons.add_argument('--chunks', type=int, default=64)
    lessons.add_argument('--kinds', nargs='+', choices=KINDS, default=KINDS, help='in turn')
    lessons.set_defaults(run=make_lessons)

    course = commands.add_parser('learn', parents=[common])
    course.add_argument('lessons', type=Path)
    course.add_argument('--weights', default='')
    course.add_argument('--batches', type=int, default=2400)
    course.add_argument('--rate', type=float, default=Course.rate)
    course.add_argument(
        '--shares', type=float, nargs=len(KINDS), default=Course.shares, metavar='SHARE',
        help=f'of {", ".join(KINDS)} in a batch',
    )  # fmt: skip
    course.add_argument('--threads', type=int, default=1)
    course.add_argument('--log', type=Path)
    course.set_defaults(run=take_course)

    threshold = commands.add_parser('threshold', parents=[common])
    threshold.add_argument('weights', type=Path)
    threshold.add_argument('--data', nargs='+', required=True, help='as of vpr train')
    threshold.add_argument('--notes', type=Path, help='JSON for the header')
    threshold.set_defaults(run=measure_threshold)
    return found


def main() -> int:
    arguments = parser().parse_args()
    arguments.run(arguments)
    return 0


if __name__ == '__main__':
    sys.exit(main())
