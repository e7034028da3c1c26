"""One thread that handles the newest of the things given to it. No queue; drops are counted."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar, cast

from vpr_ros.errors import RosError

T = TypeVar('T')
R = TypeVar('R')


@dataclass(frozen=True, slots=True)
class Arrival(Generic[T]):
    """Something to handle, and what became of those before it."""

    item: T
    waited_ms: float  # from its arrival until now
    dropped: int  # arrived since the previous one was taken, and were replaced by this one


class Job(Generic[R]):
    """Something asked of the worker; done when it was carried out, or refused at the end."""

    def __init__(self, act: Callable[[], R]) -> None:
        self._act = act
        self._done = threading.Event()
        self._result: R | None = None
        self._error: Exception | None = None

    def carry_out(self) -> None:
        """In the worker's thread."""
        try:
            self._result = self._act()
        except Exception as error:
            self._error = error
        self._done.set()

    def refuse(self, error: Exception) -> None:
        """The worker has ended before."""
        self._error = error
        self._done.set()

    def done(self) -> bool:
        return self._done.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Whether it was done in time; not for the thread of an executor."""
        return self._done.wait(timeout_s)

    def result(self) -> R:
        """What came of it; raises what it raised."""
        if self._error is not None:
            raise self._error
        return cast(R, self._result)


class NewestWorker(Generic[T]):
    """A thread that calls `handle` with the newest item, and between items does what is asked.

    `idle` is called after every item and at least every `idle_s`. What either of them raises goes
    to `failed`; the thread lives on. `told` is called after every item and job, for those who
    wait. Enter to start; leaving waits for the item in work, drops the one that waits and refuses
    what was asked and not begun.
    """

    def __init__(
        self,
        handle: Callable[[Arrival[T]], None],
        idle: Callable[[], None],
        failed: Callable[[Exception], None],
        idle_s: float,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._handle, self._idle, self._failed, self._told = handle, idle, failed, told
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._waiting: tuple[T, float] | None = None  # item, time of arrival
        self._jobs: deque[Job] = deque()
        self._dropped = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name='newest', daemon=True)

    def __enter__(self) -> NewestWorker[T]:
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
            job.refuse(RosError('the node is being shut down: ask again when it is back'))
        self._guarded(self._told)

    @property
    def asked(self) -> int:
        """Jobs that were not begun yet."""
        return len(self._jobs)

    def put(self, item: T) -> None:
        """Hand over an item; one that still waits is dropped for it. Never waits."""
        with self._changed:
            if self._waiting is not None:
                self._dropped += 1
            self._waiting = item, time.perf_counter()
            self._changed.notify()
        time.sleep(0)  # give the interpreter to the worker: it begins 0.3 ms sooner

    def ask(self, act: Callable[[], R]) -> Job[R]:
        """Have something done in the worker's thread, before the next item. Never blocks."""
        job = Job(act)
        with self._changed:
            if self._stopped:
                job.refuse(RosError('the node is being shut down: ask again when it is back'))
            else:
                self._jobs.append(job)
                self._changed.notify()
        return job

    def forget(self) -> None:
        """Drop the item that waits."""
        with self._changed:
            self._waiting = None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._roused, self._idle_s)
                if self._stopped:
                    return
                job = self._jobs.popleft() if self._jobs else None
                arrival = None if job else self._take()
            if job is not None:
                job.carry_out()
            elif arrival is not None:
                self._guarded(lambda arrival=arrival: self._handle(arrival))
            self._guarded(self._idle)
            if job is not None or arrival is not None:
                self._guarded(self._told)

    def _roused(self) -> bool:
        return self._stopped or self._waiting is not None or bool(self._jobs)

    def _take(self) -> Arrival[T] | None:
        if self._waiting is None:
            return None
        item, arrived_s = self._waiting
        arrival = Arrival(item, 1e3 * (time.perf_counter() - arrived_s), self._dropped)
        self._waiting, self._dropped = None, 0
        return arrival

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._failed(error)
