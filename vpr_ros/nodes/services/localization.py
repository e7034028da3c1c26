"""Attempts to find the robot: what was asked, what was seen, how it ended. No node is needed.

Attempts are begun and asked for by the thread of the services, and told of answers by the worker.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from vpr_ros.errors import ConfigError
from vpr_ros.records import Verdict

if TYPE_CHECKING:
    from vpr_msgs.msg import PlaceMatch


class Ending(IntEnum):
    """How an attempt ended. The values are those of `vpr_msgs/GlobalLocalize` Result.status."""

    LOCALIZED = 0
    TIMED_OUT = 1
    CANCELED = 2
    NOT_ACTIVE = 3
    ABORTED = 255


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked for; 0 asks for no more than what the parameters accept."""

    max_duration_s: float  # inf: until it is canceled
    min_probability: float = 0.0
    min_consistent: int = 0

    def require_sense(self) -> None:
        """Refuse what no match could satisfy.

        Raises:
            ConfigError: a number is out of range or not a number.
        """
        if not self.max_duration_s > 0.0:
            raise ConfigError(
                f'max_duration_s is {self.max_duration_s:g}: expected seconds, or 0 for '
                'localize_timeout_s'
            )
        if not 0.0 <= self.min_probability <= 1.0:
            raise ConfigError(
                f'min_probability is {self.min_probability:g}: expected a number from 0 to 1'
            )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, in words, and the match it ended with."""

    ending: Ending
    message: str
    match: PlaceMatch | None = None  # the one that satisfied the goal, else the last one seen


class Attempt:
    """One attempt. It ends once: whatever comes first counts."""

    def __init__(self, goal: Goal, clock: Callable[[], float]) -> None:
        self.goal = goal
        self.queries = 0  # looked at so far
        self.best: PlaceMatch | None = None  # the most similar so far
        self.last: PlaceMatch | None = None
        self._clock = clock
        self._begun_s = clock()
        self._armed = False
        self._statuses: Counter[int] = Counter()
        self._outcome: Outcome | None = None
        self._lock = threading.Lock()

    @property
    def elapsed_s(self) -> float:
        """Time since the attempt began."""
        return self._clock() - self._begun_s

    def outcome(self) -> Outcome | None:
        """How it ended; None while it goes on."""
        with self._lock:
            late = self.elapsed_s >= self.goal.max_duration_s
            if self._outcome is None and late:
                self._outcome = Outcome(Ending.TIMED_OUT, self._shortfall(), self.last)
            return self._outcome

    def end(self, ending: Ending, message: str) -> Outcome:
        """End it, unless it has ended, and say how it did."""
        with self._lock:
            if self._outcome is None:
                self._outcome = Outcome(ending, f'{message}; {self._seen()}', self.last)
            return self._outcome

    def arm(self) -> None:
        """Count the answers from now on: the recogniser has forgotten what it believed before."""
        self._armed = True

    def take(self, match: PlaceMatch) -> None:
        """Look at an answer: it ends the attempt when it satisfies the goal."""
        arrived_s = self._clock() - age_s(match)
        with self._lock:
            if self._outcome is not None or not self._armed or arrived_s < self._begun_s:
                return
            self.queries += 1
            self._statuses[match.status] += 1
            self.last = match
            if self.best is None or similarity(match) > similarity(self.best):
                self.best = match
            if match.status == Verdict.ACCEPTED and not self._missing(match):
                self._outcome = Outcome(Ending.LOCALIZED, whereabouts(match), match)

    def _missing(self, match: PlaceMatch) -> str:
        """What the goal asks for beyond an accepted match, and this one lacks."""
        goal = self.goal
        if goal.min_probability > 0.0 and math.isnan(match.probability):
            return f'probability {goal.min_probability:.2f} is asked for and none is calibrated'
        if match.probability < goal.min_probability:
            return f'probability {match.probability:.2f} of {goal.min_probability:.2f} asked for'
        if match.consistent_frames < goal.min_consistent:
            return f'{match.consistent_frames} of {goal.min_consistent} queries in a row agree'
        return ''

    def _shortfall(self) -> str:
        late = f'not localised within {self.goal.max_duration_s:g} s'
        if self.best is None:
            return (
                f'{late}: no image was answered; does the camera publish, and is the node neither '
                'paused nor waiting for the robot to move?'
            )
        reason = self.best.status_text or status_name(self.best.status)
        if self.best.status == Verdict.ACCEPTED:
            reason = f'accepted, but {self._missing(self.best) or "late"}'
        seen = f'{late}: {self._seen()}'
        if not self.best.candidates:
            return f'{seen}; the first: {reason}'
        return f'{seen}; the best had similarity {similarity(self.best):.3f}: {reason}'

    def _seen(self) -> str:
        images = 'image' if self.queries == 1 else 'images'
        counts = [f'{count} {status_name(x)}' for x, count in self._statuses.most_common()]
        return f'{self.queries} {images} looked at' + (f' ({", ".join(counts)})' if counts else '')


class Attempts:
    """All attempts under way; any number of them at once."""

    def __init__(
        self, forget: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            forget: makes the recogniser forget what it believes; called in the worker.
            clock: seconds that never go back.
        """
        self.latest: Outcome | None = None  # of the attempt that ended last
        self._forget = forget
        self._clock = clock
        self._running: tuple[Attempt, ...] = ()  # replaced, never changed: two threads read it
        self._lock = threading.Lock()

    @property
    def running(self) -> int:
        """How many are under way."""
        return len(self._running)

    def begin(self, goal: Goal) -> Attempt:
        """Begin an attempt. It counts no answer until it is armed.

        Raises:
            ConfigError: no match could satisfy the goal.
        """
        goal.require_sense()
        attempt = Attempt(goal, self._clock)
        with self._lock:
            self._running = (*self._running, attempt)
        return attempt

    def arm(self, attempt: Attempt) -> None:
        """Forget what was believed, as of a kidnapped robot, and count from now on.

        In the worker, between two images.
        """
        self._forget()
        attempt.arm()

    def take(self, match: PlaceMatch) -> None:
        """Tell every attempt of an answer that was published. In the worker."""
        for attempt in self._running:
            attempt.take(match)

    def abort(self, message: str) -> None:
        """End all of them: the node is being deactivated, or cannot go on."""
        for attempt in self._running:
            attempt.end(Ending.ABORTED, message)

    def done(self, attempt: Attempt) -> None:
        """Let go of an attempt that nobody waits for any more."""
        with self._lock:
            self._running = tuple(x for x in self._running if x is not attempt)
            self.latest = attempt.outcome() or self.latest


def similarity(match: PlaceMatch) -> float:
    """Of the best candidate; -inf without any."""
    return match.candidates[0].similarity if match.candidates else -math.inf


def age_s(match: PlaceMatch) -> float:
    """Time from the arrival of the image to its answer, as far as the answer accounts for it.

    Stamps cannot be compared with a clock of ours: a recording may be played, or a camera may
    keep a time of its own.
    """
    return 1e-3 * (
        match.queue_ms
        + match.preprocess_ms
        + match.inference_ms
        + match.search_ms
        + match.rerank_ms
        + match.verify_ms
        + match.decide_ms
    )


def status_name(status: int) -> str:
    """A status in words, as the log and the diagnostics have it."""
    try:
        return Verdict(status).name.lower().replace('_', ' ')
    except ValueError:
        return f'status {status}'


def whereabouts(match: PlaceMatch) -> str:
    """Place, similarity and pose of an accepted match, in one sentence."""
    best = match.candidates[0]
    found = (
        f'localised at place {best.place_id} of session {best.session_id}, '
        f'similarity {best.similarity:.3f}'
    )
    if not match.pose_valid:
        return f'{found}; the map holds no pose of it'
    point, q = match.pose.pose.position, match.pose.pose.orientation
    yaw = math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y**2 + q.z**2))
    return (
        f'{found}: x {point.x:.2f}, y {point.y:.2f}, z {point.z:.2f} m, yaw {yaw:.2f} rad in '
        f'{match.map_frame}'
    )
