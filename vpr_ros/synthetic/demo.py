"""The two drives of `make demo`: a loop, and a later outing over some of the same streets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.synthetic.bag import Progress, check_depth, check_free, write_bag
from vpr_ros.synthetic.drives import START_NS, Drive, plan_drive
from vpr_ros.synthetic.lights import LIGHTS, Session
from vpr_ros.synthetic.render import render_scene
from vpr_ros.synthetic.routes import Route, circuit, length_m, streets_alike, streets_of, walk
from vpr_ros.synthetic.scene import Scene
from vpr_ros.synthetic.town import Town

DAY_NS = 86_400_000_000_000
NEW_STREETS_M = 150.0  # driven by the second outing before and after the known ones


@dataclass(frozen=True)
class DemoDrives:
    """Where the two bags were written."""

    first: Path
    second: Path


def plan_demo(town: Town, seed: int) -> tuple[Drive, Drive]:
    """Plan both drives: the first goes round a block one and a half times."""
    rng = np.random.default_rng([seed, 5])
    plan = town.plan
    alike = {(min(p), max(p)) for group in streets_alike(plan) for p in group}
    loop = circuit(plan, rng, 270.0, 360.0, alike)
    first_route = loop + loop[1:]
    share = 1.55 * length_m(plan, loop)
    morning = Session('morning', LIGHTS['morning'], seed=seed + 1, lane_offset_m=-1.6)
    first = plan_drive(town, morning, rng, share, first_route)
    afternoon = Session(
        'afternoon',
        LIGHTS['afternoon'],
        seed=seed + 2,
        lane_offset_m=-1.1,
        heading_offset_rad=0.02,
        camera_height_m=1.42,
        exposure=1.1,
        car_share=0.3,
    )
    second_route = _other_outing(town, loop, alike, rng)
    distance = length_m(plan, second_route) - 15.0
    second = plan_drive(town, afternoon, rng, distance, second_route, start_ns=START_NS + DAY_NS)
    return first, second


def demo_pictures(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Draw `count` pictures (H, W, 3) uint8 RGB, evenly from both drives, one half of each."""
    town = Town.build(seed)
    for drive, share in zip(plan_demo(town, seed), (count - count // 2, count // 2), strict=True):
        scene = Scene.build(town, drive.session)
        for index in np.linspace(0, len(drive) - 1, share).round().astype(int):
            yield render_scene(scene, drive.view(index), drive.camera)


def _other_outing(
    town: Town, loop: Route, alike: set[tuple[int, int]], rng: np.random.Generator
) -> Route:
    """New streets, then most of the loop in the same direction, then new streets again."""
    known = streets_of(loop) | alike
    arrive = walk(town.plan, rng, NEW_STREETS_M, loop[1::-1], known)[:1:-1]
    shared = loop[:-1]
    leave = walk(town.plan, rng, length_m(town.plan, shared) + NEW_STREETS_M, shared, known)
    return [*arrive, *leave]


def write_demo(
    folder: Path | str,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    depth_m: float = 0.0,
) -> DemoDrives:
    """Render and write both drives as `first` and `second` in a folder, as `write_bag` does.

    Raises:
        BagError: a bag is there already and `overwrite` is not set.
        ConfigError: as `write_bag`.
    """
    targets = [Path(folder) / name for name in ('first', 'second')]
    for target in targets:
        check_free(target, overwrite)
    check_depth(depth_m)
    town = Town.build(seed)
    drives = plan_demo(town, seed)
    total, done, paths = sum(map(len, drives)), 0, []
    for target, drive in zip(targets, drives, strict=True):

        def report(count: int, _: int, before: int = done) -> None:
            if progress:
                progress(before + count, total)

        paths.append(write_bag(target, town, drive, workers, overwrite, report, depth_m))
        done += len(drive)
    return DemoDrives(*paths)
