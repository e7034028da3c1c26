"""The end of a network learns from lessons what several models find alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tools.distil.groups import KINDS, VIEWS
from tools.distil.lessons import FROZEN, HELD_OUT
from vpr_ros.models.networks.dinov2 import Attention, Stream
from vpr_ros.models.networks.sage import Sage

TEMPERATURE = 0.05
WARM_UP = 60  # batches
FINAL_RATE = 0.02
WEIGHT_DECAY = 0.02
CLIP = 1.0


@dataclass(frozen=True)
class Course:
    """How long, and how fast."""

    minutes: float
    rate: float = 3e-4
    kinds: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)  # shares of videos, survey and walks
    groups: int = 16  # in a batch
    remembered: int = 1024  # rows of earlier batches, which a batch is compared with, too
    average: float = 0.995
    every: int = 200  # batches between two looks at the lessons held out
    seed: int = 0


class Shelf:
    """Chunks of lessons in memory, those that are still being written as they come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chunks: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(self.folder.glob('*.npz')):
            if path.stem not in self.chunks and not path.stem.startswith(HELD_OUT):
                self.chunks[path.stem] = _read(path)

    def draw(self, course: Course, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Streams and rows of the groups of a batch."""
        names, streams, wanted = list(self.chunks), [], []
        for kind in rng.choice(KINDS, course.groups, p=course.kinds):
            chunk = self.chunks[names[rng.integers(len(names))]]
            first = VIEWS * (KINDS * rng.integers(len(chunk[0]) // VIEWS // KINDS) + kind)
            streams.append(chunk[0][first : first + VIEWS])
            wanted.append(chunk[1][first : first + VIEWS])
        return np.concatenate(streams), np.concatenate(wanted)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return file['streams'], file['wanted']


class Memory:
    """Rows of earlier batches: what was wanted, and what was found then."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.wanted: list[torch.Tensor] = []
        self.found: list[torch.Tensor] = []

    def beside(
        self, found: torch.Tensor, wanted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows of a batch, and behind them those remembered; it is remembered, too."""
        both = torch.cat([found, *self.found]), torch.cat([wanted, *self.wanted])
        self.wanted.append(wanted)
        self.found.append(found.detach())
        while sum(map(len, self.found)) > self.rows:
            self.wanted.pop(0), self.found.pop(0)
        return both


def losses(
    found: torch.Tensor, wanted: torch.Tensor, all_found: torch.Tensor, all_wanted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Divergence of the rankings, and squared difference of the cosines in hundredths.

    Args:
        found, wanted: unit rows (B, D) and (B, E) of a batch.
        all_found, all_wanted: those and others behind them, (N, D) and (N, E).
    """
    a, b = found @ all_found.T, wanted @ all_wanted.T
    own = torch.eye(len(a), len(all_found), dtype=torch.bool)
    log_a, log_b = ((x / TEMPERATURE).masked_fill(own, -1e4).log_softmax(dim=1) for x in (a, b))
    divergence = F.kl_div(log_a, log_b, reduction='batchmean', log_target=True)
    return divergence, 100.0 * (a - b)[~own].square().mean()


def learning(network: Sage) -> list[torch.nn.Parameter]:
    """Let gradients into what lies behind the trunk, and nowhere else."""
    network.requires_grad_(False)
    adapted = max(0, FROZEN - network.first_adapted)
    parts = [
        *network.backbone.blocks[FROZEN:], network.backbone.norm, *network.gpn_norms[adapted:],
        network.aggregator,
    ]  # fmt: skip
    for part in parts:
        part.requires_grad_(True)
    for module in network.modules():
        if isinstance(module, Attention):
            module.attend = _attend
    return [p for p in network.parameters() if p.requires_grad]


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """What torch does, without its fused kernel, whose gradients take a CPU twice as long."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.softmax(dim=-1).to(value.dtype) @ value


def describe(network: Sage, streams: np.ndarray) -> torch.Tensor:
    side = round((streams.shape[1] - 1) ** 0.5)
    x = torch.from_numpy(streams).float()
    with torch.autocast('cpu', torch.bfloat16):
        found = network(Stream(x, (side, side), FROZEN))
    return F.normalize(found.float(), dim=1)


def learn(network: Sage, folder: Path, course: Course) -> Iterator[dict[str, float]]:
    """Learn until the time is over; the network is left with the average of its weights.

    In evaluation mode, so without dropout: what is wanted is exact. Yields the looks.
    """
    parameters = learning(network.eval())
    optimizer = torch.optim.AdamW(parameters, course.rate, weight_decay=WEIGHT_DECAY)
    average = [p.detach().clone() for p in parameters]
    shelf, memory, rng = (
        Shelf(folder),
        Memory(course.remembered),
        np.random.default_rng(course.seed),
    )
    held = _read(folder / f'{HELD_OUT}.npz')
    yield {'batch': 0, 'minutes': 0.0, **look(network, held)}
    began, batch, recent = time.monotonic(), 0, []
    while (passed := (time.monotonic() - began) / 60.0 / course.minutes) < 1.0:
        rate = course.rate * min(1.0, (batch + 1) / WARM_UP) * _left(passed)
        for group in optimizer.param_groups:
            group['lr'] = rate
        streams, rows = shelf.draw(course, rng)
        wanted = torch.from_numpy(rows).float()
        found = describe(network, streams)
        parts = losses(found, wanted, *memory.beside(found, wanted))
        optimizer.zero_grad()
        (parts[0] + parts[1]).backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        batch += 1
        keep = min(course.average, 1 - 1 / (batch + 1))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - keep)
        recent.append([part.item() for part in parts])
        if batch % course.every == 0:
            _swap(parameters, average)
            shelf.refresh()
            seen = np.mean(recent, axis=0)
            yield {
                'batch': batch, 'minutes': (time.monotonic() - began) / 60, 'rate': rate,
                'training': seen[0], 'training_squares': seen[1],
                'lessons': len(shelf.chunks), **look(network, held),
            }  # fmt: skip
            _swap(parameters, average)
            recent = []
    _swap(parameters, average)
    yield {'batch': batch, 'minutes': course.minutes, **look(network, held)}


def _left(passed: float) -> float:
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + np.cos(np.pi * passed))


@torch.no_grad()
def _swap(parameters: list[torch.nn.Parameter], average: list[torch.Tensor]) -> None:
    for parameter, mean in zip(parameters, average, strict=True):
        kept = parameter.detach().clone()
        parameter.copy_(mean)
        mean.copy_(kept)


@torch.no_grad()
def look(network: Sage, held: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Both losses on the lessons held out."""
    found = torch.cat([describe(network, part) for part in np.array_split(held[0], 6)])
    wanted = torch.from_numpy(held[1]).float()
    divergence, squares = losses(found, wanted, found, wanted)
    return {'divergence': float(divergence), 'squares': float(squares)}
