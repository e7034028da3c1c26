"""The executable `replay_evaluation`: a recording in, figures of the live node out."""

from __future__ import annotations

import sys

from vpr_ros.nodes.batch import run
from vpr_ros.nodes.process import leave


def main() -> None:
    """Evaluate, and exit with 0 (written), 1 (failed or interrupted) or 2 (wrong use)."""
    leave(run('vpr_ros.nodes.replay_evaluation_node', 'ReplayEvaluation', sys.argv))


if __name__ == '__main__':
    main()
