"""What closing loops is worth: trajectory error before and after, and with false closures put in.

Two drives through a synthetic town with look-alike blocks, three kilometres in all and each with
drifting odometry of its own; and the EuRoC keyframes with odometry made to drift. Closures are
found by the front door at its default settings. Some are then replaced by wrong pairs that state
the same relative pose with the same covariance.

    python -m benchmarks.loop_closing WORK -o loop_closing.json --plot docs/images/loop_closing.png

WORK keeps the rendered drives, the maps and the closures found; what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from rich.table import Table

from benchmarks.loop_closing_plot import draw
from vpr_ros.bags.reader import open_bag
from vpr_ros.bags.trajectory import Trajectory
from vpr_ros.cli.console import console, progress
from vpr_ros.config import KeyframeConfig, RecognizerConfig
from vpr_ros.config.graph import GraphConfig
from vpr_ros.evaluation.trajectory_error import trajectory_error
from vpr_ros.maps.closures import FoundClosure, believable, read_closures, write_closures
from vpr_ros.maps.optimize import close_loops
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.maps.pose_graph import Node
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.recognition.closing import Replay, find_closures
from vpr_ros.recognition.drive import Drive, DriveOptions
from vpr_ros.recognition.thumbnails import encode_thumbnail
from vpr_ros.records import Camera, Place, Pose, PoseKind
from vpr_ros.synthetic.bag import write_bag
from vpr_ros.synthetic.drift import Wander, drifted, false_pairs
from vpr_ros.synthetic.drives import START_NS, plan_drive
from vpr_ros.synthetic.lights import LIGHTS, Session
from vpr_ros.synthetic.routes import streets_alike, walk
from vpr_ros.synthetic.town import Town
from vpr_ros.threads import share_the_processor

DAY_NS = 86_400_000_000_000
TOWN_SEED, TOWN_BLOCKS, LENGTH_M, RATE_HZ = 7, (4, 4), 1500.0, 6.5
SHARES = (0.0, 0.01, 0.05, 0.2)
SEEDS = (0, 1, 2)
FALSE_M = 10.0  # a closure between places further apart in truth is false
HANDHELD = Wander(0.03, 0.01, 0.03, 3e-3, 20.0, 1.0)  # of a drone in a room
EUROC = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'euroc_v101_keyframes'
AHEAD = Pose((0.0, 0.0, 1.4), (-0.5, 0.5, -0.5, 0.5))  # the town's camera in its base
METHODS: dict[str, tuple[str, bool]] = {
    'all believed': ('none', False),
    'probability': ('none', True),
    'robust': ('cauchy', False),
    'both': ('cauchy', True),
}


@dataclass(frozen=True)
class Shot:
    """One image of a drive and where it was really taken."""

    session: str
    stamp_ns: int
    image: np.ndarray
    truth: Pose


@dataclass(frozen=True)
class Case:
    """A map whose poses are odometry, the truth, and what odometry makes of it with a seed."""

    name: str
    place_map: PlaceMap
    truth: list[Pose]  # of the places
    wander: Wander

    def odometry(self, seed: int) -> list[Pose]:
        """Drifting poses of all places; later sessions begin at an origin of their own."""
        return odometry(self.truth, [p.session_id for p in self.place_map.places], self.wander, seed)


def odometry(
    truth: Sequence[Pose], sessions: Sequence[Any], wander: Wander, seed: int
) -> list[Pose]:
    found: list[Pose] = []
    for number, session in enumerate(dict.fromkeys(sessions)):
        own = [pose for pose, other in zip(truth, sessions, strict=True) if other == session]
        poses = drifted(own, wander, 100 * seed + number)
        origin = poses[0].inverse()
        found += [origin @ pose for pose in poses] if number else poses
    return found


def town_drives(work: Path) -> list[Path]:
    """Two bags; the second drive is of another time of the day."""
    paths = [work / 'first', work / 'second']
    if all(path.exists() for path in paths):
        return paths
    town, rng = Town.build(TOWN_SEED, TOWN_BLOCKS, 2), np.random.default_rng([TOWN_SEED, 9])
    first = walk(town.plan, rng, LENGTH_M + 100, list(streets_alike(town.plan)[0][0]), None, 0.8)
    sessions = (
        Session('morning', LIGHTS['morning'], seed=8, lane_offset_m=-1.6),
        Session(
            'afternoon', LIGHTS['afternoon'], seed=9, lane_offset_m=-1.1,
            heading_offset_rad=0.02, camera_height_m=1.42, exposure=1.1, car_share=0.3,
        ),
    )  # fmt: skip
    second = walk(town.plan, rng, LENGTH_M + 100, first[5:7], None, 0.8)
    for k, path in enumerate(paths):
        route = (first, second)[k]
        drive = plan_drive(
            town, sessions[k], rng, LENGTH_M, route, rate_hz=RATE_HZ, start_ns=START_NS + k * DAY_NS
        )
        with progress(f'rendering {path.name}') as report:
            write_bag(path, town, drive, 2, True, report)
    return paths


def town_shots(work: Path) -> Iterator[Shot]:
    for path in town_drives(work):
        with open_bag(path) as bag:
            options = DriveOptions('', '/ground_truth/pose', KeyframeConfig(distance_m=1.0))
            for keyframe in Drive(bag, options).keyframes():
                if keyframe.pose is not None:
                    frame = keyframe.frame
                    yield Shot(path.name, frame.stamp_ns, frame.image, keyframe.pose)


def euroc_shots(folder: Path) -> Iterator[Shot]:
    poses = np.loadtxt(folder / 'groundtruth.txt')
    stamps = [line for line in (folder / 'times.txt').read_text().split() if line.isdigit()]
    for stamp, row in zip(stamps, poses, strict=True):
        image = cv2.imread(str(folder / 'cam0' / f'{stamp}.jpg'))[:, :, ::-1]
        quaternion = row[4:] / np.linalg.norm(row[4:])
        pose = Pose(tuple(row[1:4].tolist()), tuple(quaternion.tolist()))
        yield Shot('v101', int(stamp), np.ascontiguousarray(image), pose)


def euroc_camera(folder: Path) -> Camera:
    text = '\n'.join((folder / 'calibration.yaml').read_text().splitlines())
    data = yaml.safe_load(text)
    camera, (width, height) = data['cam0'], data['resolution']
    base = Pose.from_matrix(np.array(camera['T_BS']).reshape(4, 4))
    distortion = tuple(camera['distortion_coefficients'])
    return Camera((height, width), *camera['intrinsics'], distortion, base)


def town_camera() -> Camera:
    return Camera((240, 320), 230.0, 230.0, 159.5, 119.5, (), AHEAD)


def open_case(
    name: str, work: Path, model: PlaceModel, camera: Camera, wander: Wander,
    shots: Callable[[], Iterator[Shot]],
) -> Case:  # fmt: skip
    """The map of the shots, with poses of odometry; the truth lies beside it."""
    path, beside = work / f'{name}.vprmap', work / f'{name}_truth.npy'
    if not (path.exists() and beside.exists()):
        path.unlink(missing_ok=True)
        truth = build(path, model, camera, wander, shots)
        np.save(beside, [(*pose.position_m, *pose.quaternion) for pose in truth])
    truth = [Pose(tuple(row[:3]), tuple(row[3:])) for row in np.load(beside).tolist()]
    place_map = PlaceMap.open(path, model.require_weights(), model.name, writable=True)
    place_map.move(dict(zip(
        [place.id for place in place_map.places],
        odometry(truth, [place.session_id for place in place_map.places], wander, 0),
        strict=True,
    )))  # fmt: skip
    place_map.commit()
    return Case(name, place_map, truth, wander)


def build(
    path: Path, model: PlaceModel, camera: Camera, wander: Wander,
    shots: Callable[[], Iterator[Shot]],
) -> list[Pose]:  # fmt: skip
    """A map of all shots; returns where they were really taken."""
    truth, sessions = [], {}
    with PlaceMap.create(path, model.name, model.require_weights(), model.descriptor_dim) as made:
        made.beside.put_camera('front', camera)
        way_m, last = 0.0, None
        for shot in shots():
            if shot.session not in sessions:
                sessions[shot.session] = made.add_session(shot.session)
                way_m, last = 0.0, None
            way_m += 0.0 if last is None else last.distance_m(shot.truth)
            last = shot.truth
            features = model.describe([shot.image])
            place = Place(
                0, sessions[shot.session], shot.stamp_ns, shot.truth, 'front', way_m
            )
            made.add(
                place, features.descriptor[0].cpu().numpy(), encode_thumbnail(shot.image),
                features.local,
            )  # fmt: skip
            truth.append(shot.truth)
    return truth


def closures_of(case: Case, work: Path, model: PlaceModel) -> list[FoundClosure]:
    path = work / f'{case.name}_closures.jsonl'
    if not path.exists():
        start = time.perf_counter()
        with progress(f'looking for closures of {case.name}') as report:
            found = find_closures(case.place_map, model, RecognizerConfig(), report)
        write_closures(path, found)
        spent_ms = 1e3 * (time.perf_counter() - start) / max(1, len(case.place_map))
        console.print(f'{case.name}: {spent_ms:.0f} ms a place')
    return read_closures(path)


class Trial:
    """Closures of a case with some replaced by wrong ones, and what each method makes of them."""

    def __init__(
        self, case: Case, found: Sequence[FoundClosure], replay: Replay, share: float, seed: int
    ) -> None:
        rows = {(p.stamp_ns): row for row, p in enumerate(case.place_map.places)}
        ids = {place.id: row for row, place in enumerate(case.place_map.places)}
        pairs = np.array([(rows[c.from_stamp_ns], ids[c.to_place]) for c in found])
        positions = np.array([pose.position_m for pose in case.truth])
        pairs, wrong = false_pairs(pairs, positions, share, seed)
        gaps = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        self.case, self.seed = case, seed
        self.false = wrong | (gaps > FALSE_M)
        self.injected = wrong
        self.closures = [
            replace(
                closure,
                to_place=case.place_map.places[older].id,
                probability=replay.probability(newer, older),
            )
            if put_in
            else closure
            for closure, (newer, older), put_in in zip(found, pairs.tolist(), wrong, strict=True)
        ]
        own = [row for row, place in enumerate(case.place_map.places)]
        self.rows = own

    def run(self, robust: str, least: float) -> dict[str, float]:
        """Trajectory error, wrong closures believed and right ones lost."""
        places = [
            replace(place, pose=pose)
            for place, pose in zip(
                self.case.place_map.places, self.case.odometry(self.seed), strict=True
            )
        ]
        start = time.perf_counter()
        taken = believable(self.closures, least)
        closed = close_loops(places, taken, GraphConfig(robust=robust))
        spent_s = time.perf_counter() - start
        kept = {id(c) for c, keep in zip(closed.map_graph.closures, closed.kept, strict=True) if keep}
        believed = np.array([id(closure) in kept for closure in self.closures])
        return {
            'ate_m': errors(self.case, closed.nodes)['all'],
            'false_believed': int((believed & self.false).sum()),
            'right_lost': int((~believed & ~self.false).sum()),
            'seconds': spent_s,
        }


def errors(case: Case, nodes: Sequence[Node]) -> dict[str, float]:
    """Trajectory error of all sessions in one frame, and of each by itself."""
    stamps = np.array([place.stamp_ns for place in case.place_map.places])
    truth = Trajectory.from_samples(
        stamps, [pose.position_m for pose in case.truth], [pose.quaternion for pose in case.truth]
    )
    sessions = {place.stamp_ns: place.session_id for place in case.place_map.places}
    figures = {'all': trajectory_error(nodes, truth).rmse_m}
    for session in sorted(set(sessions.values())):
        own = [node for node in nodes if sessions[node.stamp_ns] == session]
        figures[f'session {session}'] = trajectory_error(own, truth).rmse_m
    return figures


def measure(case: Case, work: Path, model: PlaceModel) -> dict[str, Any]:
    """Everything about one case."""
    found = closures_of(case, work, model)
    replay = Replay(model, case.place_map, RecognizerConfig())
    least = replay.promised(0.01)
    before, after = [], []
    for seed in SEEDS:
        places = [
            replace(place, pose=pose)
            for place, pose in zip(case.place_map.places, case.odometry(seed), strict=True)
        ]
        closed = close_loops(places, found)
        before.append(errors(case, closed.map_graph.graph.nodes))
        after.append(errors(case, closed.nodes))
        if seed == SEEDS[0]:
            shown = closed
    trials, probabilities = {}, []
    for share in SHARES:
        some = [Trial(case, found, replay, share, seed) for seed in SEEDS]
        trials[f'{share:g}'] = {
            method: mean_of([one.run(robust, least if gated else 0.0) for one in some])
            for method, (robust, gated) in METHODS.items()
        }
        trials[f'{share:g}']['injected'] = float(np.mean([one.injected.sum() for one in some]))
        probabilities += [
            closure.probability
            for one in some
            for closure, put_in in zip(one.closures, one.injected, strict=True)
            if put_in
        ]
    honest = Trial(case, found, replay, 0.0, 0)
    lengths = np.linalg.norm(np.diff([p.position_m for p in case.truth], axis=0), axis=1)
    sessions = np.array([place.session_id for place in case.place_map.places])
    return {
        'places': len(case.place_map),
        'length_m': float(lengths[sessions[1:] == sessions[:-1]].sum()),
        'closures': len(found),
        'kinds': {kind.name: sum(c.kind is kind for c in found) for kind in PoseKind},
        'between_sessions': int(sum(
            sessions[row_of(case, c.to_place)] != sessions[row_at(case, c.from_stamp_ns)]
            for c in found
        )),
        'false_found': int(honest.false.sum()),
        'least_probability': least,
        'before_m': mean_of(before),
        'after_m': mean_of(after),
        'trials': trials,
        'injected_probability': quantiles(probabilities),
        'found_probability': quantiles([c.probability for c in found]),
        'paths': paths_of(case, shown),
    }  # fmt: skip


def row_of(case: Case, place_id: int) -> int:
    return next(row for row, p in enumerate(case.place_map.places) if p.id == place_id)


def row_at(case: Case, stamp_ns: int) -> int:
    return next(row for row, p in enumerate(case.place_map.places) if p.stamp_ns == stamp_ns)
