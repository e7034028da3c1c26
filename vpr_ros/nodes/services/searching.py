"""Attempts to find the robot, waited for by those who asked, and the action that asks for one."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from copy import copy
from typing import Protocol

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from std_msgs.msg import Header

from vpr_msgs.action import GlobalLocalize
from vpr_msgs.msg import PlaceMatch
from vpr_ros.errors import VprError
from vpr_ros.nodes.responder import Responder
from vpr_ros.nodes.services.localization import Attempt, Attempts, Ending, Goal, Outcome
from vpr_ros.nodes.services.query_image import no_match
from vpr_ros.nodes.services.waiting import Waiting

FEEDBACK_S = 0.2  # least time between two of them


class Job(Protocol):
    """Something that the worker was asked to do."""

    def done(self) -> bool: ...

    def result(self) -> object: ...


class Worker(Protocol):
    """Whoever does it, between two images."""

    def ask(self, act: Callable[[], object], /) -> Job: ...


class Searching:
    """Begins attempts and waits for their ends, in the thread of the executor."""

    def __init__(
        self,
        responder: Responder,
        worker: Worker,
        attempts: Attempts,
        waiting: Waiting,
        is_active: Callable[[], bool],
    ) -> None:
        self.attempts = attempts
        self.responder = responder
        self._worker = worker
        self._waiting = waiting
        self._is_active = is_active

    async def find(
        self, goal: Goal, look: Callable[[Attempt], None] = lambda attempt: None
    ) -> tuple[Outcome, int]:
        """Try to find the robot, and say how it ended and how many images were looked at.

        Args:
            goal: what is asked for.
            look: called with the attempt whenever the executor wakes; it may end it.
        """
        if refusal := self._refusal():
            return Outcome(Ending.NOT_ACTIVE, refusal), 0
        try:
            attempt = self.attempts.begin(goal)
        except VprError as error:
            return Outcome(Ending.ABORTED, str(error)), 0
        try:
            arming = self._worker.ask(lambda: self.attempts.arm(attempt))
            outcome = await self._waiting.until(lambda: self._ended(attempt, arming, look))
        except VprError as error:
            outcome = attempt.end(Ending.ABORTED, f'cannot search: {error}')
        finally:
            self.attempts.done(attempt)
        return outcome, attempt.queries

    def default_goal(self) -> Goal:
        """What the parameters ask for."""
        return Goal(self.responder.config.localize_timeout_s)

    def _refusal(self) -> str:
        if not self._is_active():
            return 'the node is not active: activate it first'
        if self.responder.paused:
            return 'the node is paused: call ~/resume first'
        return ''

    def _ended(
        self, attempt: Attempt, arming: Job, look: Callable[[Attempt], None]
    ) -> Outcome | None:
        if not self._is_active():
            attempt.end(Ending.ABORTED, 'the node was deactivated meanwhile')
        if arming.done():
            arming.result()  # raises what kept it from being armed
        look(attempt)
        return attempt.outcome()


class LocalizeAction:
    """The action `~/localize`; every goal is an attempt of its own."""

    def __init__(self, node: Node, searching: Searching, group: CallbackGroup) -> None:
        self._node = node
        self._searching = searching
        self._server = ActionServer(
            node, GlobalLocalize, '~/localize', self._execute, callback_group=group,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
        )  # fmt: skip
        self.destroy = self._server.destroy

    async def _execute(self, handle: ServerGoalHandle) -> GlobalLocalize.Result:
        feedback = Feedback(handle)
        try:
            goal = self._goal(handle.request)
            outcome, queries = await self._searching.find(goal, feedback.look)
        except Exception as error:  # rclpy would send a result without frame and covariance
            self._node.get_logger().error(traceback.format_exc())
            outcome, queries = Outcome(Ending.ABORTED, repr(error)), 0
        if outcome.ending is Ending.LOCALIZED:
            handle.succeed()
        elif outcome.ending is Ending.CANCELED:
            handle.canceled()
        else:
            handle.abort()
        return self._result(outcome, queries)

    def _goal(self, request: GlobalLocalize.Goal) -> Goal:
        duration_s = request.max_duration_s or self._searching.default_goal().max_duration_s
        return Goal(duration_s, request.min_probability, request.min_consistent)

    def _result(self, outcome: Outcome, queries: int) -> GlobalLocalize.Result:
        match = outcome.match or no_match(self._searching.responder, outcome.message)
        found = outcome.ending is Ending.LOCALIZED
        pose = match.pose if found else no_match(self._searching.responder, '').pose
        header = Header(stamp=match.header.stamp, frame_id=match.map_frame)
        return GlobalLocalize.Result(
            status=int(outcome.ending),
            message=outcome.message,
            pose=PoseWithCovarianceStamped(header=header, pose=pose),
            pose_valid=found and match.pose_valid,
            match=match,
            queries=queries,
        )


class Feedback:
    """Tells the client of a goal what was seen, and listens whether it still wants to know."""

    def __init__(self, handle: ServerGoalHandle) -> None:
        self._handle = handle
        self._told = 0
        self._next_s = 0.0

    def look(self, attempt: Attempt) -> None:
        """Publish what is new, at most every `FEEDBACK_S`, and end what was canceled."""
        if self._handle.is_cancel_requested:
            attempt.end(Ending.CANCELED, 'canceled')
        elapsed_s = attempt.elapsed_s
        if attempt.queries == self._told or elapsed_s < self._next_s:
            return
        self._told, self._next_s = attempt.queries, elapsed_s + FEEDBACK_S
        self._handle.publish_feedback(
            GlobalLocalize.Feedback(
                queries=attempt.queries, elapsed_s=elapsed_s, best=_first_alone(attempt.best)
            )
        )


def _first_alone(match: PlaceMatch) -> PlaceMatch:
    """A match with its best candidate: ten of them five times a second are a wall of text."""
    short = copy(match)
    short.candidates = match.candidates[:1]
    return short
