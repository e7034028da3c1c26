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

ROW_M = 15.0  # way between two closures in a row, at both of their ends
FEWEST = 2  # closures of a run; one alone is judged by its own residual
POSE = 6  # dimensions


def squared_limit(sigmas: float, dimensions: int = POSE) -> float:
    """A sum of squares as rare as this many standard deviations of one value."""
    return float(chi_squared.isf(2.0 * norm.sf(sigmas), dimensions))


def runs_of(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[np.ndarray]:
    """Numbers of the closures of each run, in the order of time."""
    positions = np.array([node.pose.position_m for node in nodes])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    ways = np.append(0.0, np.cumsum(steps))
    closures = [number for number, edge in enumerate(edges) if edge.robust]
    closures.sort(key=lambda number: edges[number].start)
    runs: list[list[int]] = []
    for number in closures:
        last = edges[runs[-1][-1]] if runs else None
        edge = edges[number]
        if last is not None and all(
            abs(ways[one] - ways[other]) <= ROW_M
            for one, other in ((edge.start, last.start), (edge.end, last.end))
        ):
            runs[-1].append(number)
        else:
            runs.append([number])
    return [np.array(run) for run in runs]


def worst_run(
    runs: Sequence[np.ndarray], kept: np.ndarray, terms: Any, values: Any, sigmas: float
) -> np.ndarray | None:
    """The run that strains the rest of a graph most, beyond what chance allows; None: none does.

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
    worst, most = None, 1.0
    for run in runs:
        believed = run[kept[run]]
        if len(believed) < FEWEST:
            continue
        strain = _strain(parts, set(rows[believed].tolist()))
        share = strain / squared_limit(sigmas, POSE + len(believed))
        if share > most:
            worst, most = run, share
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
