"""A training from its order to its checkpoint: what `vpr train` and the ROS executable share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vpr_ros.config import TrainConfig, to_dict
from vpr_ros.errors import CheckpointError, ConfigError, DatasetError
from vpr_ros.models import PlaceModel, save_checkpoint
from vpr_ros.models.engines.runtime import resolve_device
from vpr_ros.models.registry import load_model, untrained_model
from vpr_ros.models.weights.checkpoint import Header, load_backbone
from vpr_ros.models.weights.heads import HeadHeader, save_head
from vpr_ros.training.distill import load_teacher
from vpr_ros.training.distributed import Team, leads_the_team, team_size
from vpr_ros.training.ensemble import AnyTeacher, load_ensemble, without_folders
from vpr_ros.training.feed import PictureFeed
from vpr_ros.training.learner import Learner
from vpr_ros.training.optimisation import choose_trainable
from vpr_ros.training.sampling import settled
from vpr_ros.training.session import Session
from vpr_ros.training.sources import SourceOptions, check_pictures, open_views, single_views
from vpr_ros.training.threshold import Threshold, measure_similarities, similarity_threshold
from vpr_ros.training.train import Result, Watcher, train
from vpr_ros.training.views import ViewSet, joined

Work = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Job:
    """An order for a training."""

    config: TrainConfig
    data: tuple[str, ...]  # sources, as `sources.open_views` reads them
    output: Path  # the .safetensors file
    folder: Path | None = None  # of state and log; None: beside the output
    sources: SourceOptions = field(default_factory=SourceOptions)
    half: bool = False  # store weights as fp16
    head_only: bool = False  # leave out what did not learn: it is laid on the same backbone
    resume: bool = False

    @property
    def run_folder(self) -> Path:
        return self.folder or self.output.with_suffix('.run')


@dataclass(frozen=True)
class Ready:
    """A job with everything read and checked."""

    job: Job
    model: PlaceModel
    teacher: AnyTeacher | None
    views: ViewSet
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """A finished job."""

    result: Result
    header: Header | HeadHeader | None = None  # None: interrupted, or another process writes it
    threshold: Threshold | None = None


def get_ready(job: Job, work: Work = lambda what, done, total: None) -> Ready:
    """Read and check everything that the training needs, every picture's header included.

    Raises:
        ConfigError: settings, also such as do not suit the number of processes, or an output that
            cannot be written.
        DatasetError: a source cannot be used, or pictures are damaged: the first few are named.
        CheckpointError: weights are missing or another model's.
    """
    if job.head_only and not job.config.backbone:
        raise ConfigError('a head alone needs its backbone: give it with the setting backbone')
    if not job.output.absolute().parent.is_dir():
        raise ConfigError(f'no folder {job.output.parent} to write the weights to')
    Team(size=team_size()).share(job.config.places_per_batch)  # for hours may pass until it counts
    model = start_model(job.config)
    teacher = _teacher(job.config, model)
    notes: list[str] = []
    views = joined(open_views(job.data, job.sources, work, notes.append))
    found = check_pictures(views, lambda done, total: work('checking pictures', done, total))
    if found.problems:
        more = f' and {len(found.problems) - 3} more' if len(found.problems) > 3 else ''
        raise DatasetError(f'{"; ".join(found.problems[:3])}{more}: mend or remove them first')
    warnings = (*notes, *found.warnings, *single_views(views, job.config))
    return Ready(job, model, teacher, views, warnings)


def carry_out(ready: Ready, watcher: Watcher) -> Done:
    """Train, measure the threshold and write the checkpoint, whole or not at all.

    Raises:
        VprError: as `train` and `save_checkpoint` say.
    """
    job, model = ready.job, ready.model
    result = train(
        model, ready.views, job.config, job.run_folder, resume=job.resume, teacher=ready.teacher,
        watcher=watcher,
    )  # fmt: skip
    if not result.finished or not leads_the_team():
        return Done(result)
    threshold = _threshold(ready)
    model.similarity_threshold = round(threshold.value, 3) if threshold else None
    try:
        header = _write(ready, _provenance(ready, result, threshold))
    except CheckpointError as error:
        raise CheckpointError(
            f'{error}; what was learned is in {job.run_folder}: the same again with --resume '
            'writes it'
        ) from None
    return Done(result, header, threshold)


def _write(ready: Ready, provenance: dict[str, Any]) -> Header | HeadHeader:
    job, model = ready.job, ready.model
    if not job.head_only:
        return save_checkpoint(model, job.output, provenance, half=job.half)
    learned = choose_trainable(model.network, job.config)
    model.network.requires_grad_(False)
    backbone = Path(job.config.backbone).name
    return save_head(model, job.output, learned, provenance, backbone, job.half)


@dataclass(frozen=True)
class Rehearsal:
    """What a job would do, from a look at it."""

    trained: int  # parameters
    frozen: int
    frozen_blocks: int
    training_views: int
    training_places: int
    held_out_places: int
    epochs: int
    first_loss: float


def rehearse(ready: Ready) -> Rehearsal:
    """Set a job up, draw its first batches and learn from one: nothing is written or kept.

    Raises:
        VprError: whatever would end the training before or in its first step.
    """
    job, device = ready.job, resolve_device(ready.job.config.device)
    config = replace(job.config, steps=1, epoch_steps=0, stored_views=0)
    with Session(
        ready.model, ready.views, config, job.run_folder, Team(), device, ready.teacher
    ) as session:
        [(inputs, labels)] = session.epoch(0)
        losses = session.learner.learn(inputs, labels, 0).losses
        trained = sum(p.numel() for p in session.learner.trained.values())
        every = sum(p.numel() for p in ready.model.network.parameters())
        wanted = job.config
        return Rehearsal(
            trained, every - trained, session.learner.frozen_blocks, len(session.views),
            session.views.place_count, session.held.place_count,
            -(-wanted.steps // (wanted.epoch_steps or wanted.steps)), sum(losses.values()),
        )  # fmt: skip


def start_model(config: TrainConfig) -> PlaceModel:
    """The model to train: from a checkpoint, a backbone, weights at hand, or from nothing.

    Raises:
        ConfigError: several starts, or no weights.
        CheckpointError: weights are missing or another model's.
    """
    if config.backbone:
        if config.weights or config.scratch:
            raise ConfigError('give one of backbone, weights and scratch: each is a start')
        model = untrained_model(config.model, config.seed)
        load_backbone(model, config.backbone)
        return model
    if config.scratch:
        return untrained_model(config.model, config.seed)
    model = load_model(config.model, config.weights)
    if model.fingerprint is None:
        raise ConfigError(f'no weights of {config.model} here: set weights, backbone or scratch')
    return model


def _teacher(config: TrainConfig, model: PlaceModel) -> AnyTeacher | None:
    if not config.teacher:
        return None
    if config.teacher_view == 'models':
        return load_ensemble(config.teacher)
    whitened = config.teacher_view == 'whitened'
    return load_teacher(config.teacher, model.network.token_dim, whitened)


def _threshold(ready: Ready) -> Threshold | None:
    """Measured on the training views; None where no area has two places."""
    config, device = ready.job.config, resolve_device(ready.job.config.device)
    learner = Learner(ready.model, config, Team(), device, ready.teacher)
    feed = PictureFeed(ready.views, ready.model, config, device)
    rng = np.random.default_rng([config.seed, 6])
    areas = measure_similarities(
        ready.views,
        lambda rows: learner.describe(feed, rows),
        settled(config.sampler, ready.views),
        rng,
    )
    ready.model.network.eval().requires_grad_(False)
    return similarity_threshold(areas) if areas else None


def _provenance(ready: Ready, result: Result, threshold: Threshold | None) -> dict[str, Any]:
    """What the weights were made from, without anything of this machine's folders."""
    config = ready.job.config
    files: dict[str, Any] = {
        key: Path(getattr(config, key)).name for key in ('backbone', 'teacher', 'weights')
    }
    if config.teacher_view == 'models':
        files['teacher'] = without_folders(config.teacher)
    sampler = replace(
        config.sampler, affinity_threshold=max(config.sampler.affinity_threshold, -1e9)
    )  # JSON knows no infinity
    return {
        'config': to_dict(replace(config, sampler=sampler, **files)),
        'data': list(ready.views.names),
        'images': len(ready.views),
        'places': ready.views.place_count,
        'steps': result.steps,
        'best_step': result.best_step,
        'validation_recall_at_1': result.best_recall_at_1,
        'validation_recall_at_1_before': result.recall_before,
        'last_losses': {name: round(loss, 4) for name, loss in result.losses.items()},
        'accepted_genuine': threshold.accepted_genuine if threshold else {},
        'accepted_impostors': threshold.accepted_impostors if threshold else {},
        'unreadable': [lost.name for lost in result.lost][:20],
        'torch': torch.__version__,
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
