"""Maximal cliques of a small graph, with sets of nodes as the bits of one integer.

A set of a few hundred nodes is a Python integer of a few hundred bits: intersection, union and
count are one machine loop each, and cliques of a neighbourhood take microseconds a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def bit_set(inside: np.ndarray) -> int:
    """Bit i is set where `inside` (n,), bool, holds."""
    return int.from_bytes(np.packbits(inside, bitorder='little').tobytes(), 'little')


def bit_sets(adjacency: np.ndarray) -> list[int]:
    """One bit set a row of `adjacency` (n, n), bool."""
    packed = np.packbits(adjacency, axis=1, bitorder='little')
    width, whole = packed.shape[1], packed.tobytes()
    return [
        int.from_bytes(whole[row * width : (row + 1) * width], 'little')
        for row in range(len(adjacency))
    ]


def elements(bits: int) -> list[int]:
    """Positions of the set bits, ascending."""
    found = []
    while bits:
        lowest = bits & -bits
        found.append(lowest.bit_length() - 1)
        bits ^= lowest
    return found


def maximal_cliques(
    adjacency: Sequence[int], least: int = 1, within: int | None = None
) -> Iterator[int]:
    """Every clique that no further node fits into: Bron and Kerbosch 1973, with pivots.

    The first clique holds the lowest node that is in any; no recursion, so that cliques may be
    larger than Python's stack, and no branch is followed that is too small already.

    Args:
        adjacency: neighbours of each node as bit sets, symmetric, without the node itself.
        least: smallest size of interest.
        within: the nodes that there are, a bit set; None: all.

    Yields:
        Bit sets, each clique once, in an order that depends on nothing but the arguments.
    """
    left = (1 << len(adjacency)) - 1 if within is None else within
    done = 0
    while left:
        lowest = left & -left
        left ^= lowest
        near = adjacency[lowest.bit_length() - 1]
        yield from _extended(adjacency, lowest, left & near, done & near, least)
        done |= lowest


def first_clique(adjacency: Sequence[int], least: int, within: int | None = None) -> int:
    """The first of `maximal_cliques`, 0 if there is none."""
    return next(maximal_cliques(adjacency, least, within), 0)


def _extended(
    adjacency: Sequence[int], clique: int, candidates: int, excluded: int, least: int
) -> Iterator[int]:
    """Maximal cliques of `clique` and some candidates; those with an excluded node are known."""
    if 1 + candidates.bit_count() < least:
        return
    if not candidates:
        if not excluded:
            yield clique
        return
    branches = _branches(adjacency, candidates, excluded)
    stack = [(clique, 1, candidates, excluded, branches)]
    while stack:
        clique, size, candidates, excluded, branches = stack.pop()
        if not branches:
            continue
        lowest = branches & -branches
        near = adjacency[lowest.bit_length() - 1]
        after, known = candidates & near, excluded & near
        stack.append((clique, size, candidates ^ lowest, excluded | lowest, branches ^ lowest))
        if after:
            if size + 1 + after.bit_count() >= least:
                pivoted = _branches(adjacency, after, known)
                stack.append((clique | lowest, size + 1, after, known, pivoted))
        elif not known and size + 1 >= least:
            yield clique | lowest


def _branches(adjacency: Sequence[int], candidates: int, excluded: int) -> int:
    """Candidates that need a branch each: all but the neighbours of the best pivot.

    The best has the most neighbours among the candidates, the first such one if there are
    several; one that knows all others cannot be beaten.
    """
    others = candidates.bit_count() - 1
    best, most, rest = 0, -1, candidates
    while rest:
        lowest = rest & -rest
        rest ^= lowest
        near = candidates & adjacency[lowest.bit_length() - 1]
        count = near.bit_count()
        if count > most:
            best, most = near, count
            if count == others:
                break
    while excluded:
        lowest = excluded & -excluded
        excluded ^= lowest
        near = candidates & adjacency[lowest.bit_length() - 1]
        if near.bit_count() > most:
            best, most = near, near.bit_count()
            if most > others:
                break
    return candidates & ~best
