"""A pose graph that grows with a drive: odometry in, closures in, corrected poses out. No node.

The map frame is that of odometry when the drive began. What is kept is bounded: when there are
`max_keyframes`, a quarter of them is merged into their neighbours, so that they lie evenly along
the way (the newest ones, and those that closures end at, are not), and the graph is built anew.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import matmul

import numpy as np

from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.maps.dead_reckoning import skew
from vpr_ros.maps.pose_graph import Edge, Node, PoseGraph, edge_of, gate_chi2, odometry_edge
from vpr_ros.nodes.sockets.closures import Answer, Closed, Closure
from vpr_ros.nodes.sockets.corrected_path import as_poses, bent, rows
from vpr_ros.nodes.sockets.keyframe_solver import KeyframeSolver, squared_sigmas
from vpr_ros.nodes.sockets.odometry_track import OdometryTrack
from vpr_ros.nodes.sockets.thinning import spaced, ways_m
from vpr_ros.records import Pose, Vector

Line = tuple[Vector, Vector]

HERE = Pose((0.0, 0.0, 0.0))
REMEMBERED = 10_000  # closures whose answer can be given again
PER_CLOSURE = 4  # keyframes that are kept for each closure that is
RECENT = 8  # the newest part of the keyframes, one in so many, is not merged
SHOWN = 100  # refused closures that are drawn
NS = 1_000_000_000


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
        self._limit = gate_chi2(config.graph.gate_sigmas)
        self._solver = KeyframeSolver(config.graph)
        self._stamps: list[int] = []
        self._odometry: list[Pose] = []
        self._links: list[Edge] = []  # the k-th leads from keyframe k to the next one
        self._poses: list[Pose] = []
        self._told: OrderedDict[tuple[int, int], Answer] = OrderedDict()
        self._doubted: deque[Closed] = deque(maxlen=2 * config.graph.overrule_closures)
        self.closed: list[Closed] = []
        self.refused: deque[tuple[int, int]] = deque(maxlen=SHOWN)  # stamps of both moments
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
        link, here = None, pose
        if self._stamps:
            before = self._odometry[-1]
            link = odometry_edge(len(self) - 1, len(self), before, pose, self._config.graph)
            here = self._poses[-1] @ link.pose
            self._links.append(link)
        self._solver.add(Node(stamp_ns, here), link)
        self._stamps.append(stamp_ns)
        self._odometry.append(pose)
        self._poses.append(here)
        self.keyframes += 1

    def close(self, closure: Closure) -> list[Answer]:
        """Add a closure, or say why not.

        Returns:
            What became of it, and then of earlier ones that are judged otherwise now.
        """
        before = self._told.get((closure.from_ns, closure.to_ns))
        if before is not None and before.closure_id == closure.id:
            return [before]
        if before is not None:
            same = f'the same two moments as closure {before.closure_id}'
            return [Answer(closure.id, False, same)]
        found = self._edge(closure)
        if isinstance(found, str):
            answers = [Answer(closure.id, False, found)]
        else:
            answers = self._judged(Closed(closure, found))
        if not answers[0].accepted and not isinstance(found, str):
            self.refused.append((closure.from_ns, closure.to_ns))
        self._told[closure.from_ns, closure.to_ns] = answers[0]
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return answers

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

    def as_graph(self) -> PoseGraph:
        """Keyframes as corrected, odometry, and the closures that were accepted."""
        nodes = [Node(s, p) for s, p in zip(self._stamps, self._poses, strict=True)]
        return PoseGraph(nodes, [*self._links, *(x.edge for x in self.closed)])

    def lines(self) -> tuple[list[Line], list[Line]]:
        """Both ends of the closures that were accepted, and of the last that were not."""
        at = [pose.position_m for pose in self._poses]
        accepted = [(at[x.edge.start], at[x.edge.end]) for x in self.closed]
        return accepted, [(at[self._nearest(a)], at[self._nearest(b)]) for a, b in self.refused]

    def _edge(self, closure: Closure) -> Edge | str:
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

    def _judged(self, mine: Closed) -> list[Answer]:
        """Ask the graph; those it admits, and those it does not bear any more beside them."""
        id_ = mine.closure.id
        try:
            accepted, chi2 = self._solver.close(mine.edge)
        except RuntimeError as error:  # of gtsam: the graph may be spoilt
            self._rebuild(range(len(self)))
            return [Answer(id_, False, f'the graph cannot be solved with it: {_first(error)}')]
        if not accepted:
            self._doubted.append(mine)
            contradicts = f'it contradicts odometry and the closures before: chi2 is {chi2:.0f}'
            return [Answer(id_, False, f'{contradicts}, the gate is at {self._limit:.0f}')]
        answers = {id_: Answer(id_, True, f'an edge of the graph now: chi2 was {chi2:.0f}')}
        agreed = [x for x in self._doubted if self._is_in(x)]
        self._doubted.clear()
        if agreed:
            answers |= self._overruled([*agreed, mine])
        self.closed += [*agreed, mine]
        if agreed:  # with its kernel, a graph that contradicts them would not follow
            pulled = KeyframeSolver.of(self.as_graph(), self._config.graph, kernel=False)
            self._poses = as_poses(pulled.table())
            self._rebuild(range(len(self)))
        self._poses = as_poses(self._solver.table())
        self.version += 1
        return list((answers | self._taken_out()).values())

    def _overruled(self, by: Sequence[Closed]) -> dict[int, Answer]:
        """Remove what a majority contradicts; it would hold the graph where it is."""
        out = [
            x for x in self.closed
            if sum(not self._solver.agree(x.edge, y.edge) for y in by) > len(by) / 2
        ]  # fmt: skip
        self._remove(out)
        return {
            x.closure.id: Answer(x.closure.id, True, 'later closures agree with it')
            for x in by[:-1]
        } | {
            x.closure.id: Answer(
                x.closure.id, False, f'taken out again: {len(by)} later closures contradict it'
            )
            for x in out
        }

    def _remove(self, out: Sequence[Closed]) -> None:
        self.refused += [(x.closure.from_ns, x.closure.to_ns) for x in out]
        ids = {x.closure.id for x in out}
        self.closed = [x for x in self.closed if x.closure.id not in ids]

    def _is_in(self, x: Closed) -> bool:
        return any(edge is x.edge for edge in self._solver.closures)

    def _taken_out(self) -> dict[int, Answer]:
        """Remove the closures that are beyond the gate now, by their ids."""
        chi2 = squared_sigmas([x.edge for x in self.closed], rows(self._poses))
        if (chi2 <= self._limit).all():
            return {}
        out = [
            (x, value)
            for x, value in zip(self.closed, chi2.tolist(), strict=True)
            if value > self._limit
        ]
        self._remove([x for x, _ in out])
        self._rebuild(range(len(self)))
        self._poses = as_poses(self._solver.table())
        words = 'taken out again: with later closures chi2 is'
        return {
            x.closure.id: Answer(x.closure.id, False, f'{words} {value:.0f}') for x, value in out
        }

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
        self._poses = [self._poses[k] for k in kept]
        self.closed = [
            replace(x, edge=replace(x.edge, start=place[x.edge.start], end=place[x.edge.end]))
            for x in self.closed
        ]
        self._doubted.clear()
        self._solver = KeyframeSolver.of(self.as_graph(), self._config.graph)

    def _chained(self, first: int, last: int, start: int) -> Edge:
        """Odometry from one keyframe to a later one, as the link of new numbers."""
        links = self._links[first:last]
        if len(links) == 1:
            return replace(links[0], start=start, end=start + 1)
        whole = reduce(matmul, (x.stated for x in links))
        covariance = (whole.covariance + whole.covariance.T) / 2
        return Edge(start, start + 1, whole.pose, covariance, robust=False)


def _first(error: RuntimeError) -> str:
    return (str(error).strip().splitlines() or ['gtsam gave up'])[0]
