"""`vpr train`: from drives to a checkpoint."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vpr_ros.cli.console import console, progress
from vpr_ros.cli.options import add_settings, read_settings
from vpr_ros.config import TrainConfig, load
from vpr_ros.errors import ConfigError

if TYPE_CHECKING:
    from vpr_ros.training.job import Done, Job, Ready
    from vpr_ros.training.train import Result, Step

DATA_HELP = (
    'what to learn from: bags with poses, several of one area in one frame; maps (.vprmap); '
    'folders with @utm_east@utm_north@ names; roots of GSV-Cities or MSLS; town:SEED[:PLACES] '
    'for the synthetic town; tower:FOLDER[:FLOOR+FLOOR] for walk-through videos as in ie_tower; '
    "photos:FOLDER for photographs of anything, to learn a teacher's features from"
)
LOG_STEPS = 50
SMOOTHING = 0.9  # of the losses shown


def add_commands(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser('train', help='train or fine-tune a model on your own drives')
    train.add_argument('--data', nargs='+', required=True, metavar='SOURCE', help=DATA_HELP)
    train.add_argument('-o', '--output', required=True, help='the .safetensors file to write')
    train.add_argument('--config', help='YAML file of settings; options given here win')
    train.add_argument('--run', dest='folder', help='folder of state and log; else OUTPUT.run')
    train.add_argument('--resume', action='store_true', help='go on with an interrupted run')
    train.add_argument(
        '--dry-run',
        action='store_true',
        help='check everything, learn from one batch, keep nothing',
    )
    train.add_argument('--image-topic', default='', help='needed where a bag has several')
    train.add_argument('--pose-topic', default='', help='needed where a bag has several')
    train.add_argument('--half', action='store_true', help='store weights as fp16')
    train.add_argument(
        '--head-only', action='store_true',
        help='write only what learned, to be laid on the same backbone',
    )  # fmt: skip
    add_settings(train, _=TrainConfig)
    train.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from vpr_ros.training.distributed import leads_the_team
    from vpr_ros.training.job import carry_out, get_ready

    job = read_job(arguments)
    with _work() as work:
        ready = get_ready(job, work)
    if leads_the_team():
        _introduce(ready)
    if arguments.dry_run:
        _rehearse(ready)
        return
    with _stopped_gently() as stop, _Display(job.config.steps) as display:
        done = carry_out(ready, display.watcher(stop))
    _tell(job, ready, done)
    if not done.result.finished:
        raise KeyboardInterrupt(
            f'{done.result.reason}; everything is in {job.run_folder}: the same command with '
            '--resume goes on'
        )


def _introduce(ready: Ready) -> None:
    for warning in ready.warnings:
        console.print(f'[yellow]note[/] {escape(warning)}')
    views = ready.views
    console.print(f'{len(views)} images, {views.place_count} places from {", ".join(views.names)}')


def read_job(arguments: argparse.Namespace) -> Job:
    """The order that the command line gives."""
    from vpr_ros.training.job import Job
    from vpr_ros.training.sources import SourceOptions

    config = load(TrainConfig, arguments.config) if arguments.config else TrainConfig()
    config = read_settings(arguments, '_', config)
    output = Path(arguments.output)
    if output.suffix != '.safetensors':
        raise ConfigError(f'--output: expected a .safetensors file, found {output.name}')
    return Job(
        config, tuple(arguments.data), output,
        Path(arguments.folder) if arguments.folder else None,
        SourceOptions(image_topic=arguments.image_topic, pose_topic=arguments.pose_topic),
        arguments.half, arguments.head_only, arguments.resume,
    )  # fmt: skip


def _rehearse(ready: Ready) -> None:
    from vpr_ros.training.job import rehearse

    plan, config = rehearse(ready), ready.job.config
    console.print(
        f'{config.model}: {plan.trained:,} parameters learn, {plan.frozen:,} stay as they are; '
        f'the first {plan.frozen_blocks} blocks run without gradients'
    )
    console.print(
        f'{plan.training_views} images of {plan.training_places} places to train on, '
        f'{plan.held_out_places} places held out to choose the best weights'
    )
    console.print(
        f'{config.steps} steps in {plan.epochs} epochs, {config.places_per_batch} places x '
        f'{config.views_per_place} images, sampler {config.sampler.kind}; first loss '
        f'{plan.first_loss:.3f}'
    )
    console.print('dry run: everything is in order, nothing was written')


@contextmanager
def _work() -> Iterator[Any]:
    """Bars for the work before the first step, one for each thing it names."""
    bars: dict[str, Any] = {}
    open_bars: list[Any] = []

    def report(what: str, done: int, total: int) -> None:
        if what not in bars:
            while open_bars:
                open_bars.pop().__exit__(None, None, None)
            bar = progress(what)
            bars[what] = bar.__enter__()
            open_bars.append(bar)
        bars[what](done, total)

    try:
        yield report
    finally:
        while open_bars:
            open_bars.pop().__exit__(None, None, None)


@contextmanager
def _stopped_gently() -> Iterator[Any]:
    """Let Ctrl-C and SIGTERM end the training after the step under way, with its state saved."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: asked.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Display:
    """A bar with loss, active pairs, recall@1 and time left; plain lines where no one looks."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.loss: float | None = None
        self.recall = ''
        self.bar = Progress(
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), TextColumn('{task.fields[note]}'),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip

    def __enter__(self) -> _Display:
        self.bar.start()
        self.task = self.bar.add_task('training', total=self.steps, note='')
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def watcher(self, stop: Any) -> Any:
        from vpr_ros.training.train import Watcher

        return Watcher(
            step=self._step, score=self._score, lost=self._lost, work=self._work, stop=stop
        )

    def _step(self, step: Step) -> None:
        total = sum(step.losses.values())
        self.loss = total if self.loss is None else (
            SMOOTHING * self.loss + (1 - SMOOTHING) * total
        )  # fmt: skip
        note = f'loss {self.loss:.3f}  active pairs {step.active_pairs:.0f}{self.recall}'
        self.bar.update(self.task, completed=step.number + 1, note=note, description='training')
        if step.number % LOG_STEPS == 0:
            losses = ', '.join(f'{name} {loss:.3f}' for name, loss in step.losses.items())
            console.print(
                f'step {step.number}: {losses}, {step.active_pairs:.0f} active pairs, '
                f'{step.seconds:.2f} s'
            )

    def _score(self, step: int, score: Any) -> None:
        self.recall = f'  R@1 {score.recall_at_1:.3f}'
        console.print(
            f'after {step} steps: recall@1 {score.recall_at_1:.3f} on {score.queries} held-out '
            'views'
        )

    def _lost(self, lost: Any) -> None:
        console.print(f'[yellow]skipped[/] {escape(lost.name)}: {escape(lost.reason)}')

    def _work(self, what: str, done: int, total: int) -> None:
        self.bar.update(self.task, description=what, note=f'{done} of {total}')


def _tell(job: Job, ready: Ready, done: Done) -> None:
    result = done.result
    if result.lost:
        console.print(f'[yellow]{len(result.lost)} images could not be read[/]')
    if not result.finished or done.header is None:
        return
    console.print(f'{result.reason} ({result.steps} steps)')
    if result.best_step is not None:
        console.print(f'best on the held-out places: {in_words(result)}')
    model = ready.model
    console.print(f'{job.output}: {model.name}:{done.header.fingerprint[:16]}')
    if threshold := done.threshold:
        console.print(
            f'threshold {model.similarity_threshold}; above it lie '
            f'{_percent(threshold.accepted_genuine)} of the true and '
            f'{_percent(threshold.accepted_impostors)} of the best wrong matches'
        )


def in_words(result: Result) -> str:
    """What the training brought on the held-out places, of which there are some."""
    best, before = result.best_recall_at_1, result.recall_before
    assert best is not None
    words = f'step {result.best_step}, recall@1 {best:.3f}'
    if before is None:
        return words
    worth = '' if best > before else ': no better than the weights it began with'
    return f'{words}, before learning {before:.3f}{worth}'


def _percent(shares: dict[str, float]) -> str:
    few = list(shares.items())[:5]
    more = f' and {len(shares) - 5} more areas' if len(shares) > 5 else ''
    return ', '.join(f'{100 * share:.1f} % ({name})' for name, share in few) + more
