"""Odometry and closures as they arrive, sorted into work for the thread of the graph. No node."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from nav_msgs.msg import Odometry

from vpr_msgs.msg import LoopClosure, VprStatus
from vpr_ros.config.sockets import LoopClosingConfig
from vpr_ros.maps.pose_graph import Optimized
from vpr_ros.nodes.outputs.messages import NS, pose_from_message, stamp_ns
from vpr_ros.nodes.sockets.closures import Answer, Closure, read_closure
from vpr_ros.nodes.sockets.drive_closures import DriveClosures, Question
from vpr_ros.nodes.sockets.judging import Judge, judge_here
from vpr_ros.nodes.sockets.keyframe_graph import KeyframeGraph
from vpr_ros.nodes.sockets.odometry_track import OdometryTrack
from vpr_ros.records import Pose

JUMP_NS = NS  # odometry that much older than the newest says that the clock was set back
LEAST_STEP_S = 0.01  # speeds over less are noise
NEAR_M = 1.0  # a step this short is no jump, however fast
WAITING = 100  # closures that wait for odometry

Act = Callable[[], None]


class Drive:
    """The odometry of one drive, its graph and its closures, which belong to the worker."""

    def __init__(self, config: LoopClosingConfig) -> None:
        self.track = OdometryTrack()
        self.graph = KeyframeGraph(config, self.track)
        self.closures = DriveClosures(config.graph, self.graph)
        self.correction = Pose((0.0, 0.0, 0.0))  # of the graph when it was last looked at
        self.moved_m = 0.0  # by which the newest keyframe jumped with the last correction
        self.over = False

    def close(self, closure: Closure) -> list[Answer]:
        """In the worker: `DriveClosures.close`, and what it did to the correction."""
        return self._noting(lambda: self.closures.close(closure))

    def adopt(self, question: Question, found: Optimized) -> list[Answer]:
        """In the worker: `DriveClosures.adopt`, likewise."""
        return self._noting(lambda: self.closures.adopt(question, found))

    def _noting(self, act: Callable[[], list[Answer]]) -> list[Answer]:
        version, newest = self.graph.version, self.track.newest()
        answers = act()
        before, self.correction = self.correction, self.graph.correction()
        if self.graph.version != version and newest is not None:
            self.moved_m = (before @ newest).distance_m(self.correction @ newest)
        return answers


class Following:
    """Takes messages in the thread of the executor, and never waits.

    Keyframes and closures go to `ask` as jobs for the worker, which may refuse (its queue is
    full): then a keyframe is tried again with the next odometry, and a closure is rejected. What
    all closures of a drive have to be judged together for goes to `judge`. Every closure gets an
    answer that is not pending in the end: when its drive ends, or with `end`.
    """

    def __init__(
        self,
        config: LoopClosingConfig,
        ask: Callable[[Act], object],
        answer: Callable[[Answer], None],
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        judge: Judge = judge_here,
    ) -> None:
        """Begin with nothing.

        Args:
            config: settings.
            ask: hands a job to the worker; None: it is refused.
            answer: tells what became of a closure; from either thread.
            warn: takes a sentence on what was dropped.
            clock: seconds, never going back.
            judge: optimises a graph, now or later; says no while it is at it.

        Raises:
            VprError: gtsam is not installed.
        """
        self._config, self._ask, self._answer, self._warn = config, ask, answer, warn
        self._judge, self._clock = judge, clock
        self._open: dict[int, Drive] = {}  # closures without a last answer, by their ids
        self._waiting: deque[tuple[Closure, float]] = deque()
        self._last: tuple[int, Pose] | None = None  # newest odometry
        self._keyframe: Pose | None = None
        self._heard_s = -math.inf
        self._lock = threading.Lock()
        self.drive = Drive(config)
        self.drives = 1
        self.odom_frame = self.base_frame = self.map_uuid = ''
        self.received = self.dropped = self.accepted = self.rejected = self.closures = 0
        self.graph_s: deque[float] = deque(maxlen=1000)  # seconds per keyframe, lately
        self.closing_s = 0.0  # likewise of the last closure
        self.judged = 0  # how often all closures were judged together
        self.last_reason = ''  # of a rejection

    def silent_s(self) -> float:
        """Seconds since odometry was heard; inf: never."""
        return self._clock() - self._heard_s

    @property
    def newest_ns(self) -> int | None:
        return self._last[0] if self._last else None

    def odometry(self, message: Odometry) -> None:
        """Take a pose of odometry."""
        self.received += 1
        self._heard_s = self._clock()
        pose, now_ns = pose_from_message(message), stamp_ns(message.header.stamp)
        if pose is None or not now_ns:
            self.dropped += 1
            self._warn('odometry without a finite pose or without a stamp is left out')
            return
        if not self._continues(now_ns, pose):
            return
        self.odom_frame = message.header.frame_id.lstrip('/') or 'odom'
        self.base_frame = message.child_frame_id.lstrip('/')
        self._last = now_ns, pose
        self.drive.track.put(now_ns, pose)
        if self._is_keyframe(pose) and self._offer(now_ns, pose):
            self._keyframe = pose

    def status(self, message: VprStatus) -> None:
        """Learn which map the live node uses."""
        self.map_uuid = message.map_uuid or self.map_uuid

    def closure(self, message: LoopClosure) -> None:
        """Take a closure; it is answered now or later, once or more often."""
        self.closures += 1
        found = self._refusal(message) or read_closure(message)
        if isinstance(found, str):
            self.tell(Answer(message.closure_id, False, found))
            return
        self.map_uuid = self.map_uuid or message.map_uuid
        with self._lock:
            self._open[message.closure_id] = self.drive
        if len(self._waiting) >= WAITING:
            self._reject(self._waiting.popleft()[0], 'too many closures wait for odometry')
        self._waiting.append((found, self._clock()))
        self.look()

    def look(self) -> None:
        """Hand over the closures whose odometry is there; to be called now and then."""
        still: deque[tuple[Closure, float]] = deque()
        while self._waiting:
            closure, since_s = self._waiting.popleft()
            newest = self.newest_ns
            if newest is not None and newest >= max(closure.from_ns, closure.to_ns):
                self._hand_over(closure)
            elif self._clock() - since_s < self._config.wait_s:
                still.append((closure, since_s))
            else:
                self._hand_over(closure)  # refused there, with the reason
        self._waiting = still

    def begin(self, reason: str) -> None:
        """Begin a new drive: what was known of the one before does not hold any more."""
        self._warn(f'{reason}: a new drive begins, and the corrected path of the one before ends')
        before, self.drive = self.drive, Drive(self._config)
        before.over = True
        self.drives += 1
        self._last = self._keyframe = None
        self._waiting.clear()
        self._leave(before, f'its drive is over: {reason}')

    def end(self, reason: str) -> None:
        """Give the last answers, when there is no worker any more."""
        self._waiting.clear()
        self._leave(self.drive, f'it was never decided: {reason}')

    @property
    def pending(self) -> int:
        """Closures without a last answer."""
        return len(self._open)

    def tell(self, answer: Answer) -> None:
        """Count an answer and pass it on."""
        with self._lock:
            if not answer.pending:
                self._open.pop(answer.closure_id, None)
                self.accepted += answer.accepted
                self.rejected += not answer.accepted
            if not answer.pending and not answer.accepted:
                self.last_reason = answer.reason
        self._answer(answer)

    def _leave(self, drive: Drive, reason: str) -> None:
        with self._lock:
            left = [id_ for id_, of in self._open.items() if of is drive]
        for id_ in left:
            self.tell(Answer(id_, False, reason))

    def _continues(self, now_ns: int, pose: Pose) -> bool:
        """Whether to take this odometry; a new drive begins where it jumps."""
        if self._last is None:
            return True
        before_ns, before = self._last
        if now_ns <= before_ns:
            if before_ns - now_ns < JUMP_NS:
                self.dropped += now_ns < before_ns
                return False
            self.begin(f'odometry went back by {(before_ns - now_ns) / NS:.1f} s')
            return True
        way_m = before.distance_m(pose)
        speed = way_m / max((now_ns - before_ns) / NS, LEAST_STEP_S)
        if way_m > NEAR_M and speed > self._config.max_speed_mps:
            self.begin(f'odometry jumped by {way_m:.1f} m')
        return True

    def _is_keyframe(self, pose: Pose) -> bool:
        if self._keyframe is None:
            return True
        graph = self._config.graph
        moved = self._keyframe.distance_m(pose) >= graph.keyframe_distance_m
        return moved or self._keyframe.angle_rad(pose) >= graph.keyframe_angle_rad

    def _offer(self, now_ns: int, pose: Pose) -> bool:
        drive = self.drive

        def add() -> None:
            if drive.over:
                return
            began = time.perf_counter()
            drive.graph.add(now_ns, pose)
            drive.correction = drive.graph.correction()
            self.graph_s.append(time.perf_counter() - began)

        return self._ask(add) is not None

    def _hand_over(self, closure: Closure) -> None:
        drive = self.drive

        def close() -> None:
            if drive.over:
                return
            try:
                began = time.perf_counter()
                answers = drive.close(closure)
                self.closing_s = time.perf_counter() - began
            except Exception as error:
                self._reject(closure, f'it could not be added: {error}')
                raise
            self._tell_all(drive, answers)

        if self._ask(close) is None:
            self._reject(closure, 'the queue of the optimiser is full')

    def _tell_all(self, drive: Drive, answers: Sequence[Answer]) -> None:
        """In the worker: answers of a drive, and what has to be judged now."""
        for answer in answers:
            if not drive.over:
                self.tell(answer)
        question, drive.closures.question = drive.closures.question, None
        if question is None:
            return

        def adopt(found: Optimized) -> None:
            if not drive.over:
                self.judged += 1
                self._tell_all(drive, drive.adopt(question, found))

        if not self._judge(
            question.graph, self._config.graph, lambda found: self._ask(lambda: adopt(found))
        ):
            drive.closures.question = question  # for the next time

    def _reject(self, closure: Closure, reason: str) -> None:
        self.tell(Answer(closure.id, False, reason))

    def _refusal(self, message: LoopClosure) -> str:
        """Why a closure is not for this graph; empty: it is."""
        if message.kind != LoopClosure.KIND_INTRA_SESSION:
            return 'its older moment is of an earlier session, which this graph does not hold'
        if self.map_uuid and message.map_uuid != self.map_uuid:
            return f'it is of map {message.map_uuid or "without uuid"}, not of {self.map_uuid}'
        base = message.header.frame_id.lstrip('/')
        if base and self.base_frame and base != self.base_frame:
            return (
                f'it moves {base} and odometry {self.base_frame}: set base_frame of the live node'
            )
        return ''
