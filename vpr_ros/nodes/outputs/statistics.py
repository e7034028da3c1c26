"""What the live node counts, and how long its answers took lately."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from vpr_msgs.msg import LoopClosureAck
from vpr_ros.nodes.inputs.newest import Arrival
from vpr_ros.records import Recognition, Verdict

STAGES = ('waited', 'preprocess', 'inference', 'search', 'rerank', 'verify', 'decide', 'total')
RECENT_ANSWERS = 100
RECENT_S = 60.0
LOSSES_S = 10.0
MOST_ACKS = 10_000  # answers of back-ends that may still be taken back; older ones stay counted


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the times of one stage, in milliseconds."""

    p50_ms: float
    p95_ms: float
    max_ms: float


@dataclass(frozen=True)
class Recent:
    """The last `RECENT_ANSWERS` answers, none older than `RECENT_S`."""

    answers: int = 0
    errors: int = 0  # of them, with Verdict.ERROR
    dropped: int = 0  # images replaced by newer ones before them
    skipped: int = 0  # images that were not due
    lost: int = 0  # images that never arrived, in the last `LOSSES_S`
    rate_hz: float = 0.0
    last_error: str = ''  # reason of the newest error
    unusable: int = 0  # of the answers, with Verdict.BAD_IMAGE
    last_unusable: str = ''  # reason of the newest of them
    stages: Mapping[str, Spread] = field(default_factory=dict)  # by STAGES; empty: no answers

    @property
    def dropped_share(self) -> float:
        """Of the images that came, those that there was no time for.

        Where images are skipped there was time to spare: so many dropped ones were not missed.
        """
        missed = max(0, self.dropped - self.skipped)
        return missed / max(1, self.dropped + self.skipped + self.answers)


@dataclass(frozen=True)
class Figures:
    """What was counted up to one moment, since the node was configured."""

    verdicts: Mapping[Verdict, int] = field(default_factory=dict)  # of those that occurred
    dropped: int = 0  # replaced by a newer image before they were looked at
    skipped: int = 0  # not looked at because the robot had not moved, or too soon
    closures: int = 0
    acks: Mapping[int, int] = field(default_factory=dict)  # by LoopClosureAck.status
    last_accepted_ns: int = 0  # stamp of the image; 0: none
    recent: Recent = field(default_factory=Recent)

    @property
    def answered(self) -> int:
        return sum(self.verdicts.values())

    @property
    def accepted(self) -> int:
        return self.verdicts.get(Verdict.ACCEPTED, 0)

    @property
    def accepted_acks(self) -> int:
        return self.acks.get(LoopClosureAck.ACCEPTED, 0)

    @property
    def rejected_acks(self) -> int:
        return self.acks.get(LoopClosureAck.REJECTED, 0)

    @property
    def pending_acks(self) -> int:
        return self.acks.get(LoopClosureAck.PENDING, 0)


@dataclass(frozen=True, slots=True)
class _Answer:
    at_s: float
    failed: str | None
    unusable: str | None
    dropped: int
    skipped: int
    ms: tuple[float, ...]  # in the order of STAGES


@dataclass
class _Unanswered:
    """Images since the last answer."""

    dropped: int = 0
    skipped: int = 0


class Statistics:
    """Counts since the node was configured; any thread may count, any may read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count.

        Args:
            clock: seconds; not that of the images, which may jump.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._closures = self._closures_before = 0
        self._losses: deque[tuple[float, int]] = deque()  # time, images lost by then
        self.reset()

    def reset(self) -> None:
        """Count from zero again; closures keep their numbers."""
        with self._lock:
            self._verdicts: Counter[Verdict] = Counter()
            self._dropped = self._skipped = 0
            self._unanswered = _Unanswered()
            self._closures_before += self._closures
            self._closures = 0
            self._acks: OrderedDict[tuple[str, int], int] = OrderedDict()
            self._acked: Counter[int] = Counter()
            self._recent: deque[_Answer] = deque(maxlen=RECENT_ANSWERS)
            self._accepted_s = -math.inf
            self._accepted_ns = 0

    @property
    def last_accepted_ns(self) -> int:
        """Stamp of the image of the last accepted match; 0: there was none."""
        return self._accepted_ns

    def add(self, recognition: Recognition, arrival: Arrival) -> None:
        """Count one answer."""
        spent = recognition.timings
        steps = [getattr(spent, f'{stage}_ms') for stage in STAGES[1:-1]]
        ms = (arrival.waited_ms, *steps, arrival.waited_ms + sum(steps))
        verdict, reason = recognition.verdict, recognition.reason
        failed = reason if verdict is Verdict.ERROR else None
        unusable = reason if verdict is Verdict.BAD_IMAGE else None
        with self._lock:
            now_s = self._clock()
            self._verdicts[verdict] += 1
            self._dropped += arrival.dropped
            before, self._unanswered = self._unanswered, _Unanswered()
            dropped = before.dropped + arrival.dropped
            self._recent.append(_Answer(now_s, failed, unusable, dropped, before.skipped, ms))
            if recognition.accepted:
                self._accepted_s, self._accepted_ns = now_s, recognition.stamp_ns

    def skip(self, arrival: Arrival | None = None) -> None:
        """Count an image that was not due, and those that had been dropped for it."""
        dropped = arrival.dropped if arrival else 0
        with self._lock:
            self._skipped += 1
            self._dropped += dropped
            self._unanswered.skipped += 1
            self._unanswered.dropped += dropped

    def close(self) -> None:
        """Count a loop closure that was published."""
        with self._lock:
            self._closures += 1

    def acknowledge(self, ack: LoopClosureAck) -> bool:
        """Count what a back-end made of a closure; its newest word on it is what counts.

        Those of closures from before a reset are not counted.

        Returns:
            Whether there ever was such a closure.
        """
        key = (ack.backend, ack.closure_id)
        with self._lock:
            if not 0 <= ack.closure_id < self._closures_before + self._closures:
                return False
            if ack.closure_id < self._closures_before:
                return True
            if key in self._acks:
                self._acked[self._acks.pop(key)] -= 1
            self._acks[key] = ack.status
            self._acked[ack.status] += 1
            if len(self._acks) > MOST_ACKS:
                self._acks.popitem(last=False)
        return True

    def lose(self, total: int) -> None:
        """Note how many images were lost on the way by now, of all cameras; call it regularly."""
        with self._lock:
            now_s = self._clock()
            if not self._losses or total < self._losses[-1][1]:  # counted anew
                self._losses = deque([(now_s, 0)])
            self._losses.append((now_s, total))
            while len(self._losses) > 1 and now_s - self._losses[1][0] >= LOSSES_S:
                self._losses.popleft()

    def localized(self, now_s: float, localized_s: float) -> bool:
        """Whether a match was accepted within `localized_s` before `now_s` of the clock."""
        return now_s - self._accepted_s <= localized_s

    def figures(self) -> Figures:
        """Everything counted, as of now."""
        with self._lock:
            now_s = self._clock()
            return Figures(
                verdicts=dict(self._verdicts),
                dropped=self._dropped,
                skipped=self._skipped,
                closures=self._closures,
                acks=dict(self._acked),
                last_accepted_ns=self._accepted_ns,
                recent=self._lately(now_s),
            )

    def _lately(self, now_s: float) -> Recent:
        answers = [x for x in self._recent if now_s - x.at_s <= RECENT_S]
        lost = self._losses[-1][1] - self._losses[0][1] if self._losses else 0
        if not answers:
            return Recent(lost=lost)
        ms = np.array([x.ms for x in answers])
        spreads = zip(*np.percentile(ms, (50, 95, 100), axis=0).tolist(), strict=True)
        errors = [x.failed for x in answers if x.failed is not None]
        unusable = [x.unusable for x in answers if x.unusable is not None]
        span_s = now_s - answers[0].at_s
        return Recent(
            answers=len(answers),
            errors=len(errors),
            dropped=sum(x.dropped for x in answers),
            skipped=sum(x.skipped for x in answers),
            lost=lost,
            rate_hz=(len(answers) - 1) / span_s if span_s > 0 else 0.0,
            last_error=errors[-1] if errors else '',
            unusable=len(unusable),
            last_unusable=unusable[-1] if unusable else '',
            stages={stage: Spread(*x) for stage, x in zip(STAGES, spreads, strict=True)},
        )
