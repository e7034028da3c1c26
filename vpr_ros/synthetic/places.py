"""Places for training: many views of each, drawn in different lights, quickly and in bulk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from vpr_ros.errors import ConfigError
from vpr_ros.synthetic.camera import SMALL_CAMERA, Camera, View
from vpr_ros.synthetic.lights import Session
from vpr_ros.synthetic.render import render_scene
from vpr_ros.synthetic.routes import streets_alike
from vpr_ros.synthetic.scene import Scene
from vpr_ros.synthetic.town import Town
from vpr_ros.synthetic.workers import ordered_map


@dataclass(frozen=True)
class Shot:
    """One picture to take: where, in which scene, with which camera settings."""

    view: View
    scene: int
    session: Session


def plan_shots(
    places: Sequence[Sequence[View]], scenes: Sequence[Scene], rng: np.random.Generator
) -> list[list[Shot]]:
    """Draw a scene and camera settings for every view; views of a place differ in light."""
    planned = []
    for views in places:
        order = rng.permutation(len(scenes))
        shots = []
        for k, view in enumerate(views):
            number = int(order[k % len(order)])
            scene, camera = scenes[number].session, Session.random(rng)
            mixed = replace(camera, name=scene.name, light=scene.light, seed=scene.seed)
            shots.append(Shot(view, number, mixed))
        planned.append(shots)
    return planned


def render_places(
    scenes: Sequence[Scene],
    places: Sequence[Sequence[Shot]],
    camera: Camera = SMALL_CAMERA,
    workers: int | None = None,
) -> Iterator[np.ndarray]:
    """Draw places in order, each as (K, H, W, 3) uint8 RGB."""
    draw = partial(_draw_place, list(scenes), camera)
    yield from ordered_map(draw, places, workers)


def _draw_place(scenes: list[Scene], camera: Camera, shots: Sequence[Shot]) -> np.ndarray:
    dressed = [(replace(scenes[s.scene], session=s.session), s.view) for s in shots]
    return np.stack([render_scene(scene, view, camera) for scene, view in dressed])


def sample_places(
    town: Town,
    n_places: int,
    views: int,
    rng: np.random.Generator,
    spacing_m: float = 12.0,
    aliased: bool = False,
) -> list[list[View]]:
    """Choose places on streets, each as `views` poses that see the same.

    Two places that face the same way are at least `spacing_m` apart; streets that look alike on
    purpose are left out unless `aliased`.

    Raises:
        ConfigError: the town has no room for so many places.
    """
    chosen = np.zeros((0, 3))
    places: list[list[View]] = []
    for spot in itertools.islice(_spots(town, rng, aliased), 60 * n_places):
        if len(places) == n_places:
            break
        near = np.linalg.norm(chosen[:, :2] - spot[:2], axis=1) < spacing_m
        if not (near & (np.cos(chosen[:, 2] - spot[2]) > 0.5)).any():
            chosen = np.concatenate([chosen, spot[None]])
            places.append([_beside(spot, rng) for _ in range(views)])
    if len(places) < n_places:
        raise ConfigError(
            f'the town has room for {len(places)} places {spacing_m:g} m apart, '
            f'{n_places} were asked for; build a larger town or ask for fewer'
        )
    return places


def _spots(town: Town, rng: np.random.Generator, aliased: bool) -> Iterator[np.ndarray]:
    """Spots (3,) in the middle of streets for ever: x, y and the heading of a drive there."""
    plan = town.plan
    alike = {(min(p), max(p)) for group in streets_alike(plan) for p in group}
    ends = np.array([(s.start, s.end) for s in plan.streets])
    if not aliased:
        ends = np.array([pair for pair in ends.tolist() if tuple(pair) not in alike])
    lengths = np.linalg.norm(np.subtract(*plan.crossings_m[ends.T]), axis=1)
    while True:
        k = int(rng.choice(len(ends), p=lengths / lengths.sum()))
        start, end = plan.crossings_m[ends[k][:: rng.choice([-1, 1])]]
        ahead = (end - start) / lengths[k]
        spot = start + rng.uniform(2.0, lengths[k] - 8.0) * ahead
        yield np.array([*spot, np.arctan2(ahead[1], ahead[0])])


def _beside(spot: np.ndarray, rng: np.random.Generator) -> View:
    """A pose near a spot in the middle of a street, in the right-hand lane."""
    yaw = float(spot[2])
    along, aside = rng.uniform(-2.0, 2.0), rng.uniform(-2.4, -0.6)
    x = spot[0] + along * np.cos(yaw) - aside * np.sin(yaw)
    y = spot[1] + along * np.sin(yaw) + aside * np.cos(yaw)
    pitch, roll = rng.normal(0.0, 0.008, 2).tolist()
    return View(float(x), float(y), yaw + float(rng.normal(0.0, 0.07)), 0.0, pitch, roll)
