"""Pose graphs and trajectories as the files that others read: g2o and TUM."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vpr_ros.errors import GraphError
from vpr_ros.maps.graph_edges import Edge, Node, PoseGraph, require_graph
from vpr_ros.records import Pose

VERTEX, EDGE, STAMP = 'VERTEX_SE3:QUAT', 'EDGE_SE3:QUAT', '# stamp_ns'
UPPER = np.triu_indices(6)
NS = 1_000_000_000


def write_g2o(path: Path | str, graph: PoseGraph) -> None:
    """Write vertices and edges in three dimensions, whole or not at all.

    Information is of x, y, z and rotation about them in radians, as GTSAM and Ceres read it.
    Stamps are comments, which other programs skip. The format knows no robust edges: those that
    are not between one node and the next are read as closures.

    Raises:
        GraphError: the graph is not sound, or the file cannot be written.
    """
    require_graph(graph)
    lines = []
    for number, node in enumerate(graph.nodes):
        lines.append(f'{STAMP} {number} {node.stamp_ns}')
        lines.append(f'{VERTEX} {number} {_numbers(node.pose)}')
    for edge in graph.edges:
        information = ' '.join(map(repr, _information(edge)[UPPER].tolist()))
        lines.append(f'{EDGE} {edge.start} {edge.end} {_numbers(edge.pose)} {information}')
    write_text(path, lines)


def read_g2o(path: Path | str) -> PoseGraph:
    """The inverse of `write_g2o`; vertices may have any numbers, and need no stamps.

    Raises:
        GraphError: there is no such file, or it is no such graph.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise GraphError(f'cannot read the pose graph {path}: {error}') from None
    stamps: dict[int, int] = {}
    poses: dict[int, Pose] = {}
    edges: list[list[str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            _take(line, stamps, poses, edges)
        except ValueError as error:
            raise GraphError(
                f'{path}, line {number}, is no line of a pose graph: {error}'
            ) from None
    rows = {vertex: row for row, vertex in enumerate(poses)}
    nodes = [Node(stamps.get(vertex, 0), pose) for vertex, pose in poses.items()]
    try:
        graph = PoseGraph(nodes, [_edge(words, rows) for words in edges])
    except (KeyError, ValueError, np.linalg.LinAlgError) as error:
        raise GraphError(f'{path} has an edge that is none: {error}') from None
    require_graph(graph)
    return graph


def write_tum(path: Path | str, nodes: Iterable[Node]) -> None:
    """Write `stamp x y z qx qy qz qw`, seconds with nine digits, whole or not at all.

    Raises:
        GraphError: the file cannot be written.
    """
    lines = []
    for node in nodes:
        seconds, rest = divmod(node.stamp_ns, NS)
        lines.append(f'{seconds}.{rest:09d} {_numbers(node.pose)}')
    write_text(path, lines)


def _take(
    line: str, stamps: dict[int, int], poses: dict[int, Pose], edges: list[list[str]]
) -> None:
    words = line.split()
    if line.startswith(STAMP):
        stamps[int(words[2])] = int(words[3])
    elif words and words[0] == VERTEX:
        poses[int(words[1])] = _pose(words[2:9])
    elif words and words[0] == EDGE:
        edges.append(words[1:])


def _edge(words: list[str], rows: dict[int, int]) -> Edge:
    start, end = rows[int(words[0])], rows[int(words[1])]
    pose, values = _pose(words[2:9]), [float(word) for word in words[9:]]
    if len(values) != len(UPPER[0]):
        raise ValueError(f'expected {len(UPPER[0])} numbers of information, found {len(values)}')
    information = np.zeros((6, 6))
    information[UPPER] = values
    information = information + information.T - np.diag(information.diagonal())
    turn = _to_end(pose)
    covariance = turn.T @ np.linalg.inv(information) @ turn
    return Edge(start, end, pose, (covariance + covariance.T) / 2, robust=end != start + 1)


def _information(edge: Edge) -> np.ndarray:
    """In the axes of the edge's end, as the format has it."""
    turn = _to_end(edge.pose)
    return np.linalg.inv(turn @ edge.covariance @ turn.T)


def _to_end(pose: Pose) -> np.ndarray:
    """From errors in the axes of an edge's start to those of its end."""
    return np.kron(np.eye(2), pose.rotation().as_matrix().T)


def _numbers(pose: Pose) -> str:
    return ' '.join(map(repr, map(float, (*pose.position_m, *pose.quaternion))))


def _pose(words: Sequence[str]) -> Pose:
    values = [float(word) for word in words]
    length = math.hypot(*values[3:])
    if len(values) != 7 or not 0.5 < length < 2.0:
        raise ValueError('expected a position and a unit quaternion')
    x, y, z, *quaternion = values
    qx, qy, qz, qw = (value / length for value in quaternion)
    return Pose((x, y, z), (qx, qy, qz, qw))


def write_text(path: Path | str, lines: Iterable[str]) -> None:
    """Write lines, whole or not at all.

    Raises:
        GraphError: the file cannot be written.
    """
    part = Path(f'{path}.part')
    try:
        with part.open('w', encoding='utf-8') as file:
            file.writelines(f'{line}\n' for line in lines)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise GraphError(f'cannot write {path}: {error.strerror}') from None
