"""What closing loops is worth: trajectory error before and after, and with false closures put in.

Two drives through a synthetic town with look-alike blocks, three kilometres in all, each with
drifting odometry of its own; and the EuRoC keyframes with odometry made to drift. Closures are
found by the front door at its default settings (EuRoC: without agreement over time). Some are
then replaced by wrong pairs, which state the relative pose and covariance of the right ones; their
probability is computed anew.

    python -m benchmarks.loop_closing WORK -o loop_closing.json --plot docs/images/loop_closing.png

WORK keeps the rendered drives, the maps and the closures found; what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.loop_closing_cases import (
    EUROC,
    Case,
    euroc_setting,
    euroc_shots,
    open_case,
    town_setting,
    town_shots,
)
from benchmarks.loop_closing_plot import draw
from vpr_ros.cli.console import console, progress
from vpr_ros.config.graph import GraphConfig
from vpr_ros.evaluation.trajectory_error import trajectory_error
from vpr_ros.maps.closures import FoundClosure, believable, read_closures, write_closures
from vpr_ros.maps.optimize import close_loops
from vpr_ros.maps.pose_graph import Node
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.recognition.calibration import calibrator_for
from vpr_ros.recognition.closing import find_closures
from vpr_ros.recognition.geometry.verification import QueryView, Verifier
from vpr_ros.recognition.neighbourhood import PlaceArrays
from vpr_ros.recognition.signals import measure
from vpr_ros.recognition.thumbnails import decode_thumbnail
from vpr_ros.records import Candidate, PoseKind
from vpr_ros.synthetic.drift import false_pairs
from vpr_ros.threads import share_the_processor

SHARES = (0.0, 0.01, 0.05, 0.2)
SEEDS = (0, 1, 2)
RATE = 0.01  # of false closures that the probability shall promise
FALLBACK = 0.5  # where the calibrator cannot promise that
METHODS: dict[str, tuple[str, bool]] = {
    'all believed': ('none', False),
    'probability': ('none', True),
    'robust': ('cauchy', False),
    'both': ('cauchy', True),
}


class Judge:
    """The probability of any pair of places, had the search come up with it."""

    def __init__(self, case: Case, model: PlaceModel) -> None:
        config = case.setting.config
        self._map, self._model = case.place_map, model
        self._verifier = Verifier(config.verification, case.place_map)
        self._arrays = PlaceArrays(case.place_map.places)
        self._neighbourhood_m = config.decision.neighbourhood_m
        calibrator = calibrator_for(model, case.place_map, verified=True)
        assert calibrator is not None, 'the weights have no calibrator'
        self._calibrator = calibrator
        self._descriptors = case.place_map.descriptors()
        threshold = calibrator.threshold_for(RATE)
        self.least = FALLBACK if math.isinf(threshold) else threshold

    def probability(self, newer: int, older: int) -> float:
        """That the places in these two rows are the same, seen alone."""
        place = self._map.places[newer]
        similarities = self._map.similarities(self._descriptors[newer], before=newer)
        local, _ = self._map.local_features([place.id])
        view = QueryView(
            decode_thumbnail(self._map.thumbnail(place.id) or b''), local,
            input_size=self._model.input.size, camera=self._map.camera(place.camera),
        )  # fmt: skip
        asked = Candidate(self._map.places[older], float(similarities[older]))
        ((found),) = self._verifier.verify(view, [asked])
        signals = measure(similarities, older, self._arrays, self._neighbourhood_m)
        geometry = found.verification
        if geometry is not None:
            signals = replace(
                signals, inliers=float(geometry.inliers), inlier_ratio=geometry.ratio
            )
        return self._calibrator.probability(replace(signals, agreement=1.0))


class Trial:
    """Closures of a case with some replaced by wrong ones, and what each method makes of them."""

    def __init__(
        self, case: Case, found: Sequence[FoundClosure], judge: Judge, share: float, seed: int
    ) -> None:
        ours = ends(case, found)
        least = 1.0 / len(found) if share else 0.0  # of few closures one at least
        pairs, self.injected = false_pairs(
            ours, case.positions_m, max(share, least), seed, case.setting.away_m
        )
        gaps = case.positions_m[pairs[:, 0]] - case.positions_m[pairs[:, 1]]
        self.false = np.linalg.norm(gaps, axis=1) > case.setting.false_m
        self.case, self.places = case, case.odometry(seed)
        self.closures = list(found)
        for number in np.flatnonzero(self.injected):
            newer, older = pairs[number].tolist()
            self.closures[number] = replace(
                found[number],
                to_place=case.place_map.places[older].id,
                probability=judge.probability(newer, older),
            )

    def run(self, robust: str, least: float) -> dict[str, float]:
        """Trajectory error, false closures believed and right ones lost."""
        start = time.perf_counter()
        closed = close_loops(
            self.places, believable(self.closures, least), GraphConfig(robust=robust)
        )
        spent_s = time.perf_counter() - start
        pairs = zip(closed.map_graph.closures, closed.kept, strict=True)
        kept = {id(closure) for closure, keep in pairs if keep}
        believed = np.array([id(closure) in kept for closure in self.closures])
        return {
            'ate_m': errors(self.case, closed.nodes)['together'],
            'false_believed': float((believed & self.false).sum()),
            'right_lost': float((~believed & ~self.false).sum()),
            'seconds': spent_s,
        }


def ends(case: Case, found: Sequence[FoundClosure]) -> np.ndarray:
    """Rows (C, 2) of the newer and the older place of each closure."""
    by_stamp = {place.stamp_ns: row for row, place in enumerate(case.place_map.places)}
    by_id = {place.id: row for row, place in enumerate(case.place_map.places)}
    return np.array([(by_stamp[x.from_stamp_ns], by_id[x.to_place]) for x in found])


def errors(case: Case, nodes: Sequence[Node]) -> dict[str, float]:
    """Trajectory error of all sessions in one frame, and of each by itself."""
    truth, sessions = case.true_path(), case.sessions
    by_stamp = {place.stamp_ns: place.session_id for place in case.place_map.places}
    figures = {'together': trajectory_error(nodes, truth).rmse_m}
    for session in np.unique(sessions).tolist():
        own = [node for node in nodes if by_stamp[node.stamp_ns] == session]
        figures[f'session {session}'] = trajectory_error(own, truth).rmse_m
    return figures


def closures_of(case: Case, work: Path, model: PlaceModel) -> list[FoundClosure]:
    path = work / f'{case.name}_closures.jsonl'
    if not path.exists():
        start = time.perf_counter()
        with progress(f'looking for closures of {case.name}') as report:
            found = find_closures(case.place_map, model, case.setting.config, report)
            write_closures(path, found)
        spent_ms = 1e3 * (time.perf_counter() - start) / len(case.place_map)
        console.print(f'{case.name}: {spent_ms:.0f} ms a place')
    return read_closures(path)


def measured(case: Case, work: Path, model: PlaceModel) -> dict[str, Any]:
    """All figures of one case."""
    found, judge = closures_of(case, work, model), Judge(case, model)
    before, after = [], []
    for seed in SEEDS:
        closed = close_loops(case.odometry(seed), found)
        before.append(errors(case, closed.map_graph.graph.nodes))
        after.append(errors(case, closed.nodes))
    rows = ends(case, found)
    steps = np.linalg.norm(np.diff(case.positions_m, axis=0), axis=1)
    return {
        'places': len(case.truth),
        'length_m': float(steps[np.diff(case.sessions) == 0].sum()),
        'closures': len(found),
        'kinds': {kind.name: sum(x.kind is kind for x in found) for kind in PoseKind},
        'between_sessions': int((np.diff(case.sessions[rows], axis=1) != 0).sum()),
        'false_found': int(Trial(case, found, judge, 0.0, 0).false.sum()),
        'found_probability': quantiles([x.probability for x in found]),
        'least_probability': judge.least,
        'before_m': mean_of(before),
        'after_m': mean_of(after),
        'trials': {f'{share:g}': trials(case, found, judge, share) for share in SHARES},
        'paths': paths(case, found),
    }


def trials(
    case: Case, found: Sequence[FoundClosure], judge: Judge, share: float
) -> dict[str, Any]:
    """What each method leaves of this share of false closures, over all seeds."""
    some = [Trial(case, found, judge, share, seed) for seed in SEEDS]
    figures: dict[str, Any] = {
        name: mean_of([one.run(robust, judge.least if gated else 0.0) for one in some])
        for name, (robust, gated) in METHODS.items()
    }
    injected = [
        closure.probability
        for one in some
        for closure, put_in in zip(one.closures, one.injected, strict=True)
        if put_in
    ]
    return {
        **figures,
        'injected': len(injected) / len(SEEDS),
        'probability_of': quantiles(injected),
    }


def paths(case: Case, found: Sequence[FoundClosure]) -> dict[str, Any]:
    """Positions for the plot: each session's odometry by itself, and all together after."""
    closed = close_loops(case.odometry(SEEDS[0]), found)
    truth, after = case.true_path(), trajectory_error(closed.nodes, case.true_path())
    before = []
    for session in np.unique(case.sessions):
        nodes = closed.map_graph.graph.nodes
        own = [nodes[row] for row in np.flatnonzero(case.sessions == session)]
        before.append(trajectory_error(own, truth).positions_m[:, :2].round(3).tolist())
    return {
        'truth': after.truth_m[:, :2].round(3).tolist(),
        'after': after.positions_m[:, :2].round(3).tolist(),
        'before': before,
    }


def mean_of(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([one[key] for one in figures])) for key in figures[0]}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    if not len(values):
        return {}
    names = {'least': 0.0, 'median': 0.5, 'p90': 0.9, 'most': 1.0}
    return {name: float(np.nanquantile(values, share)) for name, share in names.items()}


def show(results: dict[str, dict[str, Any]]) -> None:
    table = Table('case', 'false put in', *METHODS, title='absolute trajectory error, m')
    for name, figures in results.items():
        before = figures['before_m']
        alone = ', '.join(f'{before[key]:.2f}' for key in before if key != 'together')
        table.add_row(name, 'odometry, each session by itself', alone)
        for share, row in figures['trials'].items():
            cells = [
                f'{row[m]["ate_m"]:.2f} ({row[m]["false_believed"]:.0f} false believed, '
                f'{row[m]["right_lost"]:.0f} right lost)'
                for m in METHODS
            ]
            table.add_row('', f'{float(share):.0%}: {row["injected"]:.0f}', *cells)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('work', type=Path)
    parser.add_argument('-o', '--output', type=Path, required=True)
    parser.add_argument('--plot', type=Path)
    parser.add_argument('--euroc', type=Path, default=EUROC)
    arguments = parser.parse_args()
    share_the_processor()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    model = build_model('sage_nano', 'cpu', '', 'auto')
    cases = [
        ('town', town_setting(), partial(town_shots, work)),
        ('euroc', euroc_setting(arguments.euroc), partial(euroc_shots, arguments.euroc)),
    ]
    results = {}
    for name, setting, shots in cases:
        case = open_case(name, work, model, setting, shots)
        with case.place_map:
            results[name] = measured(case, work, model)
    arguments.output.write_text(json.dumps(results, indent=1), encoding='utf-8')
    show(results)
    if arguments.plot:
        draw(results, arguments.plot)


if __name__ == '__main__':
    main()
