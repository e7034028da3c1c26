"""Waiting inside a call-back without holding the thread of the executor."""

from __future__ import annotations

import types
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node

T = TypeVar('T')

TICK_S = 0.1  # how often what nobody announces, such as a time-out, is looked for
# rclpy sends the result of a goal in a task of its own, which begins after that of the goal ended.
TURNS = 5


@types.coroutine
def until(condition: Callable[[], T]) -> Generator[None, None, T]:
    """Wait for a condition to hold, and give its value.

    rclpy resumes whatever waits each time its executor wakes, and sleeps in between: whoever makes
    the condition true from another thread wakes it.
    """
    while not (value := condition()):
        yield
    return value


class Waiting:
    """Who waits in call-backs of a node; while one does, the executor wakes every `TICK_S`.

    Everything in the thread of the executor. Call-backs that wait must be of a reentrant group:
    in one that is mutually exclusive they keep all others from running.
    """

    def __init__(self, node: Node) -> None:
        self.count = 0
        self._node = node
        clock = Clock(clock_type=ClockType.STEADY_TIME)  # a paused simulation stops no time-out
        self._timer = node.create_timer(TICK_S, lambda: None, clock=clock)
        self._timer.cancel()

    async def until(self, condition: Callable[[], T]) -> T:
        """`until`, for conditions that nobody wakes the executor for as well."""
        if not self.count:
            self._timer.reset()
        self.count += 1
        try:
            return await until(condition)
        finally:
            self.count -= 1
            if not self.count:
                with suppress(InvalidHandle):  # the node has gone meanwhile
                    self._timer.cancel()

    def close(self, release: Callable[[], None]) -> None:
        """Release what is waited in, now or when nobody waits there any more.

        A service or an action that is destroyed cannot answer, and leaves its client waiting for
        ever.
        """
        executor = self._node.executor
        if self.count and executor is not None and self._node in executor.get_nodes():
            executor.create_task(self._close_later, release)
        else:
            self._close(release)

    async def _close_later(self, release: Callable[[], None]) -> None:
        await until(lambda: not self.count)
        turns = iter(range(TURNS))
        await until(lambda: next(turns, None) is None)
        self._close(release)

    def _close(self, release: Callable[[], None]) -> None:
        release()
        self._node.destroy_timer(self._timer)
