"""Drives of `benchmarks.loop_closing`: maps whose poses are drifting odometry, and the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import yaml

from vpr_ros.bags.reader import open_bag
from vpr_ros.bags.trajectory import Trajectory
from vpr_ros.cli.console import progress
from vpr_ros.config import DecisionConfig, KeyframeConfig, RecognizerConfig
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.recognition.drive import Drive, DriveOptions
from vpr_ros.recognition.thumbnails import encode_thumbnail
from vpr_ros.records import Camera, Place, Pose
from vpr_ros.synthetic.bag import write_bag
from vpr_ros.synthetic.drift import Wander, drifted
from vpr_ros.synthetic.drives import START_NS, plan_drive
from vpr_ros.synthetic.lights import LIGHTS, Session
from vpr_ros.synthetic.routes import streets_alike, walk
from vpr_ros.synthetic.town import Town

DAY_NS = 86_400_000_000_000
TOWN_SEED, TOWN_BLOCKS, LENGTH_M, RATE_HZ = 7, (4, 4), 1500.0, 6.5
EUROC = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'euroc_v101_keyframes'
AHEAD = Pose((0.0, 0.0, 1.4), (-0.5, 0.5, -0.5, 0.5))  # the town's camera in its base
TOWN_CAMERA = Camera((240, 320), 230.0, 230.0, 159.5, 119.5, (), AHEAD)
ROOM = Wander(0.03, 0.01, 0.03, 3e-3, 20.0, 1.0)  # a drone in a room: more drift on less way

Shots = Callable[[], Iterator['Shot']]


@dataclass(frozen=True)
class Shot:
    """One image of a drive and where it was really taken."""

    session: str
    stamp_ns: int
    image: np.ndarray
    truth: Pose


@dataclass(frozen=True)
class Setting:
    """What is particular about a case; a closure between places `false_m` apart is false."""

    camera: Camera
    wander: Wander
    false_m: float
    away_m: float  # least distance to a wrong place that is put in
    config: RecognizerConfig


@dataclass(frozen=True)
class Case:
    """A map whose poses are odometry, and the truth of its places."""

    name: str
    place_map: PlaceMap
    truth: list[Pose]
    setting: Setting

    @property
    def sessions(self) -> np.ndarray:
        """Of the places, (N,)."""
        return np.array([place.session_id for place in self.place_map.places])

    @property
    def positions_m(self) -> np.ndarray:
        """True ones, (N, 3)."""
        return np.array([pose.position_m for pose in self.truth])

    def true_path(self) -> Trajectory:
        stamps = [place.stamp_ns for place in self.place_map.places]
        turns = [pose.quaternion for pose in self.truth]
        return Trajectory.from_samples(stamps, self.positions_m, turns)

    def odometry(self, seed: int) -> list[Place]:
        """The places where odometry says; later sessions begin at an origin of their own."""
        places, poses = self.place_map.places, _odometry(self, seed)
        return [replace(p, pose=pose) for p, pose in zip(places, poses, strict=True)]


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
            town,
            sessions[k],
            rng,
            LENGTH_M,
            route,
            rate_hz=RATE_HZ,
            start_ns=START_NS + k * DAY_NS,
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
    data = yaml.safe_load((folder / 'calibration.yaml').read_text(encoding='utf-8'))
    camera, (width, height) = data['cam0'], data['resolution']
    base = Pose.from_matrix(np.array(camera['T_BS']).reshape(4, 4))
    distortion = tuple(camera['distortion_coefficients'])
    return Camera((height, width), *camera['intrinsics'], distortion, base)


def town_setting() -> Setting:
    return Setting(TOWN_CAMERA, Wander(), 10.0, 20.0, RecognizerConfig())


def euroc_setting(folder: Path) -> Setting:
    """Its keyframes are 1.5 s apart and go round a room: no two in a row need agree."""
    config = RecognizerConfig(decision=DecisionConfig(consistent_frames=1))
    return Setting(euroc_camera(folder), ROOM, 3.0, 3.0, config)


def open_case(name: str, work: Path, model: PlaceModel, setting: Setting, shots: Shots) -> Case:
    """The map of the shots, made unless it is there; its poses are odometry."""
    path, beside = work / f'{name}.vprmap', work / f'{name}_truth.npy'
    if not beside.exists():
        path.unlink(missing_ok=True)
        truth = _build(path, model, setting.camera, shots)
        np.save(beside, [(*pose.position_m, *pose.quaternion) for pose in truth])
    rows = np.load(beside).tolist()
    place_map = PlaceMap.open(path, model.require_weights(), model.name, writable=True)
    case = Case(name, place_map, [Pose(tuple(r[:3]), tuple(r[3:])) for r in rows], setting)
    poses = {place.id: place.pose for place in case.odometry(0) if place.pose is not None}
    place_map.move(poses)
    place_map.commit()
    return case


def _build(path: Path, model: PlaceModel, camera: Camera, shots: Shots) -> list[Pose]:
    """A map of all shots; returns where they were really taken."""
    truth: list[Pose] = []
    sessions: dict[str, int] = {}
    with PlaceMap.create(path, model.name, model.require_weights(), model.descriptor_dim) as made:
        made.beside.put_camera('front', camera)
        way_m = 0.0
        for shot in shots():
            if shot.session in sessions:
                way_m += truth[-1].distance_m(shot.truth)
            else:
                sessions[shot.session], way_m = made.add_session(shot.session), 0.0
            features = model.describe([shot.image])
            place = Place(
                0, sessions[shot.session], shot.stamp_ns, shot.truth, 'front', way_m
            )  # fmt: skip
            descriptor = features.descriptor[0].cpu().numpy()
            made.add(place, descriptor, encode_thumbnail(shot.image), features.local)
            truth.append(shot.truth)
    return truth


def _odometry(case: Case, seed: int) -> list[Pose]:
    found: list[Pose] = []
    for number, session in enumerate(np.unique(case.sessions)):
        own = [case.truth[row] for row in np.flatnonzero(case.sessions == session)]
        poses = drifted(own, case.setting.wander, 100 * seed + number)
        origin = poses[0].inverse()
        found += [origin @ pose for pose in poses] if number else poses
    return found
