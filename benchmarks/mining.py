"""What SAGE's online mining costs apart from the network: time and memory of a plan.

    python benchmarks/mining.py OUT [--quick] [--length D] [--threads N]

Positions are those of made-up towns: bent grids of streets that thin out from the centre, a place
every 30 m, ten views of each from several drives. Descriptors are made up too, by a multiplication
of about the cost of writing them down; the time that takes stands for the network and is reported
apart. Each case runs in a process of its own, so that peaks of memory are its own.

The first case has the size of the published one: 125,000 places, an epoch of 2,000 batches of 30
places of 4 views, which takes SAGE's authors 6.2 minutes, their network included, on a machine
they do not name. The others go from 10^4 to 10^6 images, once with such an epoch and once with one
in proportion to the data. Writes mining.json and mining.png into the folder OUT.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

LENGTH = 8448  # of a descriptor of SAGE
PLACES, BATCHES = 125_000, 2000
BATCH_PLACES, BATCH_VIEWS = 30, 4
PUBLISHED_S = 6.2 * 60
AREAS = 20
SPACING_M, BLOCK_M = 30.0, 110.0
VIEWS = 10  # of a place, on average
LATENT = 48
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
QUICK_SIZES = (10_000, 20_000, 40_000)
STAGES = ('graph', 'store', 'resemblance', 'cliques', 'affinity', 'rest')

Result = dict[str, float]


def town(places: int, rng: np.random.Generator) -> np.ndarray:
    """Centres (places, 2) along the streets of a town, in m."""
    half = math.ceil(math.sqrt(places * SPACING_M * BLOCK_M / 2)) * 1.3
    along = np.arange(-half, half, SPACING_M)
    across = np.arange(-half, half, BLOCK_M)
    grid = np.stack(np.meshgrid(along, across), axis=-1).reshape(-1, 2)
    spots = np.concatenate([grid, grid[:, ::-1]])
    # Towns are dense in the middle, and streets are seldom straight.
    keys = np.hypot(*spots.T) / half + 0.3 * np.sin(spots / 900.0).sum(axis=1)
    spots = spots[np.argsort(keys + rng.normal(0, 0.1, len(spots)))[:places]]
    bent = spots + 60.0 * np.sin(spots[:, ::-1] / 400.0 + rng.uniform(0, 6, 2))
    turn = rng.uniform(0, math.pi)
    return bent @ np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])


def view_set(images: int, rng: np.random.Generator):
    """Views of towns of very different sizes."""
    from vpr_ros.training.views import ViewSet

    places = images // VIEWS
    shares = np.exp(rng.normal(0, 0.8, AREAS))
    sizes = np.maximum(20, places * shares / shares.sum()).astype(int)
    sizes[np.argmax(sizes)] += places - sizes.sum()
    centres = np.concatenate([town(size, rng) for size in sizes])
    counts = np.maximum(2, rng.poisson(VIEWS, places))
    labels = np.repeat(np.arange(places), counts)
    position = centres[labels] + rng.normal(0, 4.0, (len(labels), 2))
    areas = np.repeat(np.arange(AREAS), sizes)[labels]
    heading = rng.uniform(-math.pi, math.pi, len(labels))
    names = tuple(f'town {n}' for n in range(AREAS))
    return ViewSet([], position, heading, labels, areas, areas, names)


class Network:
    """Unit descriptors from a few random numbers of place and image; knows how long it took."""

    def __init__(self, labels: np.ndarray, length: int, rng: np.random.Generator) -> None:
        import torch

        kinds = rng.normal(size=(40, LATENT)).astype(np.float32)  # of streets that look alike
        places = int(labels.max()) + 1
        self._place = kinds[rng.integers(40, size=places)]
        self._place += rng.normal(0, 0.7, self._place.shape).astype(np.float32)
        self._labels = labels
        self._image = rng.normal(0, 0.5, (len(labels), LATENT)).astype(np.float16)
        self._spread = torch.from_numpy(rng.normal(size=(LATENT, length)).astype(np.float32))
        self.seconds, self.cpu_seconds, self.images = 0.0, 0.0, 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        import torch

        start, before = time.perf_counter(), time.process_time()
        hidden = self._place[self._labels[images]] + self._image[images]
        rows = torch.from_numpy(hidden) @ self._spread
        rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        found = rows.half().numpy()
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.process_time() - before
        self.images += len(images)
        return found


class Memory:
    """Peak of this process' own memory, and of that with the pages of its mapped file, in GB."""

    def __init__(self) -> None:
        self.own = self.mapped = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            text = Path('/proc/self/status').read_text()
            sizes = dict(line.split(':', 1) for line in text.splitlines())
            own, file = (int(sizes[f'Rss{kind}'].split()[0]) / 1e6 for kind in ('Anon', 'File'))
            self.own, self.mapped = max(self.own, own), max(self.mapped, own + file)


def timed(function: Callable, stage: str, seconds: dict[str, float]) -> Callable:
    def run(*arguments, **options):
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds[stage] += time.perf_counter() - start

    return run


def watch_stages(seconds: dict[str, float]) -> None:
    """Have the parts of the miner add up their time; `seconds` outlives the plan."""
    from vpr_ros.training import descriptions, mining

    descriptions.Descriptions.require = timed(
        descriptions.Descriptions.require, 'require', seconds
    )
    mining.neighbourhoods = timed(mining.neighbourhoods, 'resemblance', seconds)
    mining.Miner._next_clique = timed(mining.Miner._next_clique, 'cliques', seconds)
    mining.ByAffinity._chosen = timed(mining.ByAffinity._chosen, 'affinity', seconds)


def measure(images: int, batches: int, length: int, threads: int) -> Result:
    """Mine one plan."""
    import torch

    from vpr_ros.config.training import SamplerConfig
    from vpr_ros.training.sampling import build_sampler

    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    views = view_set(images, rng)
    network = Network(views.places, length, rng)
    stages: dict[str, float] = defaultdict(float)
    watch_stages(stages)
    with Memory() as memory:
        start, before = time.perf_counter(), time.process_time()
        sampler = build_sampler(views, SamplerConfig(), BATCH_PLACES, BATCH_VIEWS)
        built = time.perf_counter()
        plan = sampler.plan(batches, network, rng)
        done = time.perf_counter()
    stages['graph'] = built - start
    stages['store'] = stages.pop('require') - network.seconds
    stages['rest'] = done - start - network.seconds - sum(stages.values())
    return {
        'images': len(views),
        'places': views.place_count,
        'batches': batches,
        'length': length,
        'different images': len(np.unique(plan.images)),
        'described': network.images,
        'describe s': network.seconds,
        'own s': done - start - network.seconds,
        'own CPU s': time.process_time() - before - network.cpu_seconds,
        'own memory GB': memory.own,
        'memory with mapped GB': memory.mapped,
        'file GB': 2e-9 * length * network.images,
        **{f'{stage} s': stages[stage] for stage in STAGES},
    }


def in_a_process(images: int, batches: int, arguments: argparse.Namespace) -> Result:
    case = [str(images), str(batches)]
    options = ['--length', str(arguments.length), '--threads', str(arguments.threads)]
    command = [sys.executable, __file__, 'unused', '--case', *case, *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def show(rows: list[Result]) -> Table:
    table = Table('images', 'places', 'batches', 'described', 'network', 'ours', *STAGES, 'memory')
    for row in rows:
        numbers = [f'{row[key]:,.0f}' for key in ('images', 'places', 'batches', 'described')]
        seconds = [f'{row[f"{key} s"]:.1f}' for key in ('describe', 'own', *STAGES)]
        memory = f'{row["own memory GB"]:.1f} + {row["file GB"]:.1f} GB'
        table.add_row(*numbers, *seconds, memory)
    return table


def draw(paper: Result, fixed: list[Result], growing: list[Result], path: Path) -> None:
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.6, 3.8), dpi=100)
    if paper['batches'] == BATCHES:
        axes.plot(paper['images'], PUBLISHED_S, 'kx', label='published, network included')
        axes.plot(paper['images'], paper['own s'], 'k*', label='ours of that size, without it')
    same = f'epochs of {fixed[0]["batches"]:,} batches'
    for rows, label in ((fixed, same), (growing, 'epochs in proportion')):
        x = [row['images'] for row in rows]
        axes.plot(x, [row['own s'] for row in rows], 'o-', label=label)
    for stage, style in (('resemblance', ':'), ('graph', '-.'), ('cliques', '--')):
        y = [row[f'{stage} s'] for row in growing]
        axes.plot(x, y, style, color='C1', alpha=0.7, label=f'part of it: {stage}')
    axes.set(xscale='log', yscale='log', xlabel='images', ylabel='seconds an epoch')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help='folder for mining.json and mining.png')
    parser.add_argument('--quick', action='store_true', help='small sets only: a minute')
    parser.add_argument('--length', type=int, default=LENGTH, help='of a descriptor')
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--case', type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        json.dump(measure(*arguments.case, arguments.length, arguments.threads), sys.stdout)
        return
    scale = 50 if arguments.quick else 1
    batches = BATCHES // scale
    sizes = QUICK_SIZES if arguments.quick else SIZES
    console = Console(width=None if sys.stdout.isatty() else 140)
    with console.status('mining'):
        paper = in_a_process(PLACES * VIEWS // scale, batches, arguments)
        console.print(show([paper]))
        fixed = [in_a_process(size, batches, arguments) for size in sizes]
        growing = [
            in_a_process(size, max(1, size * BATCHES // (PLACES * VIEWS)), arguments)
            for size in sizes
        ]
    console.print(show(fixed), show(growing))
    ratio = PUBLISHED_S / paper['own s']
    if not arguments.quick:
        console.print(f'{paper["own s"]:.1f} s apart from the network: 1/{ratio:.0f} of 6.2 min')
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = {'paper': paper, 'fixed': fixed, 'growing': growing, 'threads': arguments.threads}
    with tempfile.NamedTemporaryFile('w', dir=arguments.out, delete=False) as file:
        json.dump(result, file, indent=1)
    os.replace(file.name, arguments.out / 'mining.json')
    draw(paper, fixed, growing, arguments.out / 'mining.png')


if __name__ == '__main__':
    main()
