"""One thread that handles the newest of the things given to it. No queue; drops are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar('T')


@dataclass(frozen=True, slots=True)
class Arrival(Generic[T]):
    """Something to handle, and what became of those before it."""

    item: T
    waited_ms: float  # from its arrival until now
    dropped: int  # arrived since the previous one was taken, and were replaced by this one


class NewestWorker(Generic[T]):
    """A thread that calls `handle` with the newest item.

    `idle` is called after every item and at least every `idle_s`. What either of them raises goes
    to `failed`; the thread lives on. Enter to start; leaving waits for the item in work and drops
    the one that waits.
    """

    def __init__(
        self,
        handle: Callable[[Arrival[T]], None],
        idle: Callable[[], None],
        failed: Callable[[Exception], None],
        idle_s: float,
    ) -> None:
        self._handle, self._idle, self._failed = handle, idle, failed
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._waiting: tuple[T, float] | None = None  # item, time of arrival
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

    def put(self, item: T) -> None:
        """Hand over an item; one that still waits is dropped for it. Never blocks."""
        with self._changed:
            if self._waiting is not None:
                self._dropped += 1
            self._waiting = item, time.perf_counter()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._roused, self._idle_s)
                if self._stopped:
                    return
                arrival = self._take()
            if arrival is not None:
                self._guarded(lambda arrival=arrival: self._handle(arrival))
            self._guarded(self._idle)

    def _roused(self) -> bool:
        return self._stopped or self._waiting is not None

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
