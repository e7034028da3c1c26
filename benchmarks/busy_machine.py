"""What a busy neighbour costs: sage_nano alone and beside another process, spinning and sleeping.

    python benchmarks/busy_machine.py [--repeat N]

Each case is a process of its own, because OpenMP reads its wait policy once. The neighbour trains,
as a second torch process would: it multiplies matrices on every core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

POLICIES = ('ACTIVE', 'default', 'PASSIVE')
CASES = [(engine, policy) for engine in ('torch', 'openvino') for policy in POLICIES]


def describe(repeat: int, engine: str) -> None:
    """Print the median milliseconds of one image; runs in a process of its own."""
    import numpy as np

    from vpr_ros.models import build_model
    from vpr_ros.models.engines import compiled

    if engine == 'torch':
        compiled.can_compile = lambda: False
    model = build_model('sage_nano', 'cpu')
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    taken = []
    for _ in range(3 + repeat):
        start = time.perf_counter()
        model.describe([image])
        taken.append(1e3 * (time.perf_counter() - start))
    sys.stdout.write(f'{statistics.median(taken[3:])}\n')


def neighbour() -> None:
    """Keep every core busy until killed."""
    import torch

    matrix = torch.randn(1500, 1500)
    while True:
        matrix = torch.tanh(matrix @ matrix)


def run(engine: str, policy: str, repeat: int) -> float:
    environment = {k: v for k, v in os.environ.items() if k != 'OMP_WAIT_POLICY'}
    if policy != 'default':
        environment['OMP_WAIT_POLICY'] = policy
    command = [sys.executable, __file__, '--describe', engine, '--repeat', str(repeat)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeat', type=int, default=20)
    parser.add_argument('--describe', metavar='ENGINE', help=argparse.SUPPRESS)
    parser.add_argument('--neighbour', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.describe:
        describe(arguments.repeat, arguments.describe)
        return 0
    if arguments.neighbour:
        neighbour()
    alone = {case: run(*case, arguments.repeat) for case in CASES}
    process = subprocess.Popen([sys.executable, __file__, '--neighbour'])
    try:
        beside = {case: run(*case, arguments.repeat) for case in CASES}
    finally:
        process.kill()
        process.wait()
    table = Table('engine', 'OMP_WAIT_POLICY', 'alone, ms', 'beside a busy process, ms', 'ratio')
    for case in CASES:
        ratio = beside[case] / alone[case]
        table.add_row(*case, f'{alone[case]:.1f}', f'{beside[case]:.1f}', f'{ratio:.1f}')
    Console().print(table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
