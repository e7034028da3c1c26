"""A pose graph that grows with a drive: odometry in, closures in, corrected poses out. No node.

The map frame is that of odometry when the drive began. What is kept is bounded: when there are
`max_keyframes`, a quarter of them is merged into their neighbours, so that they lie evenly along
the way (the newest ones, and those that closures end at, are not), and the graph is built anew.
It judges nothing: `drive_closures.py` does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import matmul

import numpy as np

from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.maps.dead_reckoning import Uncertain, skew
from vpr_ros.maps.incremental import Incremental, squared_sigmas
from vpr_ros.maps.look_alikes import look_alike_odds
from vpr_ros.maps.pose_graph import Edge, Node, PoseGraph, edge_of, odometry_edge
from vpr_ros.maps.runs import in_a_row
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.closures import Closed, Closure
from vpr_ros.nodes.sockets.corrected_path import as_poses, bent, rows
from vpr_ros.nodes.sockets.odometry_track import OdometryTrack
from vpr_ros.nodes.sockets.thinning import spaced, ways_m
from vpr_ros.records import Pose

HERE = Pose((0.0, 0.0, 0.0))
PER_CLOSURE = 4  # keyframes that are kept for each closure that is
RECENT = 8  # the newest part of the keyframes, one in so many, is not merged
LOST_M, LOST_RAD = 1000.0, 3.0  # standard deviations of odometry that is believed no more


class KeyframeGraph:
    """One drive. One thread at a time."""

    def __init__(self, config: LoopClosingConfig, track: OdometryTrack) -> None:
        """Begin a drive.

        Args:
            config: its settings.
            track: odometry of the drive, which another thread goes on writing.

        Raises:
            GraphError: gtsam is not installed.
        """
        self._config, self._track = config, track
        self._solver = Incremental(config.graph)
        self._stamps: list[int] = []
        self._odometry: list[Pose] = []
        self._way_m: list[float] = []  # up to each keyframe, with those that were merged
        self._links: list[Edge] = []  # the k-th leads from keyframe k to the next one
        self._poses: list[Pose] = []
        self.closed: list[Closed] = []
        self.keyframes = 0  # of the drive, with those that were merged
        self.version = 0  # counts the corrections

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        return self._stamps[-1] if self._stamps else None

    def add(self, stamp_ns: int, pose: Pose) -> None:
        """Append a keyframe.

        Args:
            stamp_ns: later than all before.
            pose: of the base in the frame of odometry.
        """
        if len(self) >= self._config.max_keyframes:
            self._thin()
        link, here, way_m = None, pose, 0.0
        if self._stamps:
            before = self._odometry[-1]
            link = odometry_edge(len(self) - 1, len(self), before, pose, self._config.graph)
            here = self._poses[-1] @ link.pose
            way_m = self._way_m[-1] + before.distance_m(pose)
            self._links.append(link)
        self._solver.add(Node(stamp_ns, here), link)
        self._stamps.append(stamp_ns)
        self._odometry.append(pose)
        self._way_m.append(way_m)
        self._poses.append(here)
        self.keyframes += 1

    def edge(self, closure: Closure) -> Edge | str:
        """The closure between the nearest keyframes, or why there is none."""
        bare = edge_of(closure.kind, closure.pose, closure.covariance)
        if bare is None:
            return 'it has no transform: nothing can be optimised with it'
        ends = []
        for which, stamp_ns in (('newer', closure.from_ns), ('older', closure.to_ns)):
            pose = self._track.at(stamp_ns)
            if pose is None or not self._stamps:
                return f'its {which} moment is not in the odometry of this drive: ' + (
                    self._outside(stamp_ns)
                )
            ends.append((self._nearest(stamp_ns), pose))
        (start, newer), (end, older) = ends
        if start == end:
            return 'both of its moments belong to one keyframe'
        graph = self._config.graph
        ahead = odometry_edge(0, 0, self._odometry[start], newer, graph).stated
        back = odometry_edge(0, 0, older, self._odometry[end], graph).stated
        folded = ahead @ bare.stated @ back
        covariance = (folded.covariance + folded.covariance.T) / 2
        return Edge(start, end, folded.pose, covariance, robust=True)

    def ways_m(self, closures: Sequence[Closure]) -> np.ndarray:
        """Way up to the newer and the older moment of each, (n, 2)."""
        stamps = np.array([(x.from_ns, x.to_ns) for x in closures]).reshape(-1, 2)
        return np.interp(stamps, self._stamps, self._way_m)

    def goes_on(self, closure: Closure) -> bool:
        """Whether a closure of the graph is near it at both ends."""
        way_m = self.ways_m([closure])[0]
        return in_a_row(way_m, self.ways_m([x.closure for x in self.closed])) is not None

    def expected(self, edge: Edge, through: Edge | None = None) -> Uncertain:
        """What the graph, or odometry and one other closure, says of a closure's ends."""
        return self._solver.expected(edge, through)

    def odds(self, edge: Edge, expected: Uncertain) -> float:
        """How much better a closure fits than one to a place that looks alike would."""
        positions = np.array([pose.position_m for pose in self._poses])
        return look_alike_odds(self._poses[edge.start], expected, edge.stated, positions)

    def admit(self, new: Sequence[Closed], pull: bool = False) -> None:
        """Take closures.

        Args:
            new: of this graph.
            pull: they may be far off, where their kernel would let go of them.

        Raises:
            RuntimeError: of gtsam; the graph is as it was.
        """
        before = self.closed, self._poses
        self.closed = [*self.closed, *new]
        try:
            if pull:
                pulled = Incremental.of(self.as_graph(), self._config.graph, kernel=False)
                self._poses = as_poses(pulled.table())
                self._rebuild(range(len(self)))
            else:
                self._solver.admit([x.edge for x in new])
            self._poses = as_poses(self._solver.table())
        except Exception:
            self.closed, self._poses = before
            self._rebuild(range(len(self)))
            raise
        self.version += 1

    def remove(self, ids: Collection[int], poses: Mapping[int, Pose] | None = None) -> None:
        """Take closures out again.

        Args:
            ids: of closures.
            poses: of keyframes, by their stamps, about where they are without them.
        """
        self.closed = [x for x in self.closed if x.closure.id not in ids]
        if poses:
            self._poses = self._led_on(poses)
        self._rebuild(range(len(self)))
        self._poses = as_poses(self._solver.table())
        self.version += 1

    def strained(self) -> np.ndarray:
        """How far each closure of `closed` is from the graph, squared sigmas (n,)."""
        if not self.closed:
            return np.zeros(0)
        return squared_sigmas([x.edge for x in self.closed], rows(self._poses))

    def distrust_odometry(self, stamp_ns: int) -> None:
        """Believe nothing of the step of odometry before a moment; `admit` with `pull` follows."""
        row = max(1, self._nearest(stamp_ns)) - 1
        lost = np.diag([LOST_M**2] * 3 + [LOST_RAD**2] * 3)
        self._links[row] = replace(self._links[row], covariance=self._links[row].covariance + lost)

    def correction(self) -> Pose:
        """Pose of the frame of odometry in the map's, by the newest keyframe."""
        return self._poses[-1] @ self._odometry[-1].inverse() if self._stamps else HERE

    def covariance(self) -> np.ndarray:
        """Covariance (6, 6) of `correction`, in the axes of the map; there is a keyframe.

        That of the newest keyframe, its rotation acting at the origin of odometry.
        """
        here, shift = self._poses[-1], self.correction().position_m
        turned = np.kron(np.eye(2), here.rotation().as_matrix())
        lever = np.eye(6)
        lever[:3, 3:] = -skew(np.subtract(shift, here.position_m))
        lever = lever @ turned
        covariance = lever @ self._solver.spread(len(self) - 1) @ lever.T
        return (covariance + covariance.T) / 2

    def path(self) -> tuple[np.ndarray, np.ndarray]:
        """The corrected way: stamps (n,) int64, and poses (n, 7) of the base in the map."""
        stamps, poses = self._track.knots()
        if not len(self) or not len(stamps):
            return stamps[:0], poses[:0]
        anchors = np.array(self._stamps, np.int64)
        return stamps, bent((stamps, poses), anchors, rows(self._odometry), rows(self._poses))

    def at(self, stamp_ns: int) -> Pose:
        """The keyframe nearest to a moment, as corrected."""
        return self._poses[self._nearest(stamp_ns)]

    def as_graph(self) -> PoseGraph:
        """Keyframes as corrected, odometry, and the closures that were accepted."""
        nodes = [Node(s, p) for s, p in zip(self._stamps, self._poses, strict=True)]
        return PoseGraph(nodes, [*self._links, *(x.edge for x in self.closed)])

    def as_driven(self) -> PoseGraph:
        """Keyframes where odometry says, and its links, but for those that are not believed."""
        nodes = [Node(s, p) for s, p in zip(self._stamps, self._odometry, strict=True)]
        return PoseGraph(nodes, [x for x in self._links if x.covariance[0, 0] < LOST_M**2])

    def _outside(self, stamp_ns: int) -> str:
        oldest, newest = self._track.oldest_ns(), self._track.newest_ns()
        if oldest is None or newest is None or not self._stamps:
            return 'there is none yet'
        if stamp_ns < oldest:
            return f'it is {(oldest - stamp_ns) / NS:.1f} s older than all of it'
        return f'it is {(stamp_ns - newest) / NS:.2f} s newer than all of it'

    def _nearest(self, stamp_ns: int) -> int:
        after = int(np.searchsorted(self._stamps, stamp_ns))
        around = [k for k in (after - 1, after) if 0 <= k < len(self)]
        return min(around, key=lambda k: abs(self._stamps[k] - stamp_ns))

    def _led_on(self, poses: Mapping[int, Pose]) -> list[Pose]:
        """Poses of the keyframes; those that are not known follow the ones before by odometry."""
        led = [poses.get(self._stamps[0], self._poses[0])]
        for link, stamp_ns in zip(self._links, self._stamps[1:], strict=True):
            led.append(poses.get(stamp_ns) or led[-1] @ link.pose)
        return led

    def _thin(self) -> None:
        """Merge keyframes until a quarter of what may be kept is free."""
        most, way_m = self._config.max_keyframes, ways_m(self._odometry, self._config.graph)
        if len(self.closed) > most // PER_CLOSURE:
            self.closed.sort(key=lambda x: x.edge.start)
            ends = way_m[[x.edge.start for x in self.closed]]
            free = np.zeros(len(ends), bool)
            kept = spaced(ends, free, 3 * most // PER_CLOSURE // 4)
            self.closed = [self.closed[k] for k in kept]
        must = np.zeros(len(self), bool)
        must[[0, *(k for x in self.closed for k in (x.edge.start, x.edge.end))]] = True
        must[len(self) - len(self) // RECENT :] = True
        self._rebuild(spaced(way_m, must, 3 * most // 4))

    def _rebuild(self, kept: Sequence[int]) -> None:
        """The graph of some keyframes; the first is among them."""
        place = {old: new for new, old in enumerate(kept)}
        self._links = [self._chained(a, b, new) for new, (a, b) in enumerate(pairwise(kept))]
        self._stamps = [self._stamps[k] for k in kept]
        self._odometry = [self._odometry[k] for k in kept]
        self._way_m = [self._way_m[k] for k in kept]
        self._poses = [self._poses[k] for k in kept]
        self.closed = [
            replace(x, edge=replace(x.edge, start=place[x.edge.start], end=place[x.edge.end]))
            for x in self.closed
        ]
        self._solver = Incremental.of(self.as_graph(), self._config.graph)

    def _chained(self, first: int, last: int, start: int) -> Edge:
        """Odometry from one keyframe to a later one, as the link of new numbers."""
        links = self._links[first:last]
        if len(links) == 1:
            return replace(links[0], start=start, end=start + 1)
        whole = reduce(matmul, (x.stated for x in links))
        covariance = (whole.covariance + whole.covariance.T) / 2
        return Edge(start, start + 1, whole.pose, covariance, robust=False)
