"""The end of a network learns from lessons what several models find alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tools.distil.groups import KINDS, VIEWS
from tools.distil.lessons import FROZEN, HELD_OUT, Lessons, read_lessons
from vpr_ros.config import TrainConfig
from vpr_ros.errors import DatasetError
from vpr_ros.models.networks.dinov2 import Attention, Stream
from vpr_ros.models.networks.sage import Sage
from vpr_ros.training.optimisation import Average, Descent, learning_rate

TEMPERATURE = 0.05


@dataclass(frozen=True)
class Course:
    """How long, and how fast."""

    batches: int
    rate: float = 3e-4
    shares: tuple[float, ...] = (0.25,) * len(KINDS)  # of KINDS in a batch
    groups: int = 16  # in a batch
    remembered: int = 1024  # rows of earlier batches, which a batch is compared with, too
    average: float = 0.995  # decay; 260 batches keep a quarter of the first weights
    every: int = 200  # batches between two looks at the lessons held out
    seed: int = 0

    def as_training(self) -> TrainConfig:
        return TrainConfig(
            steps=self.batches, learning_rate=self.rate, warmup=min(0.5, 60 / self.batches),
            final_rate=0.02, weight_decay=0.02, average=self.average,
        )  # fmt: skip


class Shelf:
    """Lessons in memory, those that are still being written as they come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chunks: dict[str, Lessons] = {}
        self.groups: list[list[tuple[str, int]]] = [[] for _ in KINDS]
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(self.folder.glob('*.npz')):
            if path.stem not in self.chunks and not path.stem.startswith(HELD_OUT):
                self.chunks[path.stem] = read_lessons(path)
                for group, kind in enumerate(self.chunks[path.stem].kinds):
                    self.groups[kind].append((path.stem, group))

    def draw(self, course: Course, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Streams and rows of the groups of a batch."""
        streams, wanted = [], []
        for kind in rng.choice(len(KINDS), course.groups, p=course.shares):
            if not self.groups[kind]:
                raise DatasetError(
                    f'expected lessons of {KINDS[kind]}, found none: share 0 or make some'
                )
            name, group = self.groups[kind][rng.integers(len(self.groups[kind]))]
            rows = slice(VIEWS * group, VIEWS * (group + 1))
            streams.append(self.chunks[name].streams[rows])
            wanted.append(self.chunks[name].wanted[rows])
        return np.concatenate(streams), np.concatenate(wanted)


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
    """Learn for so many batches; the network is left with the average of its weights.

    In evaluation mode, so without dropout: what is wanted is exact. Yields the looks.
    """
    parameters = learning(network.eval())
    config = course.as_training()
    descent, average = Descent(parameters, config), Average(parameters, course.average)
    shelf, memory = Shelf(folder), Memory(course.remembered)
    rng = np.random.default_rng(course.seed)
    held = {path.stem: read_lessons(path) for path in sorted(folder.glob(f'{HELD_OUT}*.npz'))}
    yield {'batch': 0, **look(network, held)}
    recent = []
    for batch in range(course.batches):
        recent.append(_step(network, *shelf.draw(course, rng), memory, descent, batch))
        average.update()
        if (batch + 1) % course.every == 0 or batch + 1 == course.batches:
            shelf.refresh()
            average.swap()
            training, squares = np.mean(recent, axis=0)
            yield {
                'batch': batch + 1, 'rate': learning_rate(batch, config), 'training': training,
                'training_squares': squares, 'lessons': len(shelf.chunks), **look(network, held),
            }  # fmt: skip
            average.swap()
            recent = []
    average.swap()


def _step(
    network: Sage,
    streams: np.ndarray,
    rows: np.ndarray,
    memory: Memory,
    descent: Descent,
    batch: int,
) -> tuple[float, float]:
    wanted = torch.from_numpy(rows).float()
    found = describe(network, streams)
    divergence, squares = losses(found, wanted, *memory.beside(found, wanted))
    descent.backward(divergence + squares)
    parts = divergence.item(), squares.item()
    descent.step(batch, sum(parts))
    return parts


@torch.no_grad()
def look(network: Sage, held: Mapping[str, Lessons]) -> dict[str, float]:
    """Both losses on the lessons held out, with what their names have behind `held_out`."""
    seen: dict[str, float] = {}
    for name, lessons in held.items():
        found = torch.cat([describe(network, part) for part in np.array_split(lessons.streams, 6)])
        wanted = torch.from_numpy(lessons.wanted).float()
        divergence, squares = losses(found, wanted, found, wanted)
        behind = name.removeprefix(HELD_OUT)
        seen |= {f'divergence{behind}': float(divergence), f'squares{behind}': float(squares)}
    return seen
