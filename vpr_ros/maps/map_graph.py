"""The places of a map as a pose graph: its moments, odometry between them, closures."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.spatial.transform import Rotation, Slerp

from vpr_ros.config.graph import GraphConfig
from vpr_ros.maps.closures import FoundClosure
from vpr_ros.maps.pose_graph import Edge, Node, PoseGraph, edge_of, odometry_edge
from vpr_ros.records import Place, Pose

NS = 1_000_000_000
MAX_GAP_S = 2.0  # between two places around the moment of a closure


@dataclass(frozen=True)
class MapGraph:
    """Nodes are moments: places of one stamp, of several cameras, share one."""

    graph: PoseGraph  # odometry first, then `closures`, in their order
    nodes: dict[int, int]  # of places with a pose, by their id
    sessions: list[int]  # of the nodes
    closures: list[FoundClosure]
    unused: list[tuple[FoundClosure, str]]  # and why they are no edges

    @property
    def odometry(self) -> int:
        """How many of the edges are odometry."""
        return len(self.graph.edges) - len(self.closures)


def map_graph(
    places: Sequence[Place], closures: Iterable[FoundClosure], config: GraphConfig
) -> MapGraph:
    """Moments of each session in the order of time, joined by their recorded poses.

    Args:
        places: of a map.
        closures: between them; their newer moment may lie between two places.
        config: what odometry is worth.
    """
    moments = _Moments(places)
    edges = [
        odometry_edge(end - 1, end, moments.nodes[end - 1].pose, moments.nodes[end].pose, config)
        for end in range(1, len(moments.nodes))
        if moments.sessions[end] == moments.sessions[end - 1]
    ]
    used, unused = [], []
    for closure in closures:
        edge = moments.edge(closure)
        if isinstance(edge, str):
            unused.append((closure, edge))
        else:
            used.append(closure)
            edges.append(edge)
    graph = PoseGraph(moments.nodes, edges)
    return MapGraph(graph, moments.rows, moments.sessions, used, unused)


class _Moments:
    """The nodes, and how closures find theirs."""

    def __init__(self, places: Sequence[Place]) -> None:
        posed = [place for place in places if place.pose is not None]
        posed.sort(key=lambda place: (place.session_id, place.stamp_ns))
        self.nodes: list[Node] = []
        self.sessions: list[int] = []
        self.rows: dict[int, int] = {}
        for place in posed:
            same = self.nodes and self._key(-1) == (place.session_id, place.stamp_ns)
            if not same and place.pose is not None:
                self.nodes.append(Node(place.stamp_ns, place.pose))
                self.sessions.append(place.session_id)
            self.rows[place.id] = len(self.nodes) - 1
        self._keys = [self._key(row) for row in range(len(self.nodes))]

    def edge(self, closure: FoundClosure) -> Edge | str:
        """The closure as an edge, or why it is none."""
        end = self.rows.get(closure.to_place)
        if end is None:
            return f'place {closure.to_place} is not in the map, or has no pose'
        found = self._near(closure)
        if found is None:
            return 'no place was recorded about its time'
        start, moved = found
        if start == end:
            return 'it joins a moment with itself'
        edge = edge_of(closure.kind, closure.pose, closure.covariance, start, end)
        if edge is None:
            return 'it states no transform'
        return Edge(start, end, moved @ edge.pose, edge.covariance)

    def _near(self, closure: FoundClosure) -> tuple[int, Pose] | None:
        """The node nearest in time, and where the robot was in its frame at the closure's time."""
        session = closure.from_session
        sessions = sorted(set(self.sessions), reverse=True) if session is None else [session]
        found = (self._within(session, closure.from_stamp_ns) for session in sessions)
        return next((node for node in found if node is not None), None)

    def _within(self, session: int, stamp_ns: int) -> tuple[int, Pose] | None:
        after = bisect_left(self._keys, (session, stamp_ns))
        if after < len(self.nodes) and self._keys[after] == (session, stamp_ns):
            return after, Pose((0.0, 0.0, 0.0))
        if not 0 < after < len(self.nodes) or self.sessions[after - 1] != session:
            return None
        before, later = self.nodes[after - 1], self.nodes[after]
        if self.sessions[after] != session or later.stamp_ns - before.stamp_ns > MAX_GAP_S * NS:
            return None
        part = (stamp_ns - before.stamp_ns) / (later.stamp_ns - before.stamp_ns)
        nearest = after if part > 0.5 else after - 1
        here = _between(before.pose, later.pose, part)
        return nearest, self.nodes[nearest].pose.inverse() @ here

    def _key(self, row: int) -> tuple[int, int]:
        return self.sessions[row], self.nodes[row].stamp_ns


def _between(before: Pose, after: Pose, part: float) -> Pose:
    """The pose at `part` of the way."""
    turns = Slerp([0.0, 1.0], Rotation.from_quat([before.quaternion, after.quaternion]))
    x, y, z = (
        a + part * (b - a) for a, b in zip(before.position_m, after.position_m, strict=True)
    )
    qx, qy, qz, qw = turns(part).as_quat().tolist()
    return Pose((x, y, z), (qx, qy, qz, qw))
