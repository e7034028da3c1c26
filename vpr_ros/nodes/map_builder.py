"""The executable `map_builder`: a recorded drive becomes a map. It ends when that is written."""

from __future__ import annotations

import sys

from vpr_ros.nodes.batch import run
from vpr_ros.nodes.process import leave


def main() -> None:
    """Build, and exit with 0 (written), 1 (failed or interrupted) or 2 (wrong use)."""
    leave(run('vpr_ros.nodes.map_builder_node', 'MapBuilder', sys.argv))


if __name__ == '__main__':
    main()
