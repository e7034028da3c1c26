"""Runs of closures: many in a row that state the same are one statement, right or wrong as one.

A street that looks like another gives a hundred closures that agree with each other; one by one,
each outweighs odometry. What the rest of the graph suffers from a run as a whole tells it (after
the clusters of Latif et al., 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import chi2 as chi_squared
from scipy.stats import norm

from vpr_ros.maps import factors
from vpr_ros.maps.graph_edges import Edge, Node

ROW_M = 30.0  # way between two closures in a row, at both of their ends
FEWEST = 3  # closures of a run; fewer are judged by their own residuals
POSE = 6  # dimensions


def squared_limit(sigmas: float, dimensions: int = POSE) -> float:
    """A sum of squares as rare as this many standard deviations of one value."""
    return float(chi_squared.isf(2.0 * norm.sf(sigmas), dimensions))


def in_a_row(way_m: np.ndarray, before_m: np.ndarray) -> int | None:
    """Which of the closures before a closure goes on with: one that is near at both ends.

    Args:
        way_m: up to its newer and its older end, (2,).
        before_m: likewise of the others, (n, 2).

    Returns:
        Its row, that of the nearest older end; None: a run begins.
    """
    gaps = np.abs(before_m - way_m)
    near = np.flatnonzero((gaps <= ROW_M).all(axis=1))
    return int(near[np.argmin(gaps[near, 1])]) if len(near) else None


def runs_of(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[np.ndarray]:
    """Numbers of the closures of each run, in the order of time."""
    positions = np.array([node.pose.position_m for node in nodes])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    ways = np.append(0.0, np.cumsum(steps))
    closures = [number for number, edge in enumerate(edges) if edge.robust]
    closures.sort(key=lambda number: edges[number].start)
    ends = np.array([(edges[k].start, edges[k].end) for k in closures], int).reshape(-1, 2)
    at, first = ways[ends], 0
    begun: list[int] = []  # the run of each closure
    runs: list[list[int]] = []
    for row, number in enumerate(closures):
        while at[row, 0] - at[first, 0] > ROW_M:
            first += 1
        other = in_a_row(at[row], at[first:row])
        if other is None:
            runs.append([])
        begun.append(len(runs) - 1 if other is None else begun[first + other])
        runs[begun[row]].append(number)
    return [np.array(run) for run in runs]


def worst_run(
    runs: Sequence[np.ndarray], kept: np.ndarray, terms: Any, values: Any, sigmas: float
) -> np.ndarray | None:
    """The run that strains the rest of a graph most, and more than chance allows; None: none does.

    Two runs that contradict each other strain it both; the one that others contradict, too, does
    so more.

    Args:
        runs: numbers of edges.
        kept: (E,) which edges are believed; the terms begin with these, in their order.
        terms: gtsam.NonlinearFactorGraph, solved.
        values: that solve it.
        sigmas: what chance allows; each closure adds a dimension.
    """
    rows = np.cumsum(kept) - 1  # of edges among the terms
    linear = terms.linearize(values)
    parts = [linear.at(row) for row in range(linear.size())]
    worst, most = None, 0.0
    for run in runs:
        believed = run[kept[run]]
        if len(believed) < FEWEST:
            continue
        strain = _strain(parts, set(rows[believed].tolist()))
        if strain > max(most, squared_limit(sigmas, POSE + len(believed))):
            worst, most = run, strain
    return worst


def _strain(parts: Sequence[Any], run: set[int]) -> float:
    """Sum of squared sigmas that the others would be rid of without these."""
    gtsam = factors.load_gtsam()
    rest = gtsam.GaussianFactorGraph()
    for row, part in enumerate(parts):
        if row not in run:
            rest.push_back(part)
    free = rest.optimize()
    return 2.0 * (rest.error(gtsam.VectorValues.Zero(free)) - rest.error(free))
