"""One run: its data, plans and looks at the held-out places, and the files it leaves."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from vpr_ros.config import TrainConfig
from vpr_ros.errors import CheckpointError
from vpr_ros.models import PlaceModel
from vpr_ros.training.distill import Teacher
from vpr_ros.training.distributed import Team
from vpr_ros.training.ensemble import AnyTeacher
from vpr_ros.training.feed import CHUNK, Feed, PictureFeed, step_seed, store_views
from vpr_ros.training.journal import Journal
from vpr_ros.training.learner import Learned, Learner
from vpr_ros.training.loader import Lost
from vpr_ros.training.objective import Inputs
from vpr_ros.training.sampling import Plan, build_sampler, settled
from vpr_ros.training.state import State, load_state, require_same_run, run_identity, save_state
from vpr_ros.training.validation import Score, Selection, queries_of, score, split_places
from vpr_ros.training.views import ViewSet, chosen, require_places

if TYPE_CHECKING:
    from vpr_ros.training.train import Result

STATE_NAME = 'state.safetensors'
SPLIT, PLAN, BATCH, QUERIES, WHITEN = 2, 3, 4, 5, 8  # what a seed is for
WHITENING_VIEWS = 600  # of each area


class Session:
    """Everything a training holds while it runs."""

    def __init__(
        self,
        model: PlaceModel,
        views: ViewSet,
        config: TrainConfig,
        folder: Path,
        team: Team,
        device: torch.device,
        teacher: AnyTeacher | None = None,
        work: Callable[[str, int, int], None] = lambda what, done, total: None,
        feed: Feed | None = None,
    ) -> None:
        """Set everything up, without a look at a picture.

        Raises:
            ConfigError: settings that do not fit the model or each other.
            DatasetError: too few places.
        """
        self.model, self.config, self.folder = model, config, folder
        self.team, self.work = team, work
        self.feed: Feed
        self.run = run_identity(model, views, config, team.size)
        self.learner = Learner(model, config, team, device, teacher)
        self.selection = Selection(config.validation.patience)
        self.recall_before: float | None = None  # of the weights that it begins with
        self._set_data(views, device)
        self.feed = feed or self.pictures
        self.plan: Plan | None = None
        self._named: set[str] = set()
        self._open = ExitStack()

    def _set_data(self, views: ViewSet, device: torch.device) -> None:
        config, self.settled = self.config, settled(self.config.sampler, views)
        rng = np.random.default_rng([config.seed, SPLIT])
        split = split_places(views, config.validation.share, self.settled.radius_m, rng)
        self.views = chosen(views, split.train)
        require_places(self.views)
        rng = np.random.default_rng([config.seed, QUERIES])
        self.held = queries_of(
            chosen(views, split.validation), config.validation.most_queries, rng
        )
        self.sampler = build_sampler(
            self.views, self.settled, config.places_per_batch, config.views_per_place,
            config.single_image_share, device,
        )  # fmt: skip
        self.pictures = PictureFeed(self.views, self.model, config, device)
        self.held_pictures = PictureFeed(self.held, self.model, config, device)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.learner.leave_team()
        self._open.close()

    @property
    def epoch_steps(self) -> int:
        return min(self.config.epoch_steps or self.config.steps, self.config.steps)

    def begin(self, resume: bool) -> int:
        """Open the files, store views where that is wanted, and go back to a saved state.

        Returns:
            The step to begin with.

        Raises:
            CheckpointError: a run is there already and `resume` is not set, or there is none.
        """
        path = self.folder / STATE_NAME
        if not resume and path.exists():
            raise CheckpointError(
                f'{path} holds an earlier training: go on with --resume, or give another folder'
            )
        saved = load_state(path) if resume else None
        if saved:
            require_same_run(saved.run, self.run, path)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.config.stored_views and self.feed is self.pictures:
            self._store_views()
        self._prepare_teacher()
        if saved:
            if not self.sampler.online and saved.step:
                self._make_plan(0)  # mined once with the weights of the start, as it was then
            self._restore(saved)
        step = saved.step if saved else 0
        if self.team.leads:
            self.journal = Journal(self.folder, step)
            self._open.callback(self.journal.close)
        return step

    def _store_views(self) -> None:
        room = self._open.enter_context(tempfile.TemporaryDirectory(dir=self.folder))
        self.feed = store_views(
            self.pictures, len(self.views), self.model, self.config, Path(room),
            self.learner.frozen_blocks,
            lambda done, total: self.work('frozen blocks', done, total),
        )  # fmt: skip

    def _prepare_teacher(self) -> None:
        """Whiten the descriptor of a teacher that wants it, on views augmented as in training."""
        teacher = self.learner.student.teacher
        if not isinstance(teacher, Teacher) or not teacher.whitened:
            return
        rng, areas = np.random.default_rng([self.config.seed, WHITEN]), self.views.areas
        of_areas = [rng.permutation(np.flatnonzero(areas == area)) for area in np.unique(areas)]
        indices = np.concatenate([rows[:WHITENING_VIEWS] for rows in of_areas])
        chunks = np.array_split(indices, range(CHUNK, len(indices), CHUNK))
        seeds = [step_seed(self.config.seed, WHITEN, n) for n in range(len(chunks))]
        batches = self.pictures.batches([(chunk, chunk) for chunk in chunks], seeds, blank=True)
        with self.learner.autocast():
            teacher.whiten(cast(torch.Tensor, inputs) for inputs, _ in batches)

    def epoch(self, step: int) -> Iterator[tuple[list[Inputs], list[np.ndarray]]]:
        """Inputs and labels of the steps that are left of the epoch of `step`, a list a step."""
        if self.plan is None or step % self.epoch_steps == 0:
            self._make_plan(step // self.epoch_steps)
        assert self.plan is not None
        parts, first = self.config.accumulate, step % self.epoch_steps
        last = min(self.epoch_steps, first + self.config.steps - step)
        views = self.config.views_per_place
        mine = self.team.share(self.plan.images.shape[1] // views)
        columns = slice(mine.start * views, mine.stop * views)
        numbers = range(first * parts, last * parts)
        rows = [(self.plan.images[n, columns], self.plan.labels[n, columns]) for n in numbers]
        before = (step - first) * parts
        seeds = [step_seed(self.config.seed, BATCH, before + n, self.team.rank) for n in numbers]
        batches = self.feed.batches(rows, seeds)
        for _ in range(last - first):
            some = [next(batches) for _ in range(parts)]
            yield [inputs for inputs, _ in some], [labels for _, labels in some]

    def _make_plan(self, epoch: int) -> None:
        plan = self.sampler.plan(
            self.epoch_steps * self.config.accumulate,
            lambda indices: self.learner.describe(self.feed, indices),
            np.random.default_rng([self.config.seed, PLAN, epoch]),
            lambda done, total: self.work('graph', done, total),
        )
        # Other processors may break a tie of two descriptors otherwise.
        self.plan = Plan(self.team.same(plan.images), self.team.same(plan.labels))

    def write(self, step: int, learned: Learned) -> None:
        """Into the log, in the leading process."""
        if self.team.leads:
            self.journal.write(
                step, loss=learned.losses, learning_rate=learned.learning_rate,
                active_pairs=learned.active_pairs, gradient_norm=learned.gradient_norm,
            )  # fmt: skip

    def look_is_due(self, step: int) -> bool:
        if len(self.held) == 0:
            return False
        every = self.config.validation.every or self.epoch_steps
        return step % every == 0 or step == self.config.steps

    def look(self, step: int) -> Score:
        """Score the averaged weights on the held-out places, and keep them if they are best.

        Before the first step they are those of the start, which are there to be compared with.
        """
        learner = self.learner
        learner.average.swap()
        rows = learner.describe(self.held_pictures, np.arange(len(self.held)))
        found = score(self.held, rows, self.settled)
        if step:
            self.selection.consider(found, step, learner.trained)
        else:
            self.recall_before = found.recall_at_1
        learner.average.swap()
        if self.team.leads:
            self.journal.write(
                max(0, step - 1), recall_at_1=found.recall_at_1, queries=found.queries
            )
        return found

    def newly_lost(self) -> Iterator[Lost]:
        """Pictures found unreadable since the last call."""
        for lost in self.lost:
            if lost.name not in self._named:
                self._named.add(lost.name)
                yield lost

    @property
    def lost(self) -> tuple[Lost, ...]:
        return (
            *list(self.pictures.loader.lost.values()),
            *list(self.held_pictures.loader.lost.values()),
        )

    def save_if_due(self, step: int) -> None:
        if step % self.config.save_every == 0 or step % self.epoch_steps == 0:
            self.save(step)

    def save(self, step: int) -> None:
        """Save everything that the rest of the run depends on, in the leading process.

        Raises:
            CheckpointError: it cannot be written; the state saved before is intact.
        """
        if not self.team.leads or self.plan is None:
            return
        chosen_so_far = self.selection
        tensors = {
            **self.learner.tensors(),
            **{f'best/{k}': v for k, v in chosen_so_far.weights.items()},
            'plan/images': torch.from_numpy(self.plan.images),
            'plan/labels': torch.from_numpy(self.plan.labels),
        }
        words = {
            **self.learner.words(), 'best': chosen_so_far.words(), 'before': self.recall_before
        }  # fmt: skip
        save_state(State(step, self.run, words, tensors), self.folder / STATE_NAME)

    def _restore(self, saved: State) -> None:
        self.learner.restore(saved)
        self.selection.restore(saved.progress['best'], saved.part('best'))
        self.recall_before = saved.progress.get('before')
        plan = saved.part('plan')
        self.plan = Plan(plan['images'].numpy(), plan['labels'].numpy())

    def end(self, step: int, reason: str, finished: bool) -> Result:
        """Leave the weights that are best in the model."""
        from vpr_ros.training.train import Result

        self.learner.average.swap()
        with torch.no_grad():
            for name, value in self.selection.weights.items():
                self.learner.trained[name].copy_(value)
        self.model.network.eval().requires_grad_(False)
        lost = {item.name: item for item in self.team.collect(self.lost)}
        return Result(
            step, reason, finished, self.selection.step, self.selection.recall_at_1,
            self.learner.losses, tuple(lost.values()), self.recall_before,
        )  # fmt: skip
