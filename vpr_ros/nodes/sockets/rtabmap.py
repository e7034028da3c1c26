"""The executable `rtabmap_links`: loop closures become links of RTAB-Map's graph."""

from __future__ import annotations

import sys

from vpr_ros.nodes.batch import run
from vpr_ros.nodes.process import leave


def main() -> None:
    """Link until SIGINT or SIGTERM; exit with 0, 1 (no rtabmap_msgs) or 2 (wrong use)."""
    module = 'vpr_ros.nodes.sockets.rtabmap_node'
    leave(run(module, 'RtabmapLinks', sys.argv, at_once=False))


if __name__ == '__main__':
    main()
