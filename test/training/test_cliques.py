"""Cliques: all of them, each once, none that a node still fits into."""

from itertools import combinations, islice

import numpy as np
import pytest

from vpr_ros.training.cliques import bit_set, bit_sets, elements, first_clique, maximal_cliques


def random_graph(nodes, density, rng):
    table = np.triu(rng.random((nodes, nodes)) < density, 1)
    return table | table.T


def brute_force(table, within, least):
    """Maximal cliques by looking at every subset."""
    nodes = sorted(within)
    cliques = [
        set(some)
        for size in range(1, len(nodes) + 1)
        for some in combinations(nodes, size)
        if all(table[a, b] for a, b in combinations(some, 2))
    ]
    return {frozenset(c) for c in cliques if len(c) >= least and not any(c < o for o in cliques)}


@pytest.mark.parametrize('nodes', [1, 2, 5, 9, 10])
@pytest.mark.parametrize('density', [0.0, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize('least', [1, 3])
def test_every_maximal_clique_once(nodes, density, least):
    rng = np.random.default_rng([nodes, int(10 * density)])
    table = random_graph(nodes, density, rng)
    found = [frozenset(elements(c)) for c in maximal_cliques(bit_sets(table), least)]
    assert len(found) == len(set(found))
    assert set(found) == brute_force(table, range(nodes), least)


def test_within_some_nodes():
    rng = np.random.default_rng(4)
    table = random_graph(10, 0.7, rng)
    inside = {0, 2, 3, 5, 6, 9}
    bits = sum(1 << node for node in inside)
    found = {frozenset(elements(c)) for c in maximal_cliques(bit_sets(table), 1, bits)}
    assert found == brute_force(table, inside, 1)


def test_first_clique_is_the_first_that_is_large_enough():
    table = np.zeros((7, 7), bool)
    table[:2, :2] = table[2:5, 2:5] = table[3:7, 3:7] = True
    np.fill_diagonal(table, False)
    graph = bit_sets(table)
    assert elements(first_clique(graph, 1)) == [0, 1]
    assert elements(first_clique(graph, 3)) == [2, 3, 4]
    assert elements(first_clique(graph, 4)) == [3, 4, 5, 6]
    assert first_clique(graph, 5) == 0
    assert first_clique([], 1) == 0


def test_a_clique_may_be_larger_than_the_stack():
    table = ~np.eye(3000, dtype=bool)
    assert first_clique(bit_sets(table), 10).bit_count() == 3000


def test_the_first_of_exponentially_many_comes_at_once():
    table = ~np.eye(90, dtype=bool)
    pairs = np.arange(90) ^ 1
    table[np.arange(90), pairs] = False  # 2^45 cliques of 45
    some = list(islice(maximal_cliques(bit_sets(table), 45), 5))
    assert [c.bit_count() for c in some] == [45] * 5


def test_bits_and_numbers_agree():
    inside = np.random.default_rng(0).random(75) < 0.5
    assert elements(bit_set(inside)) == np.flatnonzero(inside).tolist()
    assert elements(bit_set(np.zeros(0, bool))) == []
