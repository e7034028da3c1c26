"""The node of a training: parameters in, progress and diagnostics out."""

from __future__ import annotations

import math
import shlex
import threading
import time
from dataclasses import fields, replace
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from vpr_msgs.msg import TrainingProgress
from vpr_ros.config import TrainConfig, TrainerConfig
from vpr_ros.errors import ConfigError, VprError
from vpr_ros.nodes.parameters import Parameters
from vpr_ros.training.job import Done, Job, carry_out, get_ready
from vpr_ros.training.loader import Lost
from vpr_ros.training.session import STATE_NAME
from vpr_ros.training.sources import SourceOptions
from vpr_ros.training.train import Step, Watcher
from vpr_ros.training.validation import Score

LINGER_S = 1.0
PERIOD_S = 0.1  # between two messages of progress
DIAGNOSTICS_S = 1.0
KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RATE_STEPS = 20  # over which the time left is estimated


class Trainer(Node):
    """Trains in the thread that calls `carry_out`, and tells of it from the one that spins."""

    def __init__(self, stop: threading.Event) -> None:
        """Declare the parameters; `stop` ends the training after the step under way."""
        super().__init__('trainer')
        self._stop = stop
        self._settings = Parameters(self, TrainerConfig)
        self._progress = self.create_publisher(TrainingProgress, '~/progress', KEPT)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._message = TrainingProgress(
            phase='starting', loss=math.nan, recall_at_1=math.nan, seconds_left=math.nan
        )
        self._lock = threading.Lock()
        self._started: list[float] = []  # when the last steps ended
        self._published = 0.0
        self.create_timer(DIAGNOSTICS_S, self.report)

    def carry_out(self) -> None:
        """Do what the parameters say.

        Raises:
            VprError: whatever ended it; it was logged and published.
        """
        try:
            config = self._settings.read()
            self._settings.locked = True
            job = read_job(config)
            with self._lock:
                self._message.model, self._message.steps = config.model, config.steps
            ready = get_ready(job, self._work)
            for warning in ready.warnings:
                self.get_logger().warning(warning)
            self.get_logger().info(
                f'{len(ready.views)} images of {ready.views.place_count} places'
            )
            done = carry_out(
                ready,
                Watcher(self._step, self._score, self._lost, self._work, self._stop.is_set),
            )
            self._end(job, done)
        except VprError as error:
            self.get_logger().error(str(error))
            with self._lock:
                self._message.phase, self._message.error = 'failed', str(error)
            raise

    def report(self) -> None:
        """Publish progress and diagnostics as they are now."""
        with self._lock:
            self._publish()
            message = self._message
            level = DiagnosticStatus.ERROR if message.error else (
                DiagnosticStatus.WARN if message.unreadable else DiagnosticStatus.OK
            )  # fmt: skip
            status = DiagnosticStatus(
                level=level, name=f'{self.get_name()}: training', hardware_id=self.get_name(),
                message=message.error or in_words(message),
                values=[
                    KeyValue(key=key, value=str(getattr(message, key)))
                    for key in ('model', 'phase', 'step', 'steps', 'loss', 'active_pairs',
                                'recall_at_1', 'seconds_left', 'unreadable')
                ],
            )  # fmt: skip
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def linger(self) -> None:
        """Say the last thing, and give those who listen the time to hear it."""
        self.report()
        self._progress.wait_for_all_acked(Duration(seconds=LINGER_S))
        time.sleep(LINGER_S)  # who has just found us is sent what was kept

    def _publish(self) -> None:
        self._message.stamp = self.get_clock().now().to_msg()
        self._progress.publish(self._message)
        self._published = time.monotonic()

    def _step(self, step: Step) -> None:
        with self._lock:
            message, now = self._message, time.monotonic()
            self._started = [*self._started[-RATE_STEPS:], now]
            message.phase, message.step = 'training', step.number + 1
            message.loss, message.active_pairs = sum(step.losses.values()), step.active_pairs
            if len(self._started) > 1:
                rate = (now - self._started[0]) / (len(self._started) - 1)
                message.seconds_left = rate * (message.steps - message.step)
            if now - self._published >= PERIOD_S:
                self._publish()

    def _score(self, step: int, score: Score) -> None:
        with self._lock:
            self._message.recall_at_1 = score.recall_at_1
        self.get_logger().info(
            f'after {step} steps: recall@1 {score.recall_at_1:.3f} on {score.queries} held-out '
            'views'
        )

    def _lost(self, lost: Lost) -> None:
        with self._lock:
            self._message.unreadable += 1
        self.get_logger().warning(f'skipped {lost.name}: {lost.reason}')

    def _work(self, what: str, done: int, total: int) -> None:
        with self._lock:
            self._message.phase = f'{what}: {done} of {total}'

    def _end(self, job: Job, done: Done) -> None:
        result = done.result
        with self._lock:
            self._message.finished = result.finished
            self._message.phase = result.reason
        if done.header is None:
            self.get_logger().warning(
                f'{result.reason}; {job.run_folder} holds the state: start with resume:=true'
            )
        else:
            self.get_logger().info(f'{result.reason}; wrote {job.output}')


def read_job(config: TrainerConfig) -> Job:
    """The order that the parameters give.

    Raises:
        ConfigError: no data or no output.
    """
    data = tuple(shlex.split(config.data))
    if not data:
        raise ConfigError('parameter data is empty: name bags, folders or maps to learn from')
    output = Path(config.output)
    if output.suffix != '.safetensors':
        raise ConfigError(
            f'parameter output: expected a .safetensors file, found {config.output!r}'
        )
    settings = {field.name: getattr(config, field.name) for field in fields(TrainConfig)}
    job = Job(
        TrainConfig(**settings), data, output,
        Path(config.run_folder) if config.run_folder else None,
        SourceOptions(image_topic=config.image_topic, pose_topic=config.pose_topic), config.half,
        config.head_only,
    )  # fmt: skip
    if config.resume and (job.run_folder / STATE_NAME).exists():
        return replace(job, resume=True)
    return job


def in_words(message: TrainingProgress) -> str:
    """What a person wants to know of it."""
    if message.finished or message.step == 0:
        return message.phase
    words = [f'step {message.step} of {message.steps}', f'loss {message.loss:.3f}']
    if not math.isnan(message.recall_at_1):
        words.append(f'recall@1 {message.recall_at_1:.2f} on held-out places')
    if not math.isnan(message.seconds_left):
        words.append(f'{message.seconds_left / 60:.0f} min left')
    if message.unreadable:
        words.append(f'{message.unreadable} images could not be read')
    return ', '.join(words) if message.phase == 'training' else f'{message.phase}; ' + words[0]
