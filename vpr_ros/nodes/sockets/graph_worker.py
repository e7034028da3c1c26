"""One thread that does everything in turn; what it has not begun waits in a queue with an end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from vpr_ros.errors import RosError
from vpr_ros.nodes.inputs.newest import Job

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
        self._limit = limit
        self._idle, self._failed, self._told = idle, failed, told
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name='graph', daemon=True)

    def __len__(self) -> int:
        return len(self._jobs)

    def __enter__(self) -> GraphWorker:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()
        for job in self._jobs:
            job.refuse(RosError('the node is being shut down'))

    def ask(self, act: Callable[[], R]) -> Job[R] | None:
        """Have something done; None when the queue is full. Never blocks."""
        job = Job(self._guarding(act))
        with self._changed:
            if self._stopped or len(self._jobs) >= self._limit:
                return None
            self._jobs.append(job)
            self._changed.notify()
        return job

    def _guarding(self, act: Callable[[], R]) -> Callable[[], R]:
        def guarded() -> R:
            try:
                return act()
            except Exception as error:
                self._failed(error)
                raise

        return guarded

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or bool(self._jobs), IDLE_S)
                if self._stopped:
                    return
                job = self._jobs.popleft() if self._jobs else None
            if job is not None:
                job.carry_out()
            try:
                self._idle()
                if job is not None:
                    self._told()
            except Exception as error:
                self._failed(error)
