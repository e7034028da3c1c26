"""Places lie apart, and views of one place near together and facing the same way."""

import numpy as np

from vpr_ros.training.sources.grouping import group_views


def test_places_of_a_street_driven_both_ways():
    x = np.arange(0, 60, 0.5)
    position = np.column_stack([np.concatenate([x, x[::-1]]), np.repeat([0.0, 1.0], len(x))])
    heading = np.repeat([0.0, np.pi], len(x))
    labels = group_views(position, heading, radius_m=4.0)
    ahead, behind = labels[: len(x)], labels[len(x) :]
    assert not set(ahead[ahead >= 0]) & set(behind[behind >= 0])  # the other way is another view
    assert len(set(ahead[ahead >= 0])) >= 4
    for a in set(ahead[ahead >= 0]):
        for b in set(ahead[ahead >= 0]) - {a}:
            assert np.abs(x[ahead == a][:, None] - x[ahead == b]).min() > 4.0


def test_a_second_session_finds_the_places_of_the_first():
    first = np.column_stack([np.arange(50) * 2.1, np.zeros(50)])
    both = np.concatenate([first, first + (0.02, 0.1)])
    labels = group_views(both, np.zeros(100))
    np.testing.assert_array_equal(labels[:50] >= 0, labels[50:] >= 0)
    np.testing.assert_array_equal(labels[:50], labels[50:])


def test_views_without_a_position_are_in_no_place():
    position = np.array([[0.0, 0.0], [np.nan, 0.0], [1.0, 0.0]])
    labels = group_views(position, np.array([0.0, 0.0, np.nan]))
    assert labels.tolist() == [0, -1, 0]  # an unknown heading faces any way


def test_nothing_is_grouped_into_nothing():
    assert len(group_views(np.zeros((0, 2)), np.zeros(0))) == 0
    assert group_views(np.full((2, 2), np.nan), np.zeros(2)).tolist() == [-1, -1]


def test_places_of_a_room_are_smaller_than_those_of_a_street():
    """In a room of 7 m everything lies within the radius of a street's place."""
    walk = np.column_stack([np.linspace(0.0, 7.0, 71), np.zeros(71)])
    assert group_views(walk, np.zeros(71), radius_m=4.0).max() == 0
    labels = group_views(walk, np.zeros(71))
    assert labels.max() >= 1
    assert np.ptp(walk[labels == 1, 0]) <= 2 * 1.0 + 1e-9
    spot = np.zeros((5, 2))
    assert group_views(spot, np.zeros(5)).tolist() == [0] * 5
