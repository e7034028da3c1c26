"""The life of a process that does one thing and ends: arguments, signals, exit code."""

from __future__ import annotations

import signal
import sys
import threading
from importlib import import_module
from typing import Any

from vpr_ros.errors import ConfigError, VprError
from vpr_ros.nodes import require_ros
from vpr_ros.nodes.process import FAILED, WRONG_USE
from vpr_ros.threads import share_the_processor


def run(module: str, class_: str, argv: list[str], at_once: bool = True) -> int:
    """Let a node carry out what its parameters say.

    Args:
        module: where the node's class is; imported late, because torch takes seconds.
        class_: the node's class, made with an event that SIGINT and SIGTERM set. It has
            `carry_out` and `linger`.
        argv: as `sys.argv`.
        at_once: the signals interrupt whatever is under way, too, as launch waits five seconds.

    Returns:
        0, 1 (failed) or 2 (wrong use).
    """
    share_the_processor()
    stop = _stopping(at_once)
    try:
        require_ros()
        return _run(module, class_, argv, stop)
    except VprError as error:
        sys.stderr.write(f'{error}\n')
        return FAILED
    except KeyboardInterrupt:  # before there was anything to carry out
        return FAILED


def _stopping(at_once: bool) -> threading.Event:
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        first = not stop.is_set()
        stop.set()  # also looked at: what is raised while an object is deleted gets lost
        if first and at_once:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop


def _run(module: str, class_: str, argv: list[str], stop: threading.Event) -> int:
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import remove_ros_args

    from vpr_ros.nodes.session import spinning

    try:
        unknown = remove_ros_args(argv)[1:]
        if unknown:
            sys.stderr.write(
                f'unknown argument {unknown[0]}: write parameters as --ros-args -p name:=value\n'
            )
            return WRONG_USE
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # of rclpy's C++ module, with the place in its own source
        sys.stderr.write(f'wrong arguments: {str(error).partition(", at /")[0]}\n')
        return WRONG_USE
    node = getattr(import_module(module), class_)(stop)
    try:
        with spinning(node.context, node):
            try:
                return _carried_out(node)
            finally:
                stop.set()  # done: nothing is interrupted any more
                node.linger()
    finally:
        # Not before nobody spins any more: a thread that is about to wait would never wake.
        node.destroy_node()
        rclpy.try_shutdown()


def _carried_out(node: Any) -> int:
    try:
        node.carry_out()
    except ConfigError:  # the node has told it
        return WRONG_USE
    except VprError:
        return FAILED
    return 0
