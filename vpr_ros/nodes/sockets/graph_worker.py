"""One thread that does everything in turn; what it has not begun waits in a queue with an end."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from vpr_ros.nodes.inputs.newest import Job, NewestWorker

R = TypeVar('R')

IDLE_S = 0.1


class GraphWorker:
    """Carries out what is asked, in the order of asking, and `idle` at least every IDLE_S.

    What either of them raises goes to `failed`, and the thread lives on; `told` is called after
    every job, for those who wait. Enter to start; leaving refuses what was not begun.
    """

    def __init__(
        self,
        limit: int,
        idle: Callable[[], None],
        failed: Callable[[Exception], None],
        told: Callable[[], None],
    ) -> None:
        self._limit, self._failed = limit, failed
        self._worker = NewestWorker[None](lambda arrival: None, idle, failed, IDLE_S, told)

    def __len__(self) -> int:
        return self._worker.asked

    def __enter__(self) -> GraphWorker:
        self._worker.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.__exit__(kind, error, trace)

    def ask(self, act: Callable[[], R]) -> Job[R] | None:
        """Have something done; None when the queue is full. Never blocks."""
        if len(self) >= self._limit:
            return None
        return self._worker.ask(self._guarding(act))

    def _guarding(self, act: Callable[[], R]) -> Callable[[], R]:
        def guarded() -> R:
            try:
                return act()
            except Exception as error:
                self._failed(error)
                raise

        return guarded
