"""What one camera delivers, counted."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_S = 5.0
LIMIT = 10_000  # arrivals that are remembered; at more than 2000 Hz the rate is understated


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, in one sentence; where it is no error, images arrive all the same."""

    error: bool
    text: str
    late: bool = False  # images come too late for those of the other cameras


class Flow:
    """Counts images; one thread writes, any other may read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin at zero.

        Args:
            clock: seconds, never going back.
        """
        self.received = 0
        self.lost = 0  # on the way, as far as DDS tells
        self.late = 0  # after those of the other cameras of their moment were answered
        self._clock = clock
        self._first_s = self._newest_s = -math.inf
        self._recent: deque[float] = deque(maxlen=LIMIT)
        self._lock = threading.Lock()

    def arrived(self) -> None:
        """Count an image."""
        now = self._clock()
        with self._lock:
            if not self.received:
                self._first_s = now
            self._newest_s = now
            self.received += 1
            self._recent.append(now)
            self._forget(now)

    def rate_hz(self) -> float:
        """Images per second of the last five, or of the time since the first one."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            count, since_s = len(self._recent), now - self._first_s
        if since_s < WINDOW_S:
            return (count - 1) / since_s if since_s > 0.0 else 0.0
        return count / WINDOW_S

    def age_s(self) -> float:
        """Seconds since the newest image; inf before the first."""
        return self._clock() - self._newest_s

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0] <= now - WINDOW_S:
            self._recent.popleft()
