"""When a localiser is told where the robot is, and what came of it. No node is needed."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid

from vpr_msgs.msg import PlaceMatch
from vpr_ros.config.sockets import InitialPoseConfig
from vpr_ros.errors import RosError
from vpr_ros.nodes.sockets.believed import Agreement, Fix, fix_of, own_fix
from vpr_ros.nodes.sockets.initial_pose_message import initial_pose, require_inside

WAITING = 'waiting for matches'
REMEMBERED = 200  # poses of the localiser, to be compared with matches of the same time
HYSTERESIS = 0.7  # share of the limits within which the localiser agrees again
MOST_DOUBLINGS = 3  # of min_period_s
OLDER_NS = 10**9  # a scan may be this much older than the image, and still come later
SURER = 2.0  # times as sure must a match be as a localiser that is taken for lost

Tell = Callable[[bool, str], None]  # whether it is a warning, and a sentence


class Opinion(Enum):
    """What a match means for the localiser."""

    AGREES = 'agrees'
    DOUBTFUL = 'neither agrees nor contradicts'
    CONTRADICTED = 'is contradicted'
    SILENT = 'is silent'


@dataclass(frozen=True)
class Sent:
    """A pose that was sent and is to be confirmed."""

    fix: Fix
    until_s: float


@dataclass
class Asked:
    """A call of ~/send; `outcome` is None while it goes on, then success and a sentence."""

    until_s: float
    outcome: tuple[bool, str] | None = None


class InitialPose:
    """Hears matches and the localiser's own pose, and says when to send which pose.

    Times `now_s` are those of a clock that never jumps. Nothing here raises for what it is told.
    """

    def __init__(self, config: InitialPoseConfig, now_s: float, tell: Tell) -> None:
        self.grid: OccupancyGrid | None = None
        self.counts: Counter[str] = Counter()  # matches, refused, sent, confirmed, not confirmed
        self.words = WAITING
        self.outcome = 'nothing was sent yet'  # of the last pose that was sent
        self.warning = False
        self._config, self._tell = config, tell
        self._agreement = Agreement(config)
        self._own: deque[Fix] = deque(maxlen=REMEMBERED)
        self._silent_since_s = now_s
        self._last_ns = 0
        self._against = 0  # matches in a row that contradict the localiser
        self._settled = False  # it agreed once
        self._sent: Sent | None = None
        self._next_s = -math.inf  # nothing is sent before
        self._failures = 0  # poses in a row that were not confirmed
        self._asked: Asked | None = None

    @property
    def settled(self) -> bool:
        """Whether the localiser has agreed with the matches since it was started."""
        return self._settled

    def hear_match(
        self, match: PlaceMatch, now_s: float, now_ns: int, listeners: int
    ) -> PoseWithCovarianceStamped | None:
        """Take a match, and give the pose to send because of it, if any.

        Args:
            match: any, accepted or not.
            now_s: time now.
            now_ns: time of the node's clock, to which stamps belong; 0: not known yet.
            listeners: to initialpose.
        """
        self.counts['matches'] += 1
        try:
            fix = fix_of(match, self._config, now_ns)
            if self.grid:
                require_inside(fix, self.grid)
        except RosError as error:
            self._refuse(match, str(error))
            return None
        if not self._in_turn(fix, now_s):
            return None
        self._agreement.add(fix, match.consistent_frames)
        opinion = self._opinion(fix, now_s)
        self._weigh(opinion, fix)
        if not self._due(opinion, now_s):
            return None
        if not listeners:
            self._say(True, 'the localiser is lost, and nobody listens to initialpose')
            return None
        return self._send(fix, now_s)

    def hear_own(self, message: PoseWithCovarianceStamped) -> None:
        """Take a pose of the localiser itself."""
        try:
            fix = own_fix(message, self._config.global_frame)
        except RosError as error:
            self._say(True, str(error))
            return
        self._own.append(fix)
        sent = self._sent
        if sent is None or fix.stamp_ns < sent.fix.stamp_ns - OLDER_NS:
            return
        if self._apart(sent.fix, fix) <= 1.0:
            self._confirmed(sent.fix, fix)

    def ask(self, now_s: float) -> Asked:
        """Begin to send as soon as the matches agree, or join who asks already."""
        if self._asked is None or self._asked.outcome:
            self._asked = Asked(now_s + self._config.ask_timeout_s)
        return self._asked

    def tick(self, now_s: float, localizers: int) -> None:
        """Let time pass.

        Args:
            now_s: time now.
            localizers: who publish an own pose; one that has gone is to be told anew.
        """
        if not localizers and self._own:
            self._own.clear()
            self._silent_since_s, self._settled = now_s, False
            self._say(True, 'the localiser has gone')
        if self._sent and now_s >= self._sent.until_s:
            self._unconfirmed(self._sent.fix)
        asked = self._asked
        if asked and not asked.outcome and not self._sent and now_s >= asked.until_s:
            asked.outcome = (False, f'nothing was sent: {self.words}')

    def end(self, why: str) -> None:
        """Answer who still asks."""
        if self._asked and not self._asked.outcome:
            self._asked.outcome = (False, why)

    def _refuse(self, match: PlaceMatch, why: str) -> None:
        self.counts['refused'] += 1
        if match.status == PlaceMatch.STATUS_ACCEPTED:
            self._say(True, why)
        elif self.words == WAITING:
            self.words = why

    def _in_turn(self, fix: Fix, now_s: float) -> bool:
        """Whether a match is newer than the last; where time has jumped back, all begins anew."""
        if fix.stamp_ns == self._last_ns:
            return False
        if fix.stamp_ns < self._last_ns:
            self._agreement.clear()
            self._own.clear()
            self._sent, self._against, self._silent_since_s = None, 0, now_s
        self._last_ns = fix.stamp_ns
        return True

    def _opinion(self, fix: Fix, now_s: float) -> Opinion:
        if not self._own:
            silent = now_s - self._silent_since_s >= self._config.silent_s
            return Opinion.SILENT if silent else Opinion.DOUBTFUL
        own = min(self._own, key=lambda x: abs(x.stamp_ns - fix.stamp_ns))
        unsure = 0.0 < self._config.lost_sigma_m < own.sigma_m > SURER * fix.sigma_m
        apart = self._apart(fix, own)
        if apart > 1.0 or unsure:
            return Opinion.CONTRADICTED
        return Opinion.AGREES if apart < HYSTERESIS else Opinion.DOUBTFUL

    def _apart(self, fix: Fix, own: Fix) -> float:
        """How far the localiser is from a match, in units of what contradicts."""
        config = self._config
        metres = max(config.disagree_distance_m, config.deviations * fix.sigma_m)
        radians = max(config.disagree_angle_rad, config.deviations * fix.sigma_rad)
        return max(fix.distance_m(own) / metres, fix.turn_rad(own) / radians)

    def _weigh(self, opinion: Opinion, fix: Fix) -> None:
        if opinion is Opinion.AGREES:
            self._against, self._settled, self._failures = 0, True, 0
            self._say(False, 'the localiser agrees with the matches')
            if self._asked and not self._asked.outcome and not self._sent:
                self._asked.outcome = (True, 'nothing was sent: the localiser agrees already')
        elif opinion is Opinion.CONTRADICTED:
            self._against += 1
            x, y, _ = fix.pose.position_m
            self._say(
                True,
                f'matches contradict the localiser: they say {x:.1f}, {y:.1f} m; {self._against} '
                f'in a row{self._consequence()}',
            )
        elif opinion is Opinion.SILENT:
            self._against = 0
            self._say(
                False,
                f'the localiser is silent; {self._agreement.support} matches agree, '
                f'{self._config.matches} are needed',
            )

    def _consequence(self) -> str:
        if self._acts:
            return f', and after {self._config.disagreeing_matches} it is told'
        return f'; it is not told (lost_when {self._config.lost_when}): call ~/send if it is lost'

    @property
    def _acts(self) -> bool:
        """Whether a lost localiser is told without being asked."""
        when = self._config.lost_when
        return when == 'disagreement' or (when == 'startup' and not self._settled)

    def _due(self, opinion: Opinion, now_s: float) -> bool:
        asked = self._asked is not None and not self._asked.outcome
        if self._sent or opinion is Opinion.AGREES or not self._agreement.enough:
            return False
        if asked:
            return True
        if not self._acts or now_s < self._next_s:
            return False
        if opinion is Opinion.CONTRADICTED:
            return self._against >= self._config.disagreeing_matches
        return opinion is Opinion.SILENT

    def _send(self, fix: Fix, now_s: float) -> PoseWithCovarianceStamped:
        config = self._config
        doublings = min(self._failures, MOST_DOUBLINGS)
        self._next_s = now_s + config.min_period_s * 2**doublings
        self._sent = Sent(fix, now_s + config.confirm_s)
        self._own.clear()  # what it said until now is what was wrong
        self._against, self._silent_since_s = 0, now_s
        self.counts['sent'] += 1
        x, y, _ = fix.pose.position_m
        self._say(
            False,
            f'told the localiser: {x:.1f}, {y:.1f} m, yaw {fix.yaw:.2f} rad, sure to '
            f'{max(fix.sigma_m, config.min_sigma_m):.1f} m',
        )
        return initial_pose(fix, config)

    def _confirmed(self, fix: Fix, own: Fix) -> None:
        self._sent, self._failures, self._settled = None, 0, True
        self.counts['confirmed'] += 1
        self._end_asking(
            True,
            f'the localiser has followed: it is {fix.distance_m(own):.1f} m from what it was '
            f'told, sure to {own.sigma_m:.1f} m',
        )

    def _unconfirmed(self, fix: Fix) -> None:
        self._sent = None
        self._failures += 1
        self.counts['not confirmed'] += 1
        if self._own:
            found = f'it says that it is {fix.distance_m(self._own[-1]):.1f} m away: see its log'
        else:
            found = 'it gave no pose: is it active, and does it have a map, scans and odometry?'
        self._end_asking(
            False, f'the localiser has not followed in {self._config.confirm_s:g} s: {found}'
        )

    def _end_asking(self, success: bool, sentence: str) -> None:
        self.outcome = sentence
        self._say(not success, sentence)
        if self._asked and not self._asked.outcome:
            self._asked.outcome = (success, sentence)

    def _say(self, warning: bool, sentence: str) -> None:
        self.words, self.warning = sentence, warning
        self._tell(warning, sentence)
