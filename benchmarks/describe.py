"""Time to describe one 640x480 image, each model against sage_vitb in the same run.

    python benchmarks/describe.py [--repeat N] [MODEL ...]

Preprocessing and network, batch 1, fp32, as the live node calls them; random weights cost the same
as trained ones. The ratio is what to compare between machines.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from vpr_ros.image import to_tensor
from vpr_ros.models.registry import MODELS, untrained_model

REFERENCE = 'sage_vitb'
WARM_UP = 5


def seconds_per_image(name: str, repeat: int) -> list[float]:
    """Wall time of each of `repeat` images."""
    model = untrained_model(name)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    taken = []
    with torch.inference_mode():
        for _ in range(WARM_UP + repeat):
            start = time.perf_counter()
            model.network(to_tensor(image, model.input)).numpy()
            taken.append(time.perf_counter() - start)
    return taken[WARM_UP:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('models', nargs='*', default=['sage_nano', 'sage_vits', REFERENCE])
    parser.add_argument('--repeat', type=int, default=30)
    arguments = parser.parse_args()
    names = sorted({*arguments.models, REFERENCE}, key=list(MODELS).index)
    times = {name: seconds_per_image(name, arguments.repeat) for name in names}
    base = statistics.median(times[REFERENCE])
    table = Table('model', 'input', 'parameters', 'median ms', 'p95 ms', f'{REFERENCE} / model')
    for name, taken in times.items():
        count = sum(p.numel() for p in untrained_model(name).network.parameters())
        median, p95 = statistics.median(taken), float(np.percentile(taken, 95))
        size = 'x'.join(map(str, MODELS[name].input.size))
        table.add_row(
            name, size, f'{count / 1e6:.2f} M', f'{1e3 * median:.1f}', f'{1e3 * p95:.1f}',
            f'{base / median:.1f}',
        )  # fmt: skip
    Console().print(f'torch {torch.__version__}, {torch.get_num_threads()} threads')
    Console().print(table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
