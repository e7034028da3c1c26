"""Closures taken as they come beside the same closures optimised at once, on look-alike streets.

The drives, maps and closures of `benchmarks.loop_closing` in WORK, made where they lack; here
the first session is a drive, as the node `loop_closing` sees it, with the closures of the drive
with itself. Some are replaced by wrong pairs as there. Both sides take the same closures,
without their probabilities. Odometry's own error is the mark that neither may exceed.

    python -m benchmarks.loop_closing_live WORK -o live.json

Times are of the processor, in this process; what is judged together is solved here, too, and told
apart (the node has a process for it).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loop_closing import SHARES, closures_of, ends, mean_of
from benchmarks.loop_closing_cases import (
    EUROC,
    Case,
    euroc_setting,
    euroc_shots,
    open_case,
    town_setting,
    town_shots,
)
from vpr_ros.cli.console import console
from vpr_ros.config.graph import GraphConfig
from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.evaluation.trajectory_error import trajectory_error
from vpr_ros.maps.closures import FoundClosure
from vpr_ros.maps.optimize import close_loops
from vpr_ros.maps.pose_graph import Node, optimize
from vpr_ros.models import build_model
from vpr_ros.nodes.sockets.closures import Closure
from vpr_ros.nodes.sockets.corrected_path import as_poses
from vpr_ros.nodes.sockets.following import Drive
from vpr_ros.records import Place
from vpr_ros.synthetic.drift import false_pairs

LOOKED_AT = 200  # keyframes from one look at the error to the next
PERCENTILES = {'p50': 50, 'p99': 99, 'max': 100}


@dataclass
class Ride:
    """One drive, and closures of it by the row of their newer end; some may be false."""

    case: Case
    places: list[Place]
    positions_m: np.ndarray  # true ones, (N, 3)
    closures: dict[int, tuple[FoundClosure, int]]  # with the row of their older end
    false: set[int]

    def error_m(self, nodes: Sequence[Node]) -> float:
        return trajectory_error(nodes, self.case.true_path()).rmse_m


@dataclass
class Live:
    """The graph of a ride, and what became of its closures."""

    config: GraphConfig
    drive: Drive = field(init=False)
    taken: dict[int, bool] = field(default_factory=dict)  # by the row of the newer end
    most_false: int = 0
    judged_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.drive = Drive(LoopClosingConfig(graph=self.config))

    def close(self, ride: Ride, row: int) -> float:
        """Hand a closure over; returns the seconds that went into judging all together."""
        found, older = ride.closures[row]
        told = Closure(
            row, found.from_stamp_ns, ride.places[older].stamp_ns, found.kind, found.pose,
            found.covariance,
        )  # fmt: skip
        answers, spent_s = self.drive.close(told), 0.0
        question, self.drive.closures.question = self.drive.closures.question, None
        if question is not None:
            began = time.process_time()
            judged = optimize(question.graph, self.config)
            spent_s = time.process_time() - began
            self.judged_s.append(spent_s)
            answers += self.drive.adopt(question, judged)
        self.taken |= {x.closure_id: x.accepted for x in answers}
        self.most_false = max(self.most_false, self.false_in(ride))
        return spent_s

    def false_in(self, ride: Ride) -> int:
        return sum(self.taken[row] for row in self.taken if row in ride.false)

    def nodes(self) -> list[Node]:
        stamps, poses = self.drive.graph.path()
        return [Node(*x) for x in zip(stamps.tolist(), as_poses(poses), strict=True)]


def ride_of(case: Case, found: Sequence[FoundClosure], share: float, seed: int) -> Ride:
    """The first session and its closures with itself, a share of them replaced by wrong ones."""
    own = np.flatnonzero(case.sessions == case.sessions[0])
    rows = ends(case, found)
    mine = np.flatnonzero(np.isin(rows, own).all(axis=1))
    pairs, positions = rows[mine] - own[0], case.positions_m[own]
    least = 1.0 / max(1, len(pairs)) if share else 0.0  # of few closures one at least
    pairs, _ = false_pairs(pairs, positions, max(share, least), seed, case.setting.away_m)
    gaps = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    places = case.odometry(seed)
    return Ride(
        case, [places[row] for row in own], positions,
        {int(a): (found[k], int(b)) for k, (a, b) in zip(mine, pairs, strict=True)},
        set(pairs[gaps > case.setting.false_m, 0].tolist()),
    )  # fmt: skip


def live_figures(ride: Ride, config: GraphConfig) -> dict[str, float]:
    live, spent, worse_m = Live(config), np.zeros(len(ride.places)), 0.0
    for row, place in enumerate(ride.places):
        assert place.pose is not None
        live.drive.track.put(place.stamp_ns, place.pose)
        began = time.process_time()
        live.drive.graph.add(place.stamp_ns, place.pose)
        judging_s = live.close(ride, row) if row in ride.closures else 0.0
        spent[row] = time.process_time() - began - judging_s
        if row % LOOKED_AT == LOOKED_AT - 1 or row == len(spent) - 1:
            by_odometry = ride.error_m(nodes_of(ride.places[: row + 1]))
            worse_m = max(worse_m, ride.error_m(live.nodes()) - by_odometry)
    false = live.false_in(ride)
    return {
        'ate_m': ride.error_m(live.nodes()),
        'worst_over_odometry_m': worse_m,
        'false': false,
        'most_false': live.most_false,
        'right': sum(live.taken.values()) - false,
        'judged': len(live.judged_s),
        'judging_s': max(live.judged_s, default=0.0),
        **{name: 1e3 * float(np.percentile(spent, q)) for name, q in PERCENTILES.items()},
    }


def batch_figures(ride: Ride, config: GraphConfig) -> dict[str, float]:
    stated = [
        FoundClosure(x.from_stamp_ns, None, ride.places[older].id, x.kind, x.pose, x.covariance)
        for x, older in ride.closures.values()
    ]
    began = time.process_time()
    closed = close_loops(ride.places, stated, config)
    spent_s = time.process_time() - began
    by_stamp = {x.from_stamp_ns: row for row, (x, _) in ride.closures.items()}
    pairs = zip(closed.map_graph.closures, closed.kept, strict=True)
    kept = [by_stamp[x.from_stamp_ns] for x, keep in pairs if keep]
    false = sum(row in ride.false for row in kept)
    return {
        'ate_m': ride.error_m(closed.nodes), 'false': false, 'right': len(kept) - false,
        'seconds': spent_s,
    }  # fmt: skip


def nodes_of(places: Sequence[Place]) -> list[Node]:
    return [Node(place.stamp_ns, place.pose) for place in places if place.pose is not None]


def measured(
    case: Case, found: Sequence[FoundClosure], arguments: argparse.Namespace, config: GraphConfig
) -> dict[str, Any]:
    """By the share of false closures: means over the seeds of the drift, and each by itself."""
    results: dict[str, Any] = {}
    for share in arguments.shares:
        rides = [ride_of(case, found, share, seed) for seed in range(arguments.seeds)]
        live = [live_figures(ride, config) for ride in rides]
        batch = [batch_figures(ride, config) for ride in rides]
        odometry = [ride.error_m(nodes_of(ride.places)) for ride in rides]
        results[f'{share:g}'] = {
            'closures': len(rides[0].closures),
            'false': float(np.mean([len(ride.false) for ride in rides])),
            'odometry_m': float(np.mean(odometry)),
            'each_odometry_m': odometry,
            'live': mean_of(live), 'batch': mean_of(batch),
            'slowest_ms': max(x['max'] for x in live),
            'each_live_m': [x['ate_m'] for x in live],
            'each_batch_m': [x['ate_m'] for x in batch],
        }  # fmt: skip
        tell(f'{case.name}, {share:.0%} put in', results[f'{share:g}'])
    return results


def tell(name: str, row: dict[str, Any]) -> None:
    live, batch = row['live'], row['batch']
    each = ', '.join(
        f'{a:.2f} -> {b:.2f} ({c:.2f})'
        for a, b, c in zip(
            row['each_odometry_m'], row['each_live_m'], row['each_batch_m'], strict=True
        )
    )
    for line in (
        f'{name}: {row["false"]:.0f} of {row["closures"]} closures false; odometry '
        f'{row["odometry_m"]:.2f} m, live {live["ate_m"]:.2f} m, at once {batch["ate_m"]:.2f} m',
        f'    each drift, odometry -> live (at once): {each} m; live worse than odometry by '
        f'{live["worst_over_odometry_m"]:.2f} m at most, on the way',
        f'    false taken: live {live["false"]:.1f} in the end, {live["most_false"]:.1f} ever, at '
        f'once {batch["false"]:.1f}; right taken: {live["right"]:.0f}, at once '
        f'{batch["right"]:.0f}',
        f'    a keyframe, p50, p99, max: {live["p50"]:.1f}, {live["p99"]:.0f}, '
        f'{row["slowest_ms"]:.0f} ms; all judged together {live["judged"]:.1f} times, '
        f'{live["judging_s"]:.1f} s at most; at once {batch["seconds"]:.1f} s',
    ):
        console.print(line, highlight=False, soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('work', type=Path)
    parser.add_argument('-o', '--output', type=Path, required=True)
    parser.add_argument('--euroc', type=Path, default=EUROC)
    parser.add_argument('--seeds', type=int, default=3, help='of the drift of odometry')
    parser.add_argument('--shares', type=float, nargs='+', default=SHARES, help='of false ones')
    parser.add_argument('--cases', nargs='+', default=['town', 'euroc'])
    parser.add_argument('--odds', type=float, default=GraphConfig().look_alike_odds)
    parser.add_argument('--heading', type=float, default=GraphConfig().rotation_noise_rad)
    arguments = parser.parse_args()
    config = GraphConfig(look_alike_odds=arguments.odds, rotation_noise_rad=arguments.heading)
    work, model = arguments.work, build_model('sage_nano', 'cpu', '', 'auto')
    cases = (
        ('town', town_setting(), lambda: town_shots(work)),
        ('euroc', euroc_setting(arguments.euroc), lambda: euroc_shots(arguments.euroc)),
    )
    results = {}
    for name, setting, shots in cases:
        if name not in arguments.cases:
            continue
        case = open_case(name, work, model, setting, shots)
        with case.place_map:
            found = closures_of(case, work, model)
            results[name] = measured(case, found, arguments, config)
    arguments.output.write_text(json.dumps(results, indent=1), encoding='utf-8')


if __name__ == '__main__':
    main()
