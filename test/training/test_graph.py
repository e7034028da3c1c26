"""The graph: worked by hand where that can be done, against brute force where it cannot."""

import math
from itertools import permutations

import numpy as np
import pytest

from vpr_ros.training.graph import (
    adjacency,
    affinity,
    anchor,
    geographic_graph,
    seed_scores,
    similar_places,
    weighted_expansion,
)

# Six views: at 0, 1, 2, 4, 8 and 16 m along a street, their descriptors at 0, 0.1, 0.3, 0.2, 0.2
# and 0.9 along a line (as if that were possible).
ALONG = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0])
LOOKS = np.array([0.0, 0.1, 0.3, 0.2, 0.2, 0.9])
DISTANCE = np.abs(ALONG[:, None] - ALONG)
VISUAL = np.abs(LOOKS[:, None] - LOOKS)
BY_HAND = -np.array(
    [
        [math.inf, 0.1, 0.6, 0.8, 1.6, 14.4],
        [0.1, math.inf, 0.2, 0.3, 0.7, 12.0],
        [0.6, 0.2, math.inf, 0.2, 0.6, 8.4],
        [0.8, 0.3, 0.2, math.inf, 0.0, 8.4],
        [1.6, 0.7, 0.6, 0.0, math.inf, 5.6],
        [14.4, 12.0, 8.4, 8.4, 5.6, math.inf],
    ]
)


def random_weights(nodes, rng, whole=False):
    table = rng.random((nodes, nodes))
    table = np.round(table * 4) if whole else table
    return affinity(table + table.T, np.ones((nodes, nodes)))


def greedy(weights, count):
    """The rule, word for word: means over all others, over all chosen; loops only."""
    nodes = range(len(weights))

    def mean(view, others):
        return sum(weights[view, o] for o in others) / len(others)

    chosen = [max(nodes, key=lambda i: (mean(i, [j for j in nodes if j != i]), -i))]
    while len(chosen) < count:
        left = [v for v in nodes if v not in chosen]
        chosen.append(max(left, key=lambda v: (mean(v, chosen), -v)))
    return chosen


def edges(graph):
    starts = graph.starts
    return [graph.neighbours[a:b].tolist() for a, b in zip(starts[:-1], starts[1:], strict=True)]


def one_area(positions, headings=None, radius=25.0, limit=math.pi, areas=None):
    count = len(positions)
    headings = np.full(count, math.nan) if headings is None else np.array(headings)
    areas = np.zeros(count, int) if areas is None else np.array(areas)
    return geographic_graph(np.array(positions, float), headings, areas, radius, limit)


def test_affinity_by_hand():
    np.testing.assert_allclose(affinity(DISTANCE, VISUAL), BY_HAND, atol=1e-12)


def test_seed_scores_and_anchor_by_hand():
    scores = -np.array([17.5, 13.3, 10.0, 9.7, 8.5, 48.8]) / 5
    np.testing.assert_allclose(seed_scores(affinity(DISTANCE, VISUAL)), scores)
    assert anchor(affinity(DISTANCE, VISUAL)) == 4


def test_expansion_by_hand():
    # From 4: 3 at 0; then 2 at (0.6 + 0.2) / 2 beats 1 at (0.7 + 0.3) / 2; then 1 beats 0.
    weights = affinity(DISTANCE, VISUAL)
    assert weighted_expansion(weights, 4, 4).tolist() == [4, 3, 2, 1]
    assert weighted_expansion(weights, 4, 6).tolist() == [4, 3, 2, 1, 0, 5]


def test_threshold_excludes_its_own_value_and_less():
    halves = affinity(np.full((2, 2), 0.5), np.ones((2, 2)), threshold=-0.5)
    assert (halves == -math.inf).all()
    weights = affinity(DISTANCE, VISUAL, threshold=-0.59)
    assert weights[1, 2] == pytest.approx(-0.2)
    assert weights[2, 4] == weights[4, 2] == weights[0, 2] == -math.inf
    # 5 has no pair left, and 0 has one, with 1: means are over pairs that are left.
    scores = seed_scores(weights)
    np.testing.assert_allclose(scores[:5], [-0.1, -0.2, -0.2, -0.5 / 3, 0.0], atol=1e-12)
    assert scores[5] == -math.inf
    assert weighted_expansion(weights, 4, 4).tolist() == [4, 3, -1, -1]
    assert weighted_expansion(weights, 1, 4).tolist() == [1, 0, -1, -1]  # 2 knows 1, but not 0


def test_a_threshold_without_any_pair():
    weights = affinity(DISTANCE, VISUAL + 1.0, threshold=0.0)
    assert anchor(weights) == 0
    assert weighted_expansion(weights, 0, 3).tolist() == [0, -1, -1]


def test_floor_of_the_distance():
    distance = np.array([[0.0, 0.0], [0.0, 0.0]])
    visual = np.array([[0.0, 0.8], [0.8, 0.0]])
    assert affinity(distance, visual)[0, 1] == 0.0
    assert affinity(distance, visual, floor_m=0.5)[0, 1] == pytest.approx(-0.4)


@pytest.mark.parametrize('whole', [False, True])
def test_expansion_is_the_greedy_rule(whole):
    rng = np.random.default_rng(0)
    for _ in range(100):
        nodes = int(rng.integers(2, 9))
        count = int(rng.integers(1, nodes + 1))
        weights = random_weights(nodes, rng, whole)
        taken = weighted_expansion(weights, anchor(weights), count).tolist()
        assert taken == greedy(weights, count)
        assert len(set(taken)) == count  # never a view with itself


def test_many_at_once_like_one_by_one():
    rng = np.random.default_rng(1)
    weights = np.stack([random_weights(7, rng) for _ in range(20)])
    together = weighted_expansion(weights, anchor(weights), 4)
    apart = [weighted_expansion(w, anchor(w), 4) for w in weights]
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_array_equal(anchor(weights), [anchor(w) for w in weights])


def test_of_equals_the_lowest():
    weights = affinity(np.ones((5, 5)), np.ones((5, 5)))
    assert anchor(weights) == 0
    assert weighted_expansion(weights, anchor(weights), 4).tolist() == [0, 1, 2, 3]
    twins = affinity(np.zeros((4, 4)), np.zeros((4, 4)))  # duplicates: affinity 0 all over
    assert weighted_expansion(twins, anchor(twins), 4).tolist() == [0, 1, 2, 3]


def test_radius_is_open():
    assert edges(one_area([(0, 0), (25, 0), (24.999, 0), (math.nan, 0)])) == [[2], [2], [0, 1], []]


def test_duplicates_are_neighbours_but_none_of_itself():
    assert edges(one_area([(3, 4)] * 3)) == [[1, 2], [0, 2], [0, 1]]


def test_areas_do_not_meet():
    found = edges(one_area([(0, 0), (0, 0), (1, 0), (1, 0)], areas=[5, -1, 5, -1]))
    assert found == [[2], [3], [0], [1]]


def test_heading_limit():
    headings = [0.0, 0.5, math.pi - 0.1, 0.1 - math.pi, math.nan]
    free = edges(one_area([(0, 0)] * 5, headings))
    assert [len(n) for n in free] == [4] * 5
    limited = edges(one_area([(0, 0)] * 5, headings, limit=0.6))
    assert limited == [[1, 4], [0, 4], [3, 4], [2, 4], [0, 1, 2, 3]]


def test_graph_like_all_pairs_over_several_blocks(monkeypatch):
    monkeypatch.setattr('vpr_ros.training.graph.BLOCK', 37)
    rng = np.random.default_rng(2)
    position, areas = rng.uniform(0, 200, (300, 2)), rng.integers(0, 3, 300)
    heading = rng.uniform(-10, 10, 300)
    graph = geographic_graph(position, heading, areas, 25.0, 1.0)
    distance = np.hypot(*(position[:, None] - position).transpose(2, 0, 1))
    turn = np.arccos(np.clip(np.cos(heading[:, None] - heading), -1, 1))
    table = (distance < 25) & (turn <= 1.0) & (areas[:, None] == areas)
    np.fill_diagonal(table, False)
    assert edges(graph) == [np.flatnonzero(row).tolist() for row in table]
    np.testing.assert_array_equal(graph.degrees, table.sum(axis=1))
    some = rng.permutation(300)[:80]
    np.testing.assert_array_equal(adjacency(graph, some), table[np.ix_(some, some)])


def test_no_nodes():
    graph = one_area(np.zeros((0, 2)))
    assert edges(graph) == []
    assert adjacency(graph, np.zeros(0, int)).shape == (0, 0)


def test_similar_places_are_drawn_by_weight():
    distance, rng = np.array([0.0, 0.2, 0.8, 1.0, 0.0]), np.random.default_rng(0)
    first = [similar_places(distance, 2, 1.0, rng) for _ in range(4000)]
    assert all(set(drawn) == {1, 2} for drawn in first)  # not the seed, a twin, the farthest
    assert np.mean([drawn[0] == 1 for drawn in first]) == pytest.approx(0.8, abs=0.02)
    sharp = [similar_places(distance, 1, 2.0, rng)[0] for _ in range(4000)]
    assert np.mean(np.array(sharp) == 1) == pytest.approx(16 / 17, abs=0.015)


def test_similar_places_without_replacement():
    # Successive draws: second given first has the odds of what is left.
    distance, rng = np.array([0.0, 0.4, 0.7, 0.9, 1.0]), np.random.default_rng(1)
    drawn = np.array([similar_places(distance, 2, 1.0, rng) for _ in range(6000)])
    weights = {1: 0.6, 2: 0.3, 3: 0.1}
    for a, b in permutations(weights, 2):
        expected = weights[a] * weights[b] / (1 - weights[a])
        found = np.mean((drawn == [a, b]).all(axis=1))
        assert found == pytest.approx(expected, abs=0.02)


def test_similar_places_at_the_edges():
    rng = np.random.default_rng(2)
    assert len(similar_places(np.zeros(4), 3, 1.0, rng)) == 0
    assert len(similar_places(np.array([0.0, 0.7]), 3, 1.0, rng)) == 0
    assert set(similar_places(np.array([0.0, 0.7, 0.3]), 3, 0.0, rng)) == {1, 2}
    steep = similar_places(np.linspace(0, 1, 300, dtype=np.float32), 298, 100.0, rng)
    assert len(set(steep)) == 298  # no power makes a weight vanish
    assert len(similar_places(np.linspace(0, 1, 50), 0, 1.0, rng)) == 0
