"""The training loop, in the order things happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vpr_ros.config import TrainConfig
from vpr_ros.models import PlaceModel
from vpr_ros.models.engines.runtime import resolve_device
from vpr_ros.training.distributed import join_team
from vpr_ros.training.ensemble import AnyTeacher
from vpr_ros.training.feed import Feed
from vpr_ros.training.learner import Learned
from vpr_ros.training.loader import Lost
from vpr_ros.training.session import Session
from vpr_ros.training.validation import Score
from vpr_ros.training.views import ViewSet

Progress = Callable[[int, int], None]


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Step:
    """What one step of the training did."""

    number: int
    learned: Learned
    seconds: float

    @property
    def losses(self) -> dict[str, float]:
        return self.learned.losses

    @property
    def active_pairs(self) -> float:
        return self.learned.active_pairs


@dataclass(frozen=True)
class Watcher:
    """Whoever wants to know how it goes.

    Called in the leading process alone, but for pictures that were lost in another.
    """

    step: Callable[[Step], None] = _ignore
    score: Callable[[int, Score], None] = _ignore  # steps done, and the score
    lost: Callable[[Lost], None] = _ignore
    work: Callable[[str, int, int], None] = _ignore  # other long work: what, done, in all
    stop: Callable[[], bool] = lambda: False  # asked after each step


@dataclass(frozen=True)
class Result:
    """How a training ended."""

    steps: int
    reason: str  # in words
    finished: bool  # False: it was interrupted and can go on
    best_step: int | None = None
    best_recall_at_1: float | None = None
    losses: dict[str, float] = field(default_factory=dict)  # of the last step
    lost: tuple[Lost, ...] = ()
    recall_before: float | None = None  # on the held-out places, of the weights of the start


def train(
    model: PlaceModel,
    views: ViewSet,
    config: TrainConfig,
    folder: Path | str,
    *,
    resume: bool = False,
    teacher: AnyTeacher | None = None,
    watcher: Watcher | None = None,
    feed: Feed | None = None,
) -> Result:
    """Train a model in place; it ends in evaluation mode with the weights that are best.

    These are the averaged weights of the look at the validation places with the highest recall, or
    the last average where no place was held out. An interrupted run that is resumed ends with the
    same bits as one that was not, on the same kind of processor.

    Args:
        model: in fp32, as `load_model` gives it.
        views: what to learn from, and to validate on.
        config: everything else.
        folder: of the saved state, the log and TensorBoard's events; made if missing.
        resume: go on from the state in `folder`.
        teacher: of the losses `tokens`, `relations` and `similarities`.
        watcher: told of every step.
        feed: of all views, stored before; for several runs on the same data.

    Raises:
        ConfigError: settings that do not fit the model or each other.
        DatasetError: too few places, unreadable pictures, or the loss became NaN.
        CheckpointError: the state cannot be written, or belongs to another run.
    """
    watcher, device = watcher or Watcher(), resolve_device(config.device)
    with join_team(device) as team, Session(
        model, views, config, Path(folder), team, device, teacher, watcher.work, feed
    ) as session:  # fmt: skip
        step = session.begin(resume)
        step, reason, finished = _steps(session, step, watcher)
        session.save(step)
        return session.end(step, reason, finished)


def _steps(session: Session, step: int, watcher: Watcher) -> tuple[int, str, bool]:
    """Learn from `step` on; the step reached, why it ended there, and whether that is the end."""
    config, team, selection = session.config, session.team, session.selection
    if step == 0 and session.look_is_due(0):
        _look(session, 0, watcher)
    while step < config.steps and not selection.out_of_patience:
        for inputs, labels in session.epoch(step):
            started = time.monotonic()
            learned = session.learner.learn(inputs, labels, step)
            session.write(step, learned)
            if team.leads:
                watcher.step(Step(step, learned, time.monotonic() - started))
            step += 1
            if session.look_is_due(step):
                _look(session, step, watcher)
            for lost in session.newly_lost():
                watcher.lost(lost)
            if team.agree(watcher.stop()):
                return step, f'interrupted after {step} steps', False
            if selection.out_of_patience:
                break
            session.save_if_due(step)
    if selection.out_of_patience:
        return step, f'no better recall@1 in the last {config.validation.patience} looks', True
    return step, 'all steps done', True


def _look(session: Session, step: int, watcher: Watcher) -> None:
    score = session.look(step)
    if session.team.leads:
        watcher.score(step, score)
