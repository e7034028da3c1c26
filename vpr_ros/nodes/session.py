"""A plain node that spins in the background, in a ROS context of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


@contextmanager
def spinning_node(name: str, environment: Mapping[str, str] | None = None) -> Iterator[Node]:
    """Give a node whose call-backs run in a thread of its own.

    Args:
        name: of the node.
        environment: in place of the process's own, as far as DDS looks at it.
    """
    context = Context()
    with _environment(environment or os.environ):
        rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node(name, context=context, use_global_arguments=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name=name, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.shutdown(context=context)


@contextmanager
def _environment(environment: Mapping[str, str]) -> Iterator[None]:
    """DDS reads the environment when the first node of a context is made, and only then."""
    before = dict(os.environ)
    _change_to(environment)
    try:
        yield
    finally:
        _change_to(before)


def _change_to(environment: Mapping[str, str]) -> None:
    for key in os.environ.keys() - environment.keys():
        del os.environ[key]
    os.environ.update(environment)
