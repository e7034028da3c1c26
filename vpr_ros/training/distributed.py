"""One training in several processes, started by `torchrun`: who I am, and what we share.

Every process holds the whole network and a share of the places of each batch. Descriptors are
gathered with their gradients, so the loss is that of the whole batch, as in one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.nn.functional as collective

from vpr_ros.errors import ConfigError

T = TypeVar('T')


@dataclass(frozen=True)
class Team:
    """This process among its equals."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device('cpu')  # what messages travel from

    @property
    def leads(self) -> bool:
        """Whether this process writes, shows and decides."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of `count` equal parts of a batch are ours.

        Raises:
            ConfigError: they cannot be shared out evenly.
        """
        if count % self.size:
            raise ConfigError(
                f'places_per_batch: expected a multiple of the {self.size} processes, '
                f'found {count}'
            )
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of all processes one after the other, (size * B, ...), with their gradients."""
        if self.size == 1:
            return rows
        if rows.requires_grad:
            return torch.cat(collective.all_gather(rows))
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    def agree(self, value: bool) -> bool:
        """What the leading process says."""
        if self.size == 1:
            return value
        said = torch.tensor([int(value)], device=self.device)
        dist.broadcast(said, 0)
        return bool(said.item())

    def same(self, array: np.ndarray) -> np.ndarray:
        """The leading process's array, which has the same shape everywhere."""
        if self.size == 1:
            return array
        shared = [array]
        dist.broadcast_object_list(shared, 0)
        return shared[0]

    def collect(self, items: Iterable[T]) -> list[T]:
        """Items of all processes one after the other."""
        mine = list(items)
        if self.size == 1:
            return mine
        parts: list[list[T] | None] = [None] * self.size
        dist.all_gather_object(parts, mine)
        return [item for part in parts for item in part or ()]

    def gather_arrays(self, rows: np.ndarray) -> np.ndarray:
        """Arrays of all processes one after the other; they may differ in length."""
        if self.size == 1:
            return rows
        parts: list[np.ndarray | None] = [None] * self.size
        dist.all_gather_object(parts, rows)
        return np.concatenate([part for part in parts if part is not None])


def leads_the_team() -> bool:
    """Whether this process is the one that writes results, before or after it meets the others."""
    return os.environ.get('WORLD_SIZE', '1') == '1' or os.environ.get('RANK') == '0'


def team_size() -> int:
    """How many processes `torchrun` started, before or after they meet."""
    return int(os.environ.get('WORLD_SIZE', '1'))


@contextmanager
def join_team(device: torch.device) -> Iterator[Team]:
    """Meet the other processes that `torchrun` started; alone where there are none.

    Raises:
        ConfigError: the environment of torchrun is incomplete.
    """
    size = team_size()
    if size == 1:
        yield Team()
        return
    if 'RANK' not in os.environ or 'MASTER_ADDR' not in os.environ:
        raise ConfigError('WORLD_SIZE is set without RANK and MASTER_ADDR: start with torchrun')
    if device.type == 'cuda':
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', '0')))
    dist.init_process_group('nccl' if device.type == 'cuda' else 'gloo')
    try:
        yield Team(dist.get_rank(), size, device)
    finally:
        dist.destroy_process_group()
