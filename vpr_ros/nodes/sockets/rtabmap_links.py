"""From loop closures to links of RTAB-Map, and what became of them. Knows no node.

RTAB-Map's `add_link` answers nothing: whether it took a link is seen in the graphs that it
publishes afterwards.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np

from vpr_msgs.msg import LoopClosure, LoopClosureAck
from vpr_ros.config.sockets import RtabmapConfig
from vpr_ros.nodes.outputs.messages import NS
from vpr_ros.nodes.sockets.odometry_track import OdometryTrack
from vpr_ros.nodes.sockets.rtabmap_closure import Closure, read
from vpr_ros.nodes.sockets.rtabmap_edge import Motion, information
from vpr_ros.nodes.sockets.rtabmap_ids import NodeTable, pair
from vpr_ros.records import Pose

PENDING, ACCEPTED = LoopClosureAck.PENDING, LoopClosureAck.ACCEPTED
REJECTED, UNKNOWN = LoopClosureAck.REJECTED, LoopClosureAck.UNKNOWN
WAITING = 100  # closures; more than RTAB-Map, at one image a second, can ever take
REMEMBERED = 1000  # pairs of nodes that RTAB-Map refused


@dataclass(frozen=True)
class Answer:
    """What became of a closure: a status of LoopClosureAck and one sentence."""

    closure_id: int
    status: int
    reason: str


@dataclass(frozen=True)
class Link:
    """A link to ask for: pose of the older node in the newer one."""

    closure_id: int
    from_id: int
    to_id: int
    pose: Pose
    information: np.ndarray = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return f'link {self.from_id} -> {self.to_id}'


@dataclass
class Watched:
    """A link that RTAB-Map was asked for, and the closures that hang on it."""

    link: Link
    closures: list[int]
    asked_s: float
    answered_s: float | None = None
    graphs: int = 0  # with the newer node and without the link


class Links:
    """Closures in, links out one at a time, answers when the graph tells.

    Times `now_ns` are of the ROS clock, as stamps are; times in seconds are of a steady one.
    """

    def __init__(self, config: RtabmapConfig, track: OdometryTrack) -> None:
        self.nodes = NodeTable()
        self.motion = Motion(config, track)
        self.wants_map = False  # a place's stamp is not known
        self.counts = {PENDING: 0, ACCEPTED: 0, REJECTED: 0, UNKNOWN: 0}
        self.asked = 0  # links
        self.last: Answer | None = None
        self._config = config
        self._waiting: deque[Closure] = deque()
        self._watched: dict[tuple[int, int], Watched] = {}
        self._refused: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._calling: Watched | None = None
        self._answers: list[Answer] = []

    @property
    def calling(self) -> bool:
        """Whether `add_link` was asked and has not answered."""
        return self._calling is not None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def answers(self) -> list[Answer]:
        """What became of closures since it was asked last."""
        told, self._answers = self._answers, []
        return told

    def take(self, message: LoopClosure, now_ns: int) -> None:
        """Take a closure, or refuse it."""
        closure = read(message, self._config, now_ns)
        if isinstance(closure, str):
            self._answer(message.closure_id, REJECTED, closure)
            return
        if len(self._waiting) == WAITING:
            dropped = self._waiting.popleft()
            self._answer(
                dropped.id, UNKNOWN, f'dropped, as {WAITING} newer closures wait for RTAB-Map'
            )
        self._waiting.append(closure)

    def next(self, now_ns: int, now_s: float) -> Link | None:
        """The link to ask for now, if any; `called` or `gave_up` has to follow."""
        if self._calling:
            return None
        for closure in list(self._waiting):
            link = self._settle(closure, now_ns)
            if link is None:
                continue
            self._calling = Watched(link, [closure.id], now_s)
            self._watched[pair(link.from_id, link.to_id)] = self._calling
            self.asked += 1
            self._answer(closure.id, PENDING, f'asked RTAB-Map for {link.name}')
            return link
        return None

    def called(self, now_s: float) -> None:
        """`add_link` answered."""
        if self._calling:
            self._calling.answered_s = now_s
        self._calling = None

    def gave_up(self, why: str) -> None:
        """`add_link` failed or did not answer: nobody knows what became of the link."""
        if self._calling:
            self._close(self._calling, UNKNOWN, f'{self._calling.link.name}: {why}')
        self._calling = None

    def graph(self, numbers: list[int], ends: list[tuple[int, int]]) -> None:
        """Look for the links that were asked for in a graph that RTAB-Map published."""
        nodes, linked = set(numbers), {pair(*x) for x in ends}
        for key, watched in list(self._watched.items()):
            if key in linked:
                self._close(watched, ACCEPTED, f'{watched.link.name} is in the graph')
            elif watched.answered_s is not None and watched.link.from_id in nodes:
                watched.graphs += 1
                if watched.graphs >= self._config.refused_after_graphs:
                    self._refuse(watched)

    def look(self, now_ns: int, now_s: float, there: bool) -> None:
        """Give up what waited too long.

        Args:
            now_ns: ROS time.
            now_s: steady time.
            there: whether `add_link` can be called.
        """
        for closure in list(self._waiting):
            if now_ns - closure.from_ns > self._config.max_age_s * NS:
                self._waiting.remove(closure)
                self._answer(closure.id, *self._why_late(closure, there))
        calling = self._calling
        if calling and now_s - calling.asked_s > self._config.call_timeout_s:
            self.gave_up(f'add_link did not answer in {self._config.call_timeout_s:g} s')
        for watched in list(self._watched.values()):
            since_s = watched.answered_s
            if since_s is not None and now_s - since_s > self._config.ack_timeout_s:
                self._close(watched, UNKNOWN, self._no_word(watched))

    def forget(self) -> None:
        """RTAB-Map began anew: its numbers mean other nodes now."""
        for watched in list(self._watched.values()):
            self._close(watched, UNKNOWN, f'{watched.link.name}: RTAB-Map began anew')
        self._refused.clear()
        self._calling = None

    def _settle(self, closure: Closure, now_ns: int) -> Link | None:
        """A link for a closure that need not wait, or an answer without one, or neither."""
        if not self._processed(closure):
            return None
        newer, older = self.nodes.nearest(closure.from_ns), self.nodes.nearest(closure.to_ns)
        motion, frame = self.motion.between, closure.frame
        ahead = motion(newer[1], closure.from_ns, frame) if newer else None
        behind = motion(closure.to_ns, older[1], frame) if older else None
        if ahead is None or behind is None:
            self.wants_map = self.wants_map or behind is None
            return None  # until it is too old: another node may come, or be learnt
        self._waiting.remove(closure)
        ends = newer[0], older[0]
        if self._decided(closure, *ends):
            return None
        edge = ahead @ closure.stated @ behind
        matrix = information(edge)
        if matrix is None:
            self._answer(closure.id, REJECTED, 'its covariance is not sound, nothing was sent')
            return None
        return Link(closure.id, *ends, edge.pose, matrix)

    def _processed(self, closure: Closure) -> bool:
        """Whether RTAB-Map has come to the image, so that no nearer node will follow."""
        newest_ns = self.nodes.newest_ns
        return newest_ns is not None and newest_ns >= closure.from_ns

    def _decided(self, closure: Closure, newer: int, older: int) -> bool:
        """Whether the answer is known without asking RTAB-Map."""
        name, key = f'nodes {newer} and {older}', pair(newer, older)
        if newer == older:
            self._answer(closure.id, REJECTED, f'both images belong to node {newer}')
        elif newer < older:  # RTAB-Map, localising, looks for the newer one's pose and would end
            self._answer(closure.id, REJECTED, f'of {name} the newer image has the older node')
        elif key in self._watched:
            self._watched[key].closures.append(closure.id)
            self._answer(closure.id, PENDING, f'{name} are being linked already')
        elif key in self.nodes.linked:
            self._answer(closure.id, ACCEPTED, f'{name} were linked already')
        elif key in self._refused:
            self._answer(closure.id, REJECTED, f'RTAB-Map refused {name} before')
        else:
            return False
        return True

    def _why_late(self, closure: Closure, there: bool) -> tuple[int, str]:
        patience = f'for {self._config.max_age_s:g} s'
        if self.nodes.newest_ns is None:
            return UNKNOWN, f'RTAB-Map said nothing {patience}: see {self._config.rtabmap}/info'
        if not self._processed(closure):
            return UNKNOWN, f'RTAB-Map has come to no image as new as this one {patience}'
        if not there:
            return UNKNOWN, f'the service {self._config.rtabmap}/add_link is not there'
        for which, stamp in (('newer', closure.from_ns), ('older', closure.to_ns)):
            found = self.nodes.nearest(stamp)
            if found is None:
                return REJECTED, 'RTAB-Map has no nodes that it could link'
            if self.motion.between(found[1], stamp, closure.frame) is None:
                return REJECTED, (
                    f'RTAB-Map has no node near the {which} image: the closest, {found[0]}, is '
                    f'{abs(found[1] - stamp) / NS:.2f} s away'
                )
        return UNKNOWN, f'RTAB-Map was busy with other links {patience}'

    def _no_word(self, watched: Watched) -> str:
        return (
            f'{watched.link.name} was seen in none of {watched.graphs} graphs with node '
            f'{watched.link.from_id} in {self._config.ack_timeout_s:g} s: RTAB-Map publishes none '
            'while the robot stands'
        )

    def _refuse(self, watched: Watched) -> None:
        link = watched.link
        self._refused[pair(link.from_id, link.to_id)] = None
        while len(self._refused) > REMEMBERED:
            self._refused.popitem(last=False)
        self._close(
            watched, REJECTED,
            f'{link.name} is not in {watched.graphs} graphs since: its log says why, such as '
            'RGBD/OptimizeMaxError',
        )  # fmt: skip

    def _close(self, watched: Watched, status: int, reason: str) -> None:
        """Answer for a link, once: the graph may be quicker than `add_link`."""
        if self._watched.pop(pair(watched.link.from_id, watched.link.to_id), None) is None:
            return
        for closure_id in watched.closures:
            self._answer(closure_id, status, reason)

    def _answer(self, closure_id: int, status: int, reason: str) -> None:
        self.last = Answer(closure_id, status, reason)
        self.counts[status] += 1
        self._answers.append(self.last)
