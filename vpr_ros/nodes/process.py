"""The life of a node's process: arguments, signals, spinning, exit code. Imports ROS late."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from vpr_ros.errors import VprError
from vpr_ros.nodes import require_ros
from vpr_ros.threads import share_the_processor

if TYPE_CHECKING:
    from rclpy.executors import Executor

    from vpr_ros.nodes.lifecycle import ReportingLifecycleNode

WRONG_USE = 2
FAILED = 1
LAST_CALL_S = 10.0  # for a call-back under way when the process is to end
LAST_WORD_S = 3.0  # for DDS to say goodbye
LAST_ANSWERS = 20  # call-backs run for those who wait when the node goes
LOOK_UP_S = 0.5  # how often the spinning thread looks whether it is still wanted


def run(module: str, class_: str, argv: list[str]) -> int:
    """Run a lifecycle node until SIGINT or SIGTERM, then release what it holds.

    Args:
        module: where the node's class is; imported late, because torch takes seconds.
        class_: the node's class.
        argv: as `sys.argv`.

    Returns:
        0, 1 (failed) or 2 (wrong use).
    """
    share_the_processor()
    # Both signals raise KeyboardInterrupt, wherever the main thread is: launch sends SIGINT, a
    # service manager SIGTERM, and rclpy's own handlers would end the context under the node.
    _on_signals(signal.default_int_handler)
    try:
        require_ros()
        return _run(module, class_, argv)
    except VprError as error:
        _say(str(error))
        return FAILED
    except KeyboardInterrupt:
        return 0


def _run(module: str, class_: str, argv: list[str]) -> int:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import remove_ros_args

    try:
        unknown = remove_ros_args(argv)[1:]
        if unknown:
            _say(f'unknown argument {unknown[0]}: write parameters as --ros-args -p name:=value')
            return WRONG_USE
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # of rclpy's C++ module, with the place in its own source
        _say(f'wrong arguments: {str(error).partition(", at /")[0]}')
        return WRONG_USE
    try:
        node = getattr(import_module(module), class_)()
        # Torch stays: to look through it again and again makes a full collection 260 ms, not 90.
        gc.freeze()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            return _live(node, executor)
        finally:
            _take_leave(node, executor)
            executor.shutdown()
            node.end()
    finally:
        rclpy.try_shutdown()


def _live(node: ReportingLifecycleNode, executor: Executor) -> int:
    if node.get_parameter('autostart').value and not node.start():
        return FAILED
    # Signals reach the main thread only between two lines of Python, so another one waits in C++.
    stop, ended = threading.Event(), threading.Event()
    spinning = threading.Thread(target=_spin, args=(node, executor, stop, ended), daemon=True)
    try:
        spinning.start()
        # Not `join`: up to Python 3.12 one that a signal interrupts takes the thread for ended.
        ended.wait()
    finally:
        _on_signals(signal.SIG_IGN)  # the map is being closed
        # Before the executor: what its shutdown destroys would wake a thread about to wait.
        stop.set()
        executor.wake()
        ended.wait(LAST_CALL_S)
    return FAILED


def _take_leave(node: ReportingLifecycleNode, executor: Executor) -> None:
    """Shut the node down, and let those who wait for an answer have it."""
    try:
        node.trigger_shutdown()
        for _ in range(LAST_ANSWERS):
            executor.spin_once(timeout_sec=0.0)
    except Exception as error:  # out of turn: a transition was interrupted
        node.get_logger().debug(f'{type(error).__name__}: {error}')


def leave(code: int) -> NoReturn:
    """End the process without what the C++ libraries do when a program ends.

    Fast DDS 3.2 aborts there now and then (at 1 of 5 exits with LARGE_DATA on a busy machine), and
    its participants can hang when they are destroyed. All of ours is closed by now.
    """
    closing = threading.Thread(target=_close_context, daemon=True)
    closing.start()
    closing.join(LAST_WORD_S)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _close_context() -> None:
    """Others learn at once that we have gone, and not when they have waited in vain."""
    from rclpy.utilities import get_default_context

    gc.collect()  # whatever still holds the participant
    get_default_context().destroy()


def _spin(
    node: ReportingLifecycleNode,
    executor: Executor,
    stop: threading.Event,
    ended: threading.Event,
) -> None:
    """Spin, also past what a call-back raises: rclpy 7 does for a transition out of turn."""
    try:
        while executor.context.ok() and not stop.is_set():
            try:
                executor.spin_once(timeout_sec=LOOK_UP_S)
            except Exception as error:
                node.get_logger().error(f'{type(error).__name__}: {error}')
    finally:
        ended.set()


def _on_signals(handler: Any) -> None:
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def _say(sentence: str) -> None:
    sys.stderr.write(f'{sentence}\n')
