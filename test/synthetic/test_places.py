from __future__ import annotations

import itertools

import numpy as np
import pytest

from vpr_ros.errors import ConfigError
from vpr_ros.synthetic.camera import Camera
from vpr_ros.synthetic.places import plan_shots, render_places, sample_places
from vpr_ros.synthetic.routes import streets_alike

TINY = Camera(30, 40, 29.0)


def test_places_are_apart_and_their_views_together(town):
    places = sample_places(town, 40, 5, np.random.default_rng(0))
    assert [len(views) for views in places] == [5] * 40
    middle = np.array([np.mean([(v.x_m, v.y_m) for v in views], axis=0) for views in places])
    heading = np.array([np.mean([v.yaw_rad for v in views]) for views in places])
    for a, b in itertools.combinations(range(40), 2):
        if np.cos(heading[a] - heading[b]) > 0.6:
            assert np.linalg.norm(middle[a] - middle[b]) > 6.0
    for views in places:
        points = np.array([(v.x_m, v.y_m) for v in views])
        assert np.linalg.norm(points - points.mean(axis=0), axis=1).max() < 4.0


def test_look_alike_streets_are_left_out_of_training(town):
    (group,) = streets_alike(town.plan)
    ends = [town.plan.crossings_m[list(way)] for way in group]

    def on_alike(seed: int, aliased: bool) -> int:
        places = sample_places(town, 60, 1, np.random.default_rng(seed), aliased=aliased)
        points = np.array([(views[0].x_m, views[0].y_m) for views in places])
        total = 0
        for a, b in ends:
            along = (b - a) / np.linalg.norm(b - a)
            s = (points - a) @ along
            t = (points - a) @ [-along[1], along[0]]
            total += int(((s > 8) & (s < np.linalg.norm(b - a) - 8) & (abs(t) < 3)).sum())
        return total

    assert on_alike(0, aliased=False) == 0
    assert on_alike(0, aliased=True) > 0


def test_more_places_than_there_is_room_for_are_refused(town):
    with pytest.raises(ConfigError, match='room for'):
        sample_places(town, 500, 1, np.random.default_rng(0), spacing_m=80.0)


def test_pictures_of_a_place_differ_in_light_whatever_the_number_of_workers(
    town, scene, other_scene
):
    rng = np.random.default_rng(0)
    scenes = [scene, other_scene]
    shots = plan_shots(sample_places(town, 3, 2, rng), scenes, rng)
    assert all({shot.scene for shot in views} == {0, 1} for views in shots)
    alone = list(render_places(scenes, shots, TINY, workers=1))
    assert [pictures.shape for pictures in alone] == [(2, 30, 40, 3)] * 3
    for a, b in zip(alone, render_places(scenes, shots, TINY, workers=2), strict=True):
        np.testing.assert_array_equal(a, b)
