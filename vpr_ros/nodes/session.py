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

from vpr_ros.nodes.process import LOOK_UP_S


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
    try:
        with spinning(context, node):
            yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


@contextmanager
def spinning(context: Context, *nodes: Node) -> Iterator[None]:
    """Run the call-backs of these nodes in a thread of its own, which has ended afterwards."""
    executor = SingleThreadedExecutor(context=context)
    for node in nodes:
        executor.add_node(node)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set() and context.ok():
            executor.spin_once(timeout_sec=LOOK_UP_S)

    thread = threading.Thread(target=spin, name=nodes[0].get_name(), daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Only then the executor: its shutdown destroys what would wake a thread that is about to
        # wait, and where no message comes any more, that thread waits for ever.
        stop.set()
        executor.wake()
        thread.join()
        executor.shutdown()


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
