"""The network in training with its optimiser: it learns from batches, and describes views."""

from __future__ import annotations

import gc
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from vpr_ros.config import TrainConfig
from vpr_ros.models import PlaceModel
from vpr_ros.training.distributed import Team
from vpr_ros.training.ensemble import AnyTeacher
from vpr_ros.training.feed import Feed, step_seed
from vpr_ros.training.objective import Inputs, Outcome, Student
from vpr_ros.training.optimisation import (
    Average,
    Descent,
    choose_trainable,
    half_type,
    learning_rate,
)
from vpr_ros.training.state import State, optimizer_tensors, restore_optimizer


class Learned(NamedTuple):
    """What a step did; losses and pairs are means over its batches."""

    learning_rate: float
    losses: dict[str, float]
    active_pairs: float
    gradient_norm: float  # before clipping


class Learner:
    """One process's copy of what learns."""

    def __init__(
        self,
        model: PlaceModel,
        config: TrainConfig,
        team: Team,
        device: torch.device,
        teacher: AnyTeacher | None = None,
    ) -> None:
        """Take a model whose network then is trained in place.

        Raises:
            ConfigError: settings that do not fit the model, the device or each other.
        """
        self.config, self.team, self.device = config, team, device
        self.half = half_type(config, device)
        self.student = Student(model, config, team, teacher).to(device)
        self.network = model.network
        self.trained = choose_trainable(model.network, config)  # those that are kept
        self.learning = {k: p for k, p in self.student.named_parameters() if p.requires_grad}
        self.call = _parallel(self.student, team)
        self.descent = Descent(self.learning.values(), config)
        self.average = Average(list(self.trained.values()), config.average)
        self.losses: dict[str, float] = {}  # of the last step

    @property
    def frozen_blocks(self) -> int:
        """Blocks at the beginning that do not learn and have nothing before them that does."""
        network = self.network
        if any(p.requires_grad for p in network.backbone.patch_embed.parameters()):
            return 0
        learns = [
            any(p.requires_grad for p in block.parameters()) for block in network.backbone.blocks
        ]
        return min([*np.flatnonzero(learns).tolist(), network.first_adapted])

    def autocast(self) -> torch.autocast:
        half = self.half or torch.bfloat16
        return torch.autocast(self.device.type, half, enabled=self.half is not None)

    def learn(self, inputs: list[Inputs], labels: list[np.ndarray], step: int) -> Learned:
        """One step of the optimiser on the batches given.

        Raises:
            DatasetError: loss or gradient is not finite.
        """
        self.student.train()
        if step == 0 and not self.config.scratch:
            with self.autocast():
                self.student.meet_teacher(inputs[0])
        torch.manual_seed(step_seed(self.config.seed, step, self.team.rank))  # for dropout
        chance = torch.Generator(self.device).manual_seed(step_seed(self.config.seed, step))
        outcomes: list[Outcome] = []
        for some, places in zip(inputs, labels, strict=True):
            there = torch.from_numpy(places).to(self.device)
            with self.autocast():
                outcome = self.call(some, there, chance)
            self.descent.backward(torch.stack(list(outcome.losses.values())).sum())
            outcomes.append(
                Outcome({k: v.detach() for k, v in outcome.losses.items()}, outcome.active)
            )
        self.losses = {
            name: sum(o.losses[name].item() for o in outcomes) / len(outcomes)
            for name in outcomes[0].losses
        }
        norm = self.descent.step(step, sum(self.losses.values()))
        self.average.update()
        active = sum(float(o.active) for o in outcomes) / len(outcomes)
        return Learned(learning_rate(step, self.config), self.losses, active, norm)

    def describe(self, feed: Feed, indices: np.ndarray) -> np.ndarray:
        """Descriptors (n, D), fp16, of views with the present weights, in evaluation mode.

        Those of unreadable pictures are zero: like none more than any other.
        """
        mine = np.array_split(indices, self.team.size)[self.team.rank]
        network, rows = self.network.eval(), []
        with torch.inference_mode(), self.autocast():
            for inputs in feed.plain(mine):
                rows.append(network(inputs).half().cpu().numpy())
        network.train()
        none = np.zeros((0, network.descriptor_dim), np.float16)
        found = np.concatenate([none, *rows])
        found[feed.lost(mine)] = 0.0
        return self.team.gather_arrays(found)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything to be saved."""
        return {
            **{f'weights/{k}': p for k, p in self.learning.items()},
            **{f'average/{k}': v for k, v in zip(self.trained, self.average.values, strict=True)},
            **optimizer_tensors(self.descent.optimizer, self.learning),
        }

    def words(self) -> dict[str, Any]:
        """The rest of it, as JSON."""
        return {
            'losses': self.losses,
            'averaged': self.average.count,
            'scaler': self.descent.scaler.state_dict(),
        }

    def leave_team(self) -> None:
        """Let go of the other processes, while their group still exists.

        Freed after it, the reducer ends the group's last thread while it holds the interpreter's
        lock, for which that thread may be waiting: the process would never end.
        """
        self.call = self.student
        gc.collect()

    @torch.no_grad()
    def restore(self, saved: State) -> None:
        """Go back to what was saved."""
        weights, average = saved.part('weights'), saved.part('average')
        for name, parameter in self.learning.items():
            parameter.copy_(weights[name])
        self.average.values = [average[name].to(self.device) for name in self.trained]
        restore_optimizer(self.descent.optimizer, self.learning, saved)
        self.losses, self.average.count = saved.progress['losses'], saved.progress['averaged']
        if saved.progress['scaler']:
            self.descent.scaler.load_state_dict(saved.progress['scaler'])


def _parallel(student: Student, team: Team) -> nn.Module:
    if team.size == 1:
        return student
    return nn.parallel.DistributedDataParallel(
        student,
        find_unused_parameters=True,  # losses of weight 0 leave parts without a gradient
        broadcast_buffers=False,
    )
