"""A node that does one thing: parameters in, diagnostics out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node

from vpr_ros.errors import RosError, VprError
from vpr_ros.nodes.outputs.one_status import one_status
from vpr_ros.nodes.parameters import Parameters

LINGER_S = 1.0
DIAGNOSTICS_S = 1.0
SHOWN = 10  # sentences about the same trouble in the log


class BatchNode(Node):
    """Works in the thread that calls `carry_out`, and tells of it from the one that spins."""

    def __init__(self, name: str, settings: type, stop: threading.Event, **kwargs) -> None:
        """Declare the parameters; `stop` is set when the process is to end."""
        super().__init__(name, **kwargs)
        self._stop = stop
        self._settings = Parameters(self, settings)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._phase, self._done, self._total = 'starting', 0, 0
        self._error = ''
        # With simulated time, too, somebody wants to know.
        self.create_timer(
            DIAGNOSTICS_S, self.report, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def work(self, config: Any) -> str:
        """Do what the settings say, and tell in one sentence what came of it."""
        raise NotImplementedError

    def carry_out(self) -> None:
        """Do what the parameters say.

        Raises:
            VprError: whatever ended it; it was logged and published.
        """
        try:
            self._phase = self._worked()
            self.get_logger().info(self._phase)
        except VprError as error:
            self.get_logger().error(str(error))
            self._error = str(error)
            raise

    def _worked(self) -> str:
        try:
            config = self._settings.read()
            self._settings.locked = True
            return self.work(config)
        except KeyboardInterrupt:
            raise self._interrupted() from None

    def _interrupted(self) -> RosError:
        return RosError(f'interrupted while {self._phase}: the result was not written')

    def stage(self, what: str) -> Callable[[int, int], None]:
        """Begin a step of the work, and give what takes its progress."""
        self.get_logger().info(what)
        self._phase, self._done, self._total = what, 0, 0

        def progress(done: int, total: int) -> None:
            if self._stop.is_set():
                raise self._interrupted()
            self._done, self._total = done, total

        return progress

    def warn(self, sentences: Iterable[str]) -> None:
        """Log what was lost on the way, the first few of many."""
        told = list(sentences)
        for sentence in told[:SHOWN]:
            self.get_logger().warning(sentence)
        if len(told) > SHOWN:
            self.get_logger().warning(f'and {len(told) - SHOWN} more of these')

    def report(self) -> None:
        """Publish how the work is going."""
        words = self._phase
        if self._total and self._done < self._total:
            words += f': {self._done} of {self._total}'
        level = DiagnosticStatus.ERROR if self._error else DiagnosticStatus.OK
        figures = {'phase': self._phase, 'done': self._done, 'total': self._total}
        self._diagnostics.publish(
            one_status(self, 'progress', level, self._error or words, figures)
        )

    def linger(self) -> None:
        """Say the last thing, and give those who listen the time to hear it."""
        self.report()
        self._diagnostics.wait_for_all_acked(Duration(seconds=LINGER_S))
