"""A socket: a node that lives until it is ended, and whose neighbours may do what they like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node

from vpr_ros.errors import VprError
from vpr_ros.nodes.outputs.one_status import one_status
from vpr_ros.nodes.parameters import Parameters

PERIOD_S = 1.0  # of diagnostics
LOOK_UP_S = 0.5
LINGER_S = 1.0
AGAIN_S = 30.0  # before the same thing is logged again
ALIKE = 24  # first letters by which sentences are the same: figures come later


class SocketNode(Node):
    """Hears neighbours in the thread that spins; `carry_out` waits for the end."""

    def __init__(self, name: str, settings: type, stop: threading.Event, **kwargs: Any) -> None:
        """Declare the parameters; `stop` is set when the process is to end."""
        super().__init__(name, **kwargs)
        self._stop = stop
        self._settings: Parameters[Any] = Parameters(self, settings)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._told: dict[str, float] = {}
        self._error = ''
        self._begun = False
        # Neighbours are waited for by wall time: a simulation that is paused is no excuse.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(PERIOD_S, self.guarded(self.report), clock=clock)

    def begin(self, config: Any) -> None:
        """Connect to the neighbours.

        Raises:
            VprError: the settings cannot work.
        """
        raise NotImplementedError

    def standing(self) -> tuple[bool, str, Mapping[str, object]]:
        """Whether something is wrong, a sentence, and figures. Asked once a second."""
        raise NotImplementedError

    def carry_out(self) -> None:
        """Live until the process is to end.

        Raises:
            VprError: it cannot begin; that was logged.
        """
        try:
            config = self._settings.read()
            self._settings.locked = True
            self.begin(config)
            self._begun = True
            self.get_logger().info('started')
            while not self._stop.wait(LOOK_UP_S):
                pass
        except KeyboardInterrupt:
            pass  # so it is ended
        except VprError as error:
            self._error = str(error)
            self.get_logger().error(self._error)
            raise

    def guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """The same call-back, but what it raises is logged: nothing ends the thread that spins."""

        def call(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except Exception as error:
                self.tell(True, f'{type(error).__name__}: {error}')

        return call

    def tell(self, warning: bool, sentence: str) -> None:
        """Log a sentence, unless one like it was logged lately."""
        now, key = time.monotonic(), sentence[:ALIKE]
        if now - self._told.get(key, -AGAIN_S) < AGAIN_S:
            return
        self._told = {x: y for x, y in self._told.items() if now - y < AGAIN_S} | {key: now}
        if warning:  # on a line of its own: rclpy wants one severity per line
            self.get_logger().warning(sentence)
        else:
            self.get_logger().info(sentence)

    def report(self) -> None:
        """Publish diagnostics."""
        starting: tuple[bool, str, Mapping[str, object]] = (False, 'starting', {})
        warning, words, figures = self.standing() if self._begun else starting
        level = DiagnosticStatus.WARN if warning else DiagnosticStatus.OK
        if self._error:
            level, words = DiagnosticStatus.ERROR, self._error
        self._diagnostics.publish(one_status(self, 'socket', level, words, figures))

    def linger(self) -> None:
        """Say the last thing, and give those who listen the time to hear it."""
        self.report()
        self._diagnostics.wait_for_all_acked(Duration(seconds=LINGER_S))
