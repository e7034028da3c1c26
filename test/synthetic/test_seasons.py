"""Seasons and things before the camera: what changes in a picture, and what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from street_views import middle_view

from vpr_ros.synthetic.camera import Camera, Eye
from vpr_ros.synthetic.lights import ALL_LIGHTS, HARD_LIGHTS, LIGHTS, Session
from vpr_ros.synthetic.occluders import SIZES_M, Occluder
from vpr_ros.synthetic.render import render_scene
from vpr_ros.synthetic.scene import Scene
from vpr_ros.synthetic.seasons import SEASONS
from vpr_ros.synthetic.visibility import look

CAMERA = Camera(120, 160, 115.0)
STREETS = (2, 5, 8, 11, 14)


@pytest.fixture(scope='module')
def by_season(town, scene) -> dict[str, Scene]:
    return {name: Scene.build(town, replace(scene.session, season=name)) for name in SEASONS}


def pictures(scene: Scene) -> np.ndarray:
    views = [middle_view(scene.town, street) for street in STREETS]
    return np.stack([render_scene(scene, view, CAMERA) for view in views]).astype(int)


def test_summer_is_how_the_town_always_looked(scene, by_season):
    assert Session('noon', LIGHTS['noon']).season == 'summer'
    assert by_season['summer'].tree_pictures is scene.town.tree_pictures
    np.testing.assert_array_equal(pictures(by_season['summer']), pictures(scene))


@pytest.mark.parametrize('season', ['spring', 'autumn', 'winter'])
def test_a_season_changes_the_leaves(by_season, season):
    summer, other = by_season['summer'], by_season[season]
    for kind, (green, now) in enumerate(
        zip(summer.tree_pictures, other.tree_pictures, strict=True)
    ):
        rgba, before = now.rgba[0], green.rgba[0]
        cover, full = rgba[..., 3].mean(), before[..., 3].mean()
        if season == 'winter' and SEASONS[season].leaf_share[kind] < 0.5:
            assert cover < 0.75 * full  # bare, but not gone
            assert cover > 0.05 * full
            continue
        colour, was = (p[..., :3].sum((0, 1)) / p[..., 3].sum() for p in (rgba, before))
        assert np.abs(colour - was).max() > 0.002


def test_leaves_of_autumn_are_redder_where_trees_stand(town, by_season):
    bare = {
        name: replace(by_season[name], town=replace(town, trees=town.trees[:0]))
        for name in ('summer', 'autumn')
    }
    drawn = {name: pictures(by_season[name]) for name in ('summer', 'autumn')}
    leaves = np.abs(drawn['summer'] - pictures(bare['summer'])).sum(-1) > 30
    leaves &= np.abs(drawn['autumn'] - pictures(bare['autumn'])).sum(-1) > 30
    assert leaves.sum() > 100
    redness = {name: (p[leaves][:, 0] - p[leaves][:, 1]).mean() for name, p in drawn.items()}
    assert redness['autumn'] > redness['summer'] + 15


def test_snow_lies_on_the_ground_and_not_on_walls(by_season):
    summer, winter = pictures(by_season['summer']), pictures(by_season['winter'])
    for k, street in enumerate(STREETS):
        scene = by_season['summer']
        eye = Eye.mounted(middle_view(scene.town, street), 1.35, -0.08, CAMERA)
        seen = look(scene, eye)
        numbers = seen.numbers[::2, ::2]
        brighter = (winter[k] - summer[k]).mean(axis=2)
        near = (numbers == 0) & (np.arange(CAMERA.height)[:, None] > 90)
        assert brighter[near].mean() > 10
        level = np.concatenate([[True], np.abs(scene.polygons.normal[seen.polygons, 2]) > 0.1])
        walls = (numbers > 0) & ~level[numbers]
        assert np.median(np.abs(brighter[walls])) <= 2


@pytest.mark.parametrize('name', HARD_LIGHTS)
def test_hard_lights_show_something(town, scene, name):
    assert name not in LIGHTS
    hard = Scene.build(town, replace(scene.session, name=name, light=HARD_LIGHTS[name]))
    drawn = pictures(hard)
    assert 10 < drawn.mean() < 190
    assert drawn.std() > 10


def test_night_is_darker_than_day_and_dusk(town, scene):
    at = {name: replace(scene.session, light=ALL_LIGHTS[name]) for name in ('dusk', 'night')}
    dusk, night = (pictures(Scene.build(town, session)).mean() for session in at.values())
    assert night < 0.8 * dusk
    assert night < 0.5 * pictures(scene).mean()


def test_the_car_lights_the_road_ahead_at_night(town, scene):
    night = HARD_LIGHTS['night']
    dark = Scene.build(town, replace(scene.session, light=night))
    off = replace(dark, session=replace(dark.session, light=replace(night, headlights=0.0)))
    gain = (pictures(dark) - pictures(off)).mean(axis=(0, 3))
    assert gain[90:, 60:100].mean() > 10
    assert gain[90:, 60:100].mean() > 2 * gain[:40].mean()


@pytest.mark.parametrize('kind', SIZES_M)
@pytest.mark.parametrize('share', [0.12, 0.35])
@pytest.mark.parametrize('light', ['noon', 'night'])
def test_occluders_hide_the_stated_share(town, scene, kind, share, light):
    view = middle_view(town, 5)
    taken = replace(scene, session=replace(scene.session, light=ALL_LIGHTS[light]))
    free = render_scene(taken, view, CAMERA).astype(int)
    for seed, aside in ((1, 0.0), (2, -0.28)):
        occluder = Occluder(kind, share, aside, seed)
        hidden = (render_scene(taken, view, CAMERA, occluder) != free).any(axis=2)
        assert hidden.mean() == pytest.approx(share, abs=0.03)
        again = render_scene(taken, view, CAMERA, occluder)
        np.testing.assert_array_equal(again, render_scene(taken, view, CAMERA, occluder))


def test_sessions_drawn_by_lot_are_those_of_before():
    """Their numbers name training sets that were made with them."""
    drawn = Session.random(np.random.default_rng(0))
    assert (drawn.name, drawn.season, drawn.seed) == ('overcast', 'summer', 1367864807)
    assert drawn.car_share == 0.4740289695151073
    assert Session.random(np.random.default_rng(0), 'night').light is HARD_LIGHTS['night']
