"""The executable `loop_closing`: odometry and closures in, map -> odom out."""

from __future__ import annotations

import sys

from vpr_ros.nodes.batch import run
from vpr_ros.nodes.process import leave


def main() -> None:
    """Run until SIGINT or SIGTERM and exit with 0, 1 (failed) or 2 (wrong use)."""
    leave(run('vpr_ros.nodes.sockets.loop_closing_node', 'LoopClosingNode', sys.argv))


if __name__ == '__main__':
    main()
