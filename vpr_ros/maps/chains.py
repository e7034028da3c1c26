"""Parts of a pose graph: chains of odometry, and how closures lay one over the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vpr_ros.maps.graph_edges import Edge, PoseGraph
from vpr_ros.records import Pose

TRIED = 50  # closures of a chain that are asked where it lies
NEAR_M = 10.0  # a closure that is further off speaks for another place of the chain
CLEARLY = 1.5  # times the votes, from which on a chain is moved at all


def roots(count: int, edges: Iterable[Edge]) -> list[int]:
    """The first node of the connected part of each of `count` nodes."""
    first = list(range(count))

    def root(node: int) -> int:
        while first[node] != node:
            first[node] = first[first[node]]
            node = first[node]
        return node

    for edge in edges:
        one, other = sorted((root(edge.start), root(edge.end)))
        first[other] = one
    return [root(node) for node in range(count)]


def laid_over(graph: PoseGraph) -> list[Pose]:
    """Poses of the nodes, where each chain of odometry was moved to where its closures say.

    Every session begins in a frame of its own, too far off for a solver. The chain that starts
    first stays; the others follow, those with most closures to what lies already before those
    with fewer, each by the closure that most others agree with.
    """
    poses = [node.pose for node in graph.nodes]
    chains = roots(len(poses), [edge for edge in graph.edges if not edge.robust])
    bridges = [edge for edge in graph.edges if chains[edge.start] != chains[edge.end]]
    placed, waiting = {chains[0]} if chains else set(), set(chains[1:])
    while waiting := waiting - placed:
        chain, edges = _next(waiting, placed, bridges, chains)
        if not edges:
            placed |= waiting  # no closure leads there
            continue
        move = _agreed(edges, poses, chains, chain)
        if move is not None:
            for node, root in enumerate(chains):
                if root == chain:
                    poses[node] = move @ poses[node]
        placed.add(chain)
    return poses


def put_back(poses: Sequence[Pose], graph: PoseGraph, kept: np.ndarray) -> list[Pose]:
    """Poses of which chains that no kept closure joins to another start where they did before.

    Args:
        poses: of the nodes, anywhere.
        graph: where the nodes were.
        kept: (E,) which edges are believed.
    """
    count = len(poses)
    believed = [edge for edge, keep in zip(graph.edges, kept, strict=True) if keep]
    chains = roots(count, [edge for edge in graph.edges if not edge.robust])
    joined = {
        chains[end]
        for edge in believed
        if chains[edge.start] != chains[edge.end]
        for end in (edge.start, edge.end)
    }
    back = {
        chain: graph.nodes[chain].pose @ poses[chain].inverse() for chain in set(chains) - joined
    }
    return [
        back[chain] @ pose if chain in back else pose
        for chain, pose in zip(chains, poses, strict=True)
    ]


def _next(
    waiting: set[int], placed: set[int], bridges: Sequence[Edge], chains: Sequence[int]
) -> tuple[int, list[Edge]]:
    """The chain with most closures to those that lie already, and these closures."""
    found: dict[int, list[Edge]] = {chain: [] for chain in sorted(waiting)}
    for edge in bridges:
        ends = chains[edge.start], chains[edge.end]
        for chain, other in (ends, ends[::-1]):
            if chain in found and other in placed:
                found[chain].append(edge)
    return max(found.items(), key=lambda item: len(item[1]))


def _agreed(
    edges: Sequence[Edge], poses: Sequence[Pose], chains: Sequence[int], chain: int
) -> Pose | None:
    """The move of a chain that most closures agree with; None: it lies as well where it is.

    Args:
        edges: between the chain and what lies.
        poses: of all nodes.
        chains: of all nodes.
        chain: the one.
    """
    own, target = [], []  # poses of the chain, and what they should become
    for edge in edges:
        if chains[edge.start] == chain:
            own.append(poses[edge.start])
            target.append(poses[edge.end] @ edge.pose.inverse())
        else:
            own.append(poses[edge.end])
            target.append(poses[edge.start] @ edge.pose)
    before = np.array([pose.position_m for pose in own])
    wanted = np.array([pose.position_m for pose in target])
    best, votes = None, CLEARLY * _votes(before, wanted)
    for number in np.unique(np.linspace(0, len(edges) - 1, TRIED).astype(int)):
        move = target[number] @ own[number].inverse()
        gained = _votes(move.rotation().apply(before) + np.array(move.position_m), wanted)
        if gained > votes:
            best, votes = move, gained
    return best


def _votes(positions_m: np.ndarray, wanted_m: np.ndarray) -> float:
    squares = ((positions_m - wanted_m) ** 2).sum(axis=1)
    return float((1.0 / (1.0 + squares / NEAR_M**2)).sum())
