"""`vpr train`: from drives to a checkpoint."""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from vpr_ros.cli.console import console, progress
from vpr_ros.cli.options import add_settings, read_settings
from vpr_ros.config import TrainConfig, load, to_dict
from vpr_ros.errors import ConfigError, DatasetError

DATA_HELP = (
    'drives to learn from: a bag with poses, town:SEED[:PLACES] for the synthetic town, or '
    'tower:FOLDER[:FLOOR+FLOOR] for walk-through videos in the layout of ie_tower'
)
TOWN_PLACES, TOWN_VIEWS = 400, 4
LOG_STEPS = 50


def add_commands(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser('train', help='fine-tune a model on your own drives')
    train.add_argument('--data', nargs='+', required=True, metavar='DRIVE', help=DATA_HELP)
    train.add_argument('-o', '--output', required=True, help='the .safetensors file to write')
    train.add_argument('--config', help='YAML file of settings; options given here win')
    train.add_argument('--image-topic', help='needed where a bag has several')
    train.add_argument('--pose-topic', help='needed where a bag has several')
    train.add_argument('--half', action='store_true', help='store weights as fp16')
    add_settings(train, _=TrainConfig)
    train.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from vpr_ros.models import save_checkpoint
    from vpr_ros.training.data import join
    from vpr_ros.training.threshold import similarity_threshold
    from vpr_ros.training.train import train

    config = load(TrainConfig, arguments.config) if arguments.config else TrainConfig()
    config = read_settings(arguments, '_', config)
    if not Path(arguments.output).absolute().parent.is_dir():
        raise ConfigError(f'no folder {Path(arguments.output).parent} to write the weights to')
    model, teacher = _student(config), None
    if config.teacher:
        from vpr_ros.training.distill import load_teacher

        teacher = load_teacher(config.teacher, model.network.backbone.config.dim)
    data = join([_read(spec, arguments) for spec in arguments.data])
    console.print(f'{len(data)} images, {data.place_count} places from {", ".join(data.names)}')
    last: dict[str, float] = {}
    with progress('training') as report:

        def show(step) -> None:
            last.update(step.losses)
            report(step.number + 1, config.steps)
            if step.number % LOG_STEPS == 0:
                losses = ', '.join(f'{name} {loss:.3f}' for name, loss in step.losses.items())
                console.print(f'step {step.number}: {losses}')

        train(model, data, config, teacher, show)
    threshold = similarity_threshold(model, data)
    model.similarity_threshold = round(threshold.value, 3)
    header = save_checkpoint(
        model, arguments.output, _provenance(config, data, last, threshold), arguments.half
    )
    console.print(
        f'{arguments.output}: {model.name}:{header.fingerprint[:16]}, threshold '
        f'{model.similarity_threshold}; above it lie {_percent(threshold.accepted_genuine)} of '
        f'the true and {_percent(threshold.accepted_impostors)} of the best wrong matches'
    )


def _student(config: TrainConfig):
    """The model to train: from a checkpoint, a backbone, weights at hand, or from nothing."""
    from vpr_ros.models.checkpoint import load_backbone
    from vpr_ros.models.registry import load_model, untrained_model

    if config.backbone:
        if config.weights or config.scratch:
            raise ConfigError('give one of backbone, weights and scratch: each is a start')
        model = untrained_model(config.model, config.seed)
        load_backbone(model, config.backbone)
        return model
    if not config.scratch:
        model = load_model(config.model, config.weights)
        if model.fingerprint is None:
            raise ConfigError(
                f'no weights of {config.model} here: set weights, backbone or scratch'
            )
        return model
    return untrained_model(config.model, config.seed)


def _read(spec: str, arguments: argparse.Namespace):
    """One source of places, by the word before the colon."""
    from vpr_ros.training import data

    kind, _, rest = spec.partition(':')
    with progress(f'reading {spec}') as report:
        if kind == 'town':
            seed, _, places = rest.partition(':')
            if not seed.isdigit() or not (places or '1').isdigit():
                raise ConfigError(f'expected town:SEED[:PLACES], found {spec}')
            return data.from_town(
                int(seed), int(places or TOWN_PLACES), TOWN_VIEWS, progress=report
            )
        if kind == 'tower':
            folder, _, floors = rest.partition(':')
            return data.from_tower(folder, tuple(floors.split('+')) if floors else ())
        if not Path(spec).exists():
            raise DatasetError(f'no recording at {spec}; {DATA_HELP}')
        return data.from_bag(spec, arguments.image_topic, arguments.pose_topic, report)


def _provenance(config: TrainConfig, data, losses: dict[str, float], threshold) -> dict[str, Any]:
    """What the weights were made from, without anything of this machine's folders."""
    files: dict[str, Any] = {
        key: Path(getattr(config, key)).name for key in ('backbone', 'teacher', 'weights')
    }
    return {
        'config': to_dict(replace(config, **files)),
        'data': list(data.names),
        'images': len(data),
        'places': data.place_count,
        'last_losses': {name: round(loss, 4) for name, loss in losses.items()},
        'accepted_genuine': threshold.accepted_genuine,
        'accepted_impostors': threshold.accepted_impostors,
        'commit': _commit(),
    }


def _commit() -> str:
    """Short hash of the checkout the training ran in, or nothing outside one."""
    try:
        done = subprocess.run(
            ['git', 'describe', '--always', '--dirty'],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return ''
    return done.stdout.strip()


def _percent(shares: dict[str, float]) -> str:
    return ', '.join(f'{100 * share:.1f} % ({name})' for name, share in shares.items())
