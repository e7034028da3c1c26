from __future__ import annotations

import pickle

import numpy as np
import pytest

from vpr_ros.errors import ConfigError
from vpr_ros.synthetic.routes import streets_alike
from vpr_ros.synthetic.streets import inset
from vpr_ros.synthetic.town import Town


def inside(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points (N, 2) lie in a counter-clockwise convex polygon (K, 2)."""
    along = np.roll(polygon, -1, axis=0) - polygon
    to_point = points[:, None] - polygon
    return (along[:, 0] * to_point[..., 1] > along[:, 1] * to_point[..., 0]).all(axis=1)


def houses_of(town: Town, number: int) -> np.ndarray:
    """Indices of the buildings that stand in a block."""
    outline = town.plan.outline(town.plan.blocks[number])
    return np.flatnonzero(inside(outline, town.buildings.footprints_m.mean(axis=1)))


def test_the_same_seed_builds_the_same_town(town):
    again = Town.build(1, blocks=(4, 4), aliased_groups=1)
    assert pickle.dumps(again) == pickle.dumps(town)


def test_another_seed_builds_another_town(town):
    other = Town.build(2, blocks=(4, 4), aliased_groups=1)
    assert not np.array_equal(other.plan.crossings_m, town.plan.crossings_m)


def test_aliased_blocks_have_the_same_houses_and_others_do_not(town):
    group = town.aliased_blocks[0]
    assert len(group) == 3
    corners = town.plan.crossings_m
    first = houses_of(town, group[0])
    for number in group[1:]:
        blocks = town.plan.blocks
        shift = corners[blocks[number].corners[0]] - corners[blocks[group[0]].corners[0]]
        same = houses_of(town, number)
        moved = town.buildings.footprints_m[first] + shift
        np.testing.assert_allclose(town.buildings.footprints_m[same], moved, atol=1e-9)
        np.testing.assert_array_equal(
            town.buildings.heights_m[same], town.buildings.heights_m[first]
        )
        for a, b in zip(first, same, strict=True):
            pieces = [slice(*town.buildings.starts[[k, k + 1]]) for k in (a, b)]
            tints = [town.polygons.tint[piece] for piece in pieces]
            np.testing.assert_array_equal(*tints)
    heights = {
        tuple(town.buildings.heights_m[houses_of(town, k)].round(3).tolist())
        for k, block in enumerate(town.plan.blocks)
        if block.template is None and not block.park and not block.ring
    }
    plain = [b for b in town.plan.blocks if b.template is None and not b.park and not b.ring]
    assert len(heights) == len(plain)


def test_streets_between_aliased_blocks_are_named_as_alike(town):
    (group,) = streets_alike(town.plan)
    assert len(group) == 2
    vectors = [np.subtract(*town.plan.crossings_m[[b, a]]) for a, b in group]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-9)


def test_a_town_without_look_alikes_has_none():
    town = Town.build(1, blocks=(2, 3), aliased_groups=2)
    assert town.aliased_blocks == []
    assert streets_alike(town.plan) == []


def test_every_crossing_can_be_reached(town):
    neighbours = town.plan.neighbours()
    reached, frontier = {0}, [0]
    while frontier:
        for other in neighbours[frontier.pop()]:
            if other not in reached:
                reached.add(other)
                frontier.append(other)
    assert reached == set(range(len(town.plan.crossings_m)))


@pytest.mark.parametrize('seed', [0, 5])
def test_no_house_stands_on_a_road(seed):
    town = Town.build(seed, blocks=(3, 3), aliased_groups=1)
    corners = town.buildings.footprints_m.reshape(-1, 2).astype(np.float32)
    inside_m = town.ground.raster.read(town.ground.inside_m, *corners.T)
    assert inside_m[:, 1].max() < 0.3  # the raster is 0.33 m wide


@pytest.mark.parametrize('blocks', [(1, 5), (0, 0), (3, 1)])
def test_a_town_too_small_is_refused(blocks):
    with pytest.raises(ConfigError, match='at least 2 x 2 blocks'):
        Town.build(0, blocks=blocks)


def test_inset_moves_each_edge_by_its_own_distance():
    square = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    moved = inset(square, np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(moved, [[4.0, 1.0], [8.0, 1.0], [8.0, 7.0], [4.0, 7.0]])
