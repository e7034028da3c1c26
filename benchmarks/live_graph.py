"""Time and memory per keyframe of live loop closing, over a drive that closes loops all the time.

    python benchmarks/live_graph.py [--keyframes N] [--max M] [--out docs/images/live_graph.png]

A figure of eight is driven again and again, a keyframe each metre; its odometry drifts, in heading
with a bias, too. From the second lap on every 25th keyframe brings a closure, 1 % of them false.
Errors are of positions in the frame of the start, not aligned.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.evaluation.theme import LIGHT, style
from vpr_ros.maps.pose_graph import optimize
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.closures import Closure
from vpr_ros.nodes.sockets.corrected_path import as_poses, rows
from vpr_ros.nodes.sockets.following import Drive
from vpr_ros.records import Pose, PoseKind

LAP_M = 1500
EVERY = 25  # keyframes from one closure to the next
FALSE = 0.01
SIGMA_M, SIGMA_RAD = 0.2, 0.02  # of a closure, as stated and as it is
NOISE_M, NOISE_RAD, BIAS_RAD = 0.03, 0.005, 2e-5  # of odometry, a metre
PERCENTILES = {'p50': 50, 'p99': 99, 'max': 100}


@dataclass
class Measured:
    """One drive: milliseconds of every keyframe, with the closure that came with it."""

    add_ms: np.ndarray  # (n,)
    close_ms: np.ndarray  # (n,); 0 where no closure came
    memory_mib: np.ndarray  # (n,), resident set
    kept: np.ndarray  # (n,) keyframes in the graph
    truth: np.ndarray  # (n, 3)
    before: np.ndarray  # (n, 3)
    after: np.ndarray  # (n, 3)
    true_accepted: int
    true_given: int
    false_accepted: int
    false_given: int


def drive(keyframes: int) -> list[Pose]:
    """A figure of eight, a pose each metre or so."""
    phase = 2 * np.pi * np.arange(keyframes) / LAP_M
    size = LAP_M / 6.1
    x, y = size * np.sin(phase), size * np.sin(phase) * np.cos(phase)
    heading = np.arctan2(np.cos(2 * phase), np.cos(phase))
    quaternions = Rotation.from_euler('z', heading[:, None]).as_quat()
    table = np.concatenate((np.stack((x, y, 0 * x), axis=1), quaternions), axis=1)
    return as_poses(table)


def noisy(rng: np.random.Generator, sigma_m: float, sigma_rad: float, bias_rad: float) -> Pose:
    shift = rng.normal(0.0, sigma_m, 3) * [1.0, 1.0, 0.1]
    turn = rng.normal(0.0, sigma_rad, 3) * [0.1, 0.1, 1.0] + [0.0, 0.0, bias_rad]
    return Pose(tuple(shift), tuple(Rotation.from_rotvec(turn).as_quat()))


def closure(rng: np.random.Generator, truth: list[Pose], row: int, false: bool) -> Closure:
    older = row - LAP_M * int(rng.integers(1, row // LAP_M + 1))
    claimed = int(rng.integers(0, row - LAP_M // 2)) if false else older
    measured = truth[row].inverse() @ truth[older] @ noisy(rng, SIGMA_M, SIGMA_RAD, 0.0)
    covariance = np.diag([SIGMA_M**2] * 3 + [SIGMA_RAD**2] * 3)
    stamps = (row + 1) * NS, (claimed + 1) * NS
    return Closure(row, *stamps, PoseKind.METRIC, measured, covariance)


def measure(keyframes: int, most: int, seed: int) -> Measured:
    rng = np.random.default_rng(seed)
    truth = drive(keyframes)
    config = LoopClosingConfig(max_keyframes=most)
    live = Drive(config)
    graph = live.graph
    odometry, here = [], truth[0]
    figures = np.zeros((4, keyframes))
    given: dict[int, bool] = {}
    verdicts: dict[int, bool] = {}
    for row in range(keyframes):
        if row:
            step = truth[row - 1].inverse() @ truth[row]
            here = here @ step @ noisy(rng, NOISE_M, NOISE_RAD, BIAS_RAD)
        odometry.append(here)
        live.track.put((row + 1) * NS, here)
        began = time.perf_counter()
        graph.add((row + 1) * NS, here)
        figures[0, row] = 1e3 * (time.perf_counter() - began)
        if row > LAP_M and row % EVERY == 0:
            false = given[row] = bool(rng.random() < FALSE)
            told = closure(rng, truth, row, false)
            began = time.perf_counter()
            answers = live.close(told)
            figures[1, row] = 1e3 * (time.perf_counter() - began)
            question, live.closures.question = live.closures.question, None
            if question is not None:  # the node has another process for it
                answers += live.adopt(question, optimize(question.graph, config.graph))
            verdicts |= {x.closure_id: x.accepted for x in answers}
        figures[2:, row] = resident_mib(), len(graph)
    stamps, corrected = graph.path()
    at = np.arange(1, keyframes + 1)
    after = np.stack([np.interp(at, stamps / NS, values) for values in corrected.T[:3]]).T
    return Measured(
        *figures, rows(truth)[:, :3], rows(odometry)[:, :3], after,
        *(sum(verdicts[k] for k in given if given[k] is kind) if accepted
          else sum(x is kind for x in given.values())
          for kind in (False, True) for accepted in (True, False)),
    )  # fmt: skip


def resident_mib() -> float:
    pages = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def rmse(estimate: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(((estimate - truth) ** 2).sum(axis=1).mean()))


def table(x: Measured) -> Table:
    shown = Table('', *PERCENTILES, title=f'{len(x.kept)} keyframes, ms')
    whole = x.add_ms + x.close_ms
    for name, values in (
        ('keyframe', x.add_ms),
        ('closure', x.close_ms[x.close_ms > 0]),
        ('keyframe and what came with it', whole),
        ('the same, last tenth of the drive', whole[-len(whole) // 10 :]),
    ):
        shown.add_row(name, *(f'{np.percentile(values, p):.1f}' for p in PERCENTILES.values()))
    return shown


def sentences(x: Measured) -> list[str]:
    tenth = len(x.kept) // 10
    return [
        f'memory: {x.memory_mib[tenth]:.0f} MiB after a tenth, {x.memory_mib[-1]:.0f} at the end',
        f'true closures accepted: {x.true_accepted} of {x.true_given}',
        f'false closures accepted: {x.false_accepted} of {x.false_given}',
        f'error of position: {rmse(x.before, x.truth):.2f} m by odometry, '
        f'{rmse(x.after, x.truth):.2f} m corrected',
    ]


def plot(x: Measured, path: Path) -> None:
    with rc_context(style(LIGHT)):
        figure = Figure(figsize=(12.0, 4.2), dpi=150, layout='constrained')
        times, memory, way = figure.subplots(1, 3)
        rows_ = np.arange(len(x.kept))
        closing = x.close_ms > 0
        times.semilogy(rows_, x.add_ms, '.', ms=1, color=LIGHT.accent, label='keyframe')
        times.semilogy(
            rows_[closing], x.close_ms[closing], '.', ms=3, color=LIGHT.wrong, label='closure'
        )
        times.set(xlabel='keyframe', ylabel='ms', title='time')
        times.legend(loc='upper left', markerscale=4)
        memory.plot(rows_, x.memory_mib, color=LIGHT.accent)
        memory.set(xlabel='keyframe', ylabel='MiB, resident', title='memory', ylim=(0, None))
        ways = (('odometry', x.before, LIGHT.missed), ('truth', x.truth, LIGHT.ink))
        for name, xyz, colour in (*ways, ('corrected', x.after, LIGHT.right)):
            way.plot(*xyz.T[:2], lw=0.8, color=colour, label=name)
        way.set(xlabel='m', title='way', aspect='equal')
        way.legend(loc='upper left')
        figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--keyframes', type=int, default=10_000)
    parser.add_argument('--max', type=int, default=LoopClosingConfig().max_keyframes)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='plot, .png or .svg')
    arguments = parser.parse_args()
    measured = measure(arguments.keyframes, arguments.max, arguments.seed)
    console = Console()
    console.print(table(measured))
    for sentence in sentences(measured):
        console.print(sentence, highlight=False)
    if arguments.out:
        plot(measured, arguments.out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
