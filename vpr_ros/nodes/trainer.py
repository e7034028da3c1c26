"""The executable `trainer`: a training as a node, for launch files. It ends when that does."""

from __future__ import annotations

import signal
import sys
import threading

from vpr_ros.errors import ConfigError, VprError
from vpr_ros.nodes import require_ros
from vpr_ros.nodes.process import FAILED, WRONG_USE
from vpr_ros.threads import share_the_processor


def main() -> None:
    """Train, and exit with 0 (done or interrupted), 1 (failed) or 2 (wrong use)."""
    share_the_processor()
    try:
        require_ros()
        sys.exit(_run(sys.argv))
    except VprError as error:
        sys.stderr.write(f'{error}\n')
        sys.exit(FAILED)


def _run(argv: list[str]) -> int:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from vpr_ros.nodes.session import spinning
    from vpr_ros.nodes.training_node import Trainer

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # the state is saved after the step under way
        signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # of rclpy's C++ module, with the place in its own source
        sys.stderr.write(f'wrong arguments: {str(error).partition(", at /")[0]}\n')
        return WRONG_USE
    node = Trainer(stop)
    try:
        with spinning(node.context, node):
            try:
                node.carry_out()
            finally:
                node.linger()
    except ConfigError:
        return WRONG_USE
    except VprError:
        return FAILED
    finally:
        # Not before nobody spins any more: a thread that is about to wait would never wake.
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    main()
