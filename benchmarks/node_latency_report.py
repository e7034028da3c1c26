"""Figures, table and plot of what `benchmarks/node_latency.py` measured. No ROS is needed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from matplotlib import rc_context
from rich.table import Table

from vpr_ros.evaluation.theme import LIGHT, new_figure, style

GOAL_MS = 6.0  # beside the model, of an image of 640x480 on a CPU
PERCENTILES = {'p50': 50, 'p90': 90, 'p99': 99, 'max': 100}
STAGES = ('queue', 'preprocess', 'inference', 'search', 'rerank', 'verify', 'decide')
SHORT = {'preprocess': 'prep.', 'inference': 'model'}
SETTLED_S = 60.0  # of a soak: caches are full, memory may no longer grow
MOST_CORRELATED = 0.99


@dataclass(frozen=True)
class Case:
    """What is sent: size is (height, width) in pixels; candidates are those verified."""

    size: tuple[int, int]
    encoding: str  # rgb8, mono8 or jpeg
    candidates: int
    rate_hz: float

    def __str__(self) -> str:
        return f'{self.size[1]}x{self.size[0]} {self.encoding}'


@dataclass(frozen=True)
class Answer:
    """One answered image: times in milliseconds, the stages as the node tells them."""

    latency_ms: float  # from just before it was published until its answer arrived
    dropped: int  # images that the node replaced by this one
    stages_ms: Mapping[str, float]  # by STAGES

    @property
    def processing_ms(self) -> float:
        return sum(self.stages_ms.values()) - self.stages_ms['queue']

    @property
    def beside_model_ms(self) -> float:
        return self.latency_ms - self.stages_ms['inference']

    @property
    def unaccounted_ms(self) -> float:
        """DDS, rclpy, conversion from and to messages: what no stage of the node has seen."""
        return self.latency_ms - sum(self.stages_ms.values())


@dataclass(frozen=True)
class Usage:
    """A process at a moment: processor seconds since its start, resident set in MiB."""

    wall_s: float
    processor_s: float
    resident_mib: float


@dataclass(frozen=True)
class Trend:
    """Growth of memory with the standard error of it, in MiB an hour."""

    per_hour: float
    error: float


@dataclass(frozen=True)
class Row:
    """Figures of one case; percentiles by the keys of PERCENTILES."""

    case: Case
    published: int
    answered: int
    dropped: int
    lost: int  # neither answered nor replaced by a newer one: they never arrived
    latency_ms: dict[str, float]
    beside_model_ms: dict[str, float]
    unaccounted_ms: dict[str, float]
    stages_ms: dict[str, float]  # medians
    oldest_ms: float  # see `excess_ms`
    processor: float  # cores in use
    resident_mib: float  # at the end


def row(
    case: Case, published: int, answers: Sequence[Answer], usage: Sequence[Usage], skip: int = 0
) -> Row:
    """Figures of a case.

    Args:
        case: what was sent.
        published: images, up to the one that was answered last.
        answers: at least one.
        usage: of the node's process, at least two moments.
        skip: first answers that count but are not timed, where there are more: caches were cold.
    """
    timed = answers[skip:] or answers
    dropped = sum(answer.dropped for answer in answers)
    first, last = usage[0], usage[-1]
    return Row(
        case=case,
        published=published,
        answered=len(answers),
        dropped=dropped,
        lost=published - len(answers) - dropped,
        latency_ms=percentiles(answer.latency_ms for answer in timed),
        beside_model_ms=percentiles(answer.beside_model_ms for answer in timed),
        unaccounted_ms=percentiles(answer.unaccounted_ms for answer in timed),
        stages_ms={
            name: float(np.median([answer.stages_ms[name] for answer in timed])) for name in STAGES
        },
        oldest_ms=max(excess_ms(answer, case.rate_hz) for answer in timed),
        processor=(last.processor_s - first.processor_s) / (last.wall_s - first.wall_s),
        resident_mib=last.resident_mib,
    )


def percentiles(values: Iterable[float]) -> dict[str, float]:
    found = list(values)
    return {name: float(np.percentile(found, share)) for name, share in PERCENTILES.items()}


def excess_ms(answer: Answer, rate_hz: float) -> float:
    """By how much an answer is older than its own processing and one period.

    Where the newest image wins, none waits longer than one period; what remains is the way to
    the node and back.
    """
    return answer.latency_ms - answer.processing_ms - 1e3 / rate_hz


def trend(usage: Sequence[Usage], settled_s: float = SETTLED_S) -> Trend | None:
    """Least squares through the resident set, once settled; None with less than three samples.

    Samples of memory follow each other closely: the standard error is that of as many independent
    samples as their correlation leaves (first-order autoregression of the residuals).
    """
    since_s = np.array([one.wall_s - usage[0].wall_s for one in usage])
    kept = since_s >= settled_s
    hours = since_s[kept] / 3600
    mib = np.array([one.resident_mib for one in usage])[kept]
    if len(hours) < 3:
        return None
    hours = hours - hours.mean()
    spread = float(hours @ hours)
    slope = float(hours @ mib) / spread
    rest = mib - mib.mean() - slope * hours
    variance = float(rest @ rest)
    if variance == 0.0:
        return Trend(slope, 0.0)
    correlation = float(np.clip(rest[1:] @ rest[:-1] / variance, 0.0, MOST_CORRELATED))
    inflation = (1 + correlation) / (1 - correlation)
    return Trend(slope, float(np.sqrt(variance / (len(hours) - 2) / spread * inflation)))


def table(rows: Sequence[Row], title: str) -> Table:
    """One line a case; times are medians in milliseconds but where a percentile is named."""
    columns = ('image', 'Hz', 'verified', 'answered', 'dropped', 'lost', 'p50', 'p90', 'p99',
               'max', *(SHORT.get(name, name) for name in STAGES), 'rest', 'beside', 'cores',
               'MiB')  # fmt: skip
    shown = Table(*columns, title=title)
    for one in rows:
        beside = f'{one.beside_model_ms["p50"]:.1f}'
        shown.add_row(
            str(one.case),
            f'{one.case.rate_hz:g}',
            str(one.case.candidates),
            *map(str, (one.answered, one.dropped, one.lost)),
            *(f'{one.latency_ms[name]:.1f}' for name in PERCENTILES),
            *(f'{one.stages_ms[name]:.1f}' for name in STAGES),
            f'{one.unaccounted_ms["p50"]:.1f}',
            f'{beside} *' if one.beside_model_ms['p50'] <= GOAL_MS else beside,
            f'{one.processor:.2f}',
            f'{one.resident_mib:.0f}',
        )
    return shown


def record(rows: Sequence[Row], machine: Mapping[str, object], model: str) -> dict[str, object]:
    """Everything, for JSON."""
    return {
        'format': 'vpr_ros node latency 1',
        'machine': dict(machine),
        'model': model,
        'goal_beside_model_ms': GOAL_MS,
        'rows': [asdict(one) for one in rows],
    }


def draw_memory(usage: Sequence[Usage], title: str) -> bytes:
    """Resident set over time, with its trend, as PNG."""
    start = usage[0].wall_s
    minutes = [(one.wall_s - start) / 60 for one in usage]
    with rc_context(style(LIGHT)):
        figure, axes = new_figure(8.0, 3.6)
        axes.plot(minutes, [one.resident_mib for one in usage], color=LIGHT.accent, linewidth=1.8)
        axes.axvline(SETTLED_S / 60, color=LIGHT.faint, linewidth=1.0, linestyle=(0, (5, 3)))
        axes.set(xlabel='minutes', ylabel='resident set, MiB', ylim=(0, None))
        axes.set_title(title, fontsize=10)
        file = io.BytesIO()
        figure.savefig(file, format='png')
    return file.getvalue()
