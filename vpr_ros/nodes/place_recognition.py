"""The executable `place_recognition`: one lifecycle node, its signals and its exit code."""

from __future__ import annotations

import sys

from vpr_ros.nodes.process import leave, run


def main() -> None:
    """Run the node until SIGINT or SIGTERM and exit with 0, 1 (failed) or 2 (wrong use)."""
    leave(run('vpr_ros.nodes.recognition_node', 'PlaceRecognition', sys.argv))


if __name__ == '__main__':
    main()
