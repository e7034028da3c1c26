"""How our processes share the processor with others."""

from __future__ import annotations

import os


def share_the_processor() -> None:
    """Let idle OpenMP threads sleep; call before torch, FAISS or OpenCV are loaded.

    By default they spin while they wait for each other. On a robot, where other nodes keep the
    cores busy, a thread then spins for one that has no core to run on: beside one busy process on
    two cores sage_nano takes 1400 ms an image, and 38 ms if idle threads sleep; alone 15.5 and 19
    (benchmarks/busy_machine.py). What the user has set stays.
    """
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
