"""A lifecycle node that reports its own failures and gives back whatever it acquired.

rclpy swallows what a transition raises. Here a VprError becomes one sentence in the log and
FAILURE (try again), anything else a traceback and ERROR.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from vpr_ros.errors import VprError

OK = TransitionCallbackReturn.SUCCESS
ERROR = TransitionCallbackReturn.ERROR


class ReportingLifecycleNode(LifecycleNode):
    """Subclasses acquire in `configure` and `activate` and push the release of it on the stack.

    Deactivation closes what `activate` acquired; clean-up, shutdown and errors close everything.
    A release that fails is an ERROR: FAILURE would keep a state whose resources are gone.
    """

    def __init__(self, node_name: str, **kwargs) -> None:
        super().__init__(node_name, **kwargs)
        self._configured = ExitStack()
        self._activated = ExitStack()
        self._broken: VprError | None = None

    def break_down(self, error: VprError) -> None:
        """Go through the error state to unconfigured: what the node needs is gone."""
        self._broken = error
        self.trigger_deactivate()

    def configure(self, stack: ExitStack) -> None:
        """Read parameters, acquire resources, create publishers."""

    def activate(self, stack: ExitStack) -> None:
        """Create subscriptions."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        def acquire() -> None:
            with ExitStack() as attempt:
                self.configure(attempt)
                self._configured = attempt.pop_all()

        return self._reported('configure', acquire)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        super().on_activate(state)  # publishers first: the first image must find them enabled

        def acquire() -> None:
            with ExitStack() as attempt:
                self.activate(attempt)
                self._activated = attempt.pop_all()

        outcome = self._reported('activate', acquire)
        if outcome != OK:
            super().on_deactivate(state)
        return outcome

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        outcome = self._reported('deactivate', self._activated.close, refusal=ERROR)
        super().on_deactivate(state)
        if self._broken is not None:
            self.get_logger().error(f'{self._broken}: the node goes down to unconfigured')
            self._broken, outcome = None, ERROR
        return outcome

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._reported('clean up', self.release, refusal=ERROR)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._reported('shut down', self.release, refusal=ERROR)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._reported('recover', self.release)

    def start(self) -> bool:
        """Configure and activate; False when either is refused, which is in the log by then."""
        return self.trigger_configure() == OK and self.trigger_activate() == OK

    def end(self) -> None:
        """Shut down from any state, release everything and destroy the node."""
        with suppress(RuntimeError):  # out of turn: a transition was interrupted
            self.trigger_shutdown()
        self.release()
        self.destroy_node()

    def release(self) -> None:
        """Give back everything that is held; harmless when nothing is."""
        try:
            self._activated.close()
        finally:
            self._configured.close()

    def _reported(
        self,
        action: str,
        act: Callable[[], None],
        refusal: TransitionCallbackReturn = TransitionCallbackReturn.FAILURE,
    ) -> TransitionCallbackReturn:
        try:
            act()
        except VprError as error:
            self.get_logger().error(f'cannot {action}: {error}')
            return refusal
        except Exception:
            self.get_logger().error(f'cannot {action}:\n{traceback.format_exc()}')
            return ERROR
        return OK
