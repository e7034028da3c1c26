"""The executable `slam_toolbox_start`: slam_toolbox loads its map where the robot is."""

from __future__ import annotations

import sys

from vpr_ros.nodes.batch import run
from vpr_ros.nodes.process import leave


def main() -> None:
    """Run until SIGINT or SIGTERM, and exit with 0, 1 (failed) or 2 (wrong use)."""
    leave(run('vpr_ros.nodes.sockets.slam_toolbox_node', 'SlamToolboxStart', sys.argv))


if __name__ == '__main__':
    main()
