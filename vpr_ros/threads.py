"""How our processes share the processor with others."""

from __future__ import annotations

import os


def share_the_processor() -> None:
    """Let idle OpenMP threads sleep; call before torch, FAISS or OpenCV are loaded.

    By default they spin while they wait for each other. On a robot, where other nodes keep the
    cores busy, a thread then spins for one that has no core to run on: beside one busy process on
    two cores sage_nano takes 1400 ms an image, and 38 ms if idle threads sleep; alone 15.5 and 19
    (benchmarks/busy_machine.py). numpy's OpenBLAS threads spin between images, too: the live node
    took 0.2 cores at 10 Hz in place of 1.1 with the shortest time-out they know, 2^4 cycles
    (benchmarks/node_latency.py). What the user has set stays.
    """
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    os.environ.setdefault('OPENBLAS_THREAD_TIMEOUT', '4')
