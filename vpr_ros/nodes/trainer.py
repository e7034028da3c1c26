"""The executable `trainer`: a training as a node, for launch files. It ends when that does."""

from __future__ import annotations

import sys

from vpr_ros.nodes.batch import run
from vpr_ros.nodes.process import leave


def main() -> None:
    """Train, and exit with 0 (done or interrupted), 1 (failed) or 2 (wrong use)."""
    # The state is saved after the step under way.
    leave(run('vpr_ros.nodes.training_node', 'Trainer', sys.argv, at_once=False))


if __name__ == '__main__':
    main()
