"""The threshold refuses what the training set knows to be wrong."""

from dataclasses import replace

import numpy as np
import pytest
from small_views import texture_views

from vpr_ros.config import SamplerConfig
from vpr_ros.training.threshold import measure_similarities, similarity_threshold
from vpr_ros.training.views import joined


def measured(views, rows, sampler=SamplerConfig(radius_m=25.0)):  # noqa: B008
    return measure_similarities(
        views, lambda index: rows[index], sampler, np.random.default_rng(0)
    )


def scattered(places, views=2, seed=0):
    """Views of a place have the same descriptor."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(places, 64))
    return np.repeat(x / np.linalg.norm(x, axis=1, keepdims=True), views, axis=0)


@pytest.fixture
def twins():
    """Ten places seen twice each; place 9 looks like place 0."""
    rows = scattered(10)
    rows[18:] = rows[0]
    return texture_views(10, views=2), rows


def test_similarities_of_twins_and_aliases(twins):
    [area] = measured(*twins)
    assert np.allclose(area.genuine, 1.0, atol=1e-3)
    assert np.allclose(area.impostor[[0, 1, 18, 19]], 1.0, atol=1e-3)  # deceived by the alias
    assert (area.impostor[2:18] < 0.9).all()


def test_the_threshold_lies_above_the_share_asked_for(twins):
    areas = measured(*twins)
    found = similarity_threshold(areas, quantile=0.75)
    assert np.mean(areas[0].impostor <= found.value) >= 0.75
    assert found.accepted_genuine['textures'] == 1.0
    assert found.accepted_impostors['textures'] == pytest.approx(
        np.mean(areas[0].impostor >= found.value)
    )
    assert similarity_threshold(areas, quantile=0.99).value > 0.99


def test_places_within_the_radius_are_neither_right_nor_wrong(twins):
    views, rows = twins
    close = replace(views, position_m=views.position_m * 0.01)  # all within 10 m
    [area] = measured(close, rows)
    assert (area.impostor == -1.0).all()


def test_views_that_cannot_be_read_do_not_count(twins):
    views, rows = twins
    rows[3] = 0.0
    [area] = measured(views, rows)
    assert len(area.genuine) == 19
    assert area.genuine.tolist().count(-1.0) == 1  # of view 2, whose only other view it was


def test_photographs_of_nothing_known_do_not_count(twins):
    views, rows = twins
    once = joined([views, texture_views(30, views=1, seed=1)])
    alike = np.concatenate([rows, np.repeat(rows[:1], 30, axis=0)])
    assert [area.name for area in measured(once, alike)] == ['textures']


def test_areas_are_told_apart(twins):
    views, rows = twins
    both = joined([views, texture_views(3, views=2, seed=1)])
    found = measured(both, np.concatenate([rows, scattered(3, seed=5)]))
    assert [len(area.impostor) for area in found] == [20, 6]
