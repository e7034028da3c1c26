"""Held-out places lie apart from those trained on, and recall is that of other sessions."""

from dataclasses import replace

import numpy as np
import pytest
from small_views import texture_views

from vpr_ros.config import SamplerConfig
from vpr_ros.training.validation import Score, Selection, queries_of, score, split_places
from vpr_ros.training.views import joined


def test_held_out_places_are_whole_and_lie_apart():
    views = texture_views(40)
    split = split_places(views, 0.25, 250.0, np.random.default_rng(0))
    held, kept = views.places[split.validation], views.places[split.train]
    assert len(np.unique(held)) == 10
    assert np.ptp(np.unique(held)) == 9  # neighbours
    gap = np.abs(views.position_m[split.train, None, 0] - views.position_m[split.validation, 0])
    assert gap.min() > 250.0
    assert not set(held) & set(kept)
    assert 0 < len(kept) < 4 * 30  # those within the radius are in neither


def test_places_without_positions_are_held_out_by_chance():
    views = texture_views(20)
    views = replace(views, position_m=np.full_like(views.position_m, np.nan))
    split = split_places(views, 0.2, 25.0, np.random.default_rng(0))
    assert len(split.validation) == 16
    assert len(split.train) == 64


def test_areas_with_and_without_positions_are_held_out_side_by_side():
    known, unknown = texture_views(20), texture_views(20, seed=1)
    unknown = replace(unknown, position_m=np.full_like(unknown.position_m, np.nan))
    views = joined([known, unknown])
    split = split_places(views, 0.2, 150.0, np.random.default_rng(0))
    assert np.bincount(views.areas[split.validation]).tolist() == [16, 16]
    assert np.bincount(views.areas[split.train])[1] == 64


def test_nothing_is_held_out_of_too_few_places():
    split = split_places(texture_views(5), 0.1, 25.0, np.random.default_rng(0))
    assert len(split.validation) == 0
    assert len(split.train) == 20


def corners(*angles):
    return np.column_stack([np.cos(angles), np.sin(angles)])


@pytest.fixture
def two_places():
    return texture_views(2, views=2)  # places 0, 0, 1, 1 in sessions 0, 1, 0, 1


def test_recall_by_hand(two_places):
    sampler = SamplerConfig(radius_m=25.0)
    right = score(two_places, corners(0.0, 0.2, 1.5, 1.4), sampler)
    assert right == Score(1.0, 4)
    # View 1 looks like view 2 and the reverse; 0 and 3 still find their own places' other view.
    wrong = score(two_places, corners(0.0, 0.8, 0.9, 1.7), sampler)
    assert wrong.recall_at_1 == 0.5


def test_the_same_session_does_not_count(two_places):
    """In its own session every view is nearest to the wrong place; in the other half are right."""
    found = score(two_places, corners(0.0, 0.5, 0.01, 0.51), SamplerConfig(radius_m=25.0))
    assert found == Score(0.5, 4)


def test_a_neighbouring_place_within_the_radius_is_right(two_places):
    near = replace(two_places, position_m=two_places.position_m * 0.1)
    crossed = corners(0.0, 0.8, 0.9, 1.7)
    assert score(near, crossed, SamplerConfig(radius_m=25.0)).recall_at_1 == 1.0
    turned = replace(near, heading_rad=np.array([0.0, 0.0, 3.0, 3.0]))
    assert score(turned, crossed, SamplerConfig(radius_m=25.0, heading_rad=1.0)).recall_at_1 == 0.5


def test_views_that_cannot_be_read_are_neither_asked_for_nor_found(two_places):
    sampler = SamplerConfig(radius_m=25.0)
    rows = corners(0.0, 0.2, 1.5, 1.4)
    rows[1] = 0.0  # so that view 0 is alone, and of no use as a query
    assert score(two_places, rows, sampler) == Score(1.0, 2)


def test_queries_are_whole_places():
    views = texture_views(30)
    some = queries_of(views, 50, np.random.default_rng(0))
    assert len(some) == 48
    assert set(np.bincount(some.places)) <= {0, 4}
    assert queries_of(views, 120, np.random.default_rng(0)) is views


def test_selection_keeps_the_first_of_the_best():
    selection = Selection(patience=2)
    for step, recall in enumerate([0.3, 0.5, 0.5, 0.4]):
        assert not selection.out_of_patience
        selection.consider(Score(recall, 10), step, {})
    assert (selection.step, selection.recall_at_1) == (1, 0.5)
    assert selection.out_of_patience
    again = Selection(patience=2)
    again.restore(selection.words(), {})
    assert again.out_of_patience
