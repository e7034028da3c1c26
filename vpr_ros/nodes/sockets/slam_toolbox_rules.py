"""When slam_toolbox is asked to load its map, and what came of it. No node is needed.

Its answer is empty, also where it could not read the file: only its first pose tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from geometry_msgs.msg import PoseWithCovarianceStamped

from vpr_msgs.msg import PlaceMatch
from vpr_ros.config.sockets import SlamToolboxConfig
from vpr_ros.errors import RosError
from vpr_ros.nodes.sockets.believed import Agreement, Fix, fix_of, own_fix
from vpr_ros.nodes.sockets.initial_pose_rules import Tell


class Phase(Enum):
    """How far the start has come."""

    WAITING = 'waiting for matches'
    CALLED = 'slam_toolbox loads its map'
    LOADED = 'waiting for the first pose of slam_toolbox'
    DONE = 'slam_toolbox is localised'
    GIVEN_UP = 'given up'


@dataclass(frozen=True)
class Neighbour:
    """What of slam_toolbox is there."""

    typed: bool  # its service types can be imported
    service: bool  # deserialize_map
    localizes: bool  # clear_localization_buffer, which only its localisation node has

    def missing(self) -> str:
        """What has to be done first; '' when nothing is missing.

        A mapping node refuses to localise in its log only: its answer is that of one that does.
        """
        if not self.typed:
            return 'the package slam_toolbox is not there: install it and source it for this node'
        if not self.service:
            return 'nobody offers slam_toolbox/deserialize_map: start slam_toolbox and activate it'
        if not self.localizes:
            return (
                'slam_toolbox is not its localisation node (localization_launch.py), or it is not '
                'active: a mapping node cannot localise'
            )
        return ''


class StartUp:
    """Hears matches and slam_toolbox's pose, and says when to call it with which pose.

    Times `now_s` are those of a clock that never jumps. Nothing here raises for what it is told.
    """

    def __init__(self, config: SlamToolboxConfig, tell: Tell) -> None:
        self.phase = Phase.WAITING
        self.attempts = 0
        self.words = Phase.WAITING.value
        self.warning = False
        self._config, self._tell = config, tell
        self._agreement = Agreement(config)
        self._last_ns = 0
        self._told: Fix | None = None
        self._until_s = 0.0  # of what is waited for; while WAITING: nothing is called before

    def hear_match(
        self, match: PlaceMatch, now_s: float, now_ns: int, neighbour: Neighbour
    ) -> Fix | None:
        """Take a match, and give the pose to start at, if the time has come to call."""
        if self.phase is not Phase.WAITING:
            return None
        try:
            fix = fix_of(match, self._config, now_ns)
        except RosError as error:
            accepted = match.status == PlaceMatch.STATUS_ACCEPTED
            if accepted:
                self._say(True, str(error))
            return None
        if fix.stamp_ns == self._last_ns:
            return None
        if fix.stamp_ns < self._last_ns:  # time has jumped back
            self._agreement.clear()
        self._last_ns = fix.stamp_ns
        self._agreement.add(fix, match.consistent_frames)
        if missing := neighbour.missing():
            self._say(True, missing)
        elif self._agreement.enough and now_s >= self._until_s:
            return self._call(fix, now_s)
        return None

    def answered(self, now_s: float) -> None:
        """Slam_toolbox has answered; what it says is nothing."""
        if self.phase is Phase.CALLED:
            self.phase = Phase.LOADED
            self._until_s = now_s + self._config.confirm_s

    def failed(self, why: str, now_s: float) -> None:
        """The call could not be made."""
        if self.phase is Phase.CALLED:
            self._again(f'slam_toolbox could not be called: {why}', now_s)

    def hear_own(self, message: PoseWithCovarianceStamped, now_s: float) -> None:
        """Take a pose of slam_toolbox: the first after the call tells how it went."""
        told = self._told
        if told is None or self.phase is not Phase.LOADED:
            return
        try:
            own = own_fix(message, self._config.global_frame)
        except RosError as error:
            self._say(True, str(error))
            return
        apart = own.distance_m(told)
        if apart > max(self._config.confirm_distance_m, 2.0 * told.sigma_m):
            self._again(f'slam_toolbox says that it is {apart:.1f} m from where it was put', now_s)
            return
        self.phase = Phase.DONE
        self._say(False, f'slam_toolbox is localised, {apart:.1f} m from where it was put')

    def tick(self, now_s: float, neighbour: Neighbour) -> None:
        """Let time pass; a slam_toolbox that went away is started anew when it comes back."""
        if neighbour.typed and not neighbour.service:
            if self.phase is not Phase.WAITING or self.attempts:
                self._begin_anew()
        elif self.phase is Phase.CALLED and now_s >= self._until_s:
            self._again(f'slam_toolbox has not answered in {self._config.answer_s:g} s', now_s)
        elif self.phase is Phase.LOADED and now_s >= self._until_s:
            self._again(
                'slam_toolbox gives no pose: it may not have found the file '
                f'{self._config.map_file}.posegraph, or it has no scans and odometry; see its log',
                now_s,
            )
        elif self.phase is Phase.WAITING and (missing := neighbour.missing()):
            self._say(True, missing)

    def _begin_anew(self) -> None:
        self.phase, self.attempts, self._told, self._until_s = Phase.WAITING, 0, None, 0.0
        self._agreement.clear()
        self._say(True, 'slam_toolbox has gone: its map is loaded again when it comes back')

    def _call(self, fix: Fix, now_s: float) -> Fix:
        self.attempts += 1
        self.phase, self._told = Phase.CALLED, fix
        self._until_s = now_s + self._config.answer_s
        x, y, _ = fix.pose.position_m
        self._say(
            False,
            f'asked slam_toolbox to localise at {x:.1f}, {y:.1f} m, yaw {fix.yaw:.2f} rad',
        )
        return fix

    def _again(self, why: str, now_s: float) -> None:
        self._told = None
        self._agreement.clear()
        if self.attempts >= self._config.attempts:
            self.phase = Phase.GIVEN_UP
            self._say(True, f'{why}; given up after {self.attempts} attempts')
            return
        self.phase, self._until_s = Phase.WAITING, now_s + self._config.retry_s
        self._say(
            True,
            f'{why}; attempt {self.attempts} of {self._config.attempts}, tried again after '
            f'{self._config.retry_s:g} s with a newer match',
        )

    def _say(self, warning: bool, sentence: str) -> None:
        self.words, self.warning = sentence, warning
        self._tell(warning, sentence)
