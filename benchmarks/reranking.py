"""What the second stage costs, and what it changes: FoL++ adaptive and fixed, FoL's rule, none.

    python benchmarks/reranking.py [--model NAME] [--weights FILE] [--threads N] [--repeat N]
                                   [--released] [--json OUT] [SET ...]

First the time of 100 candidates of 128 patches each, made up: unpacking them from what a map
stores, matching them, and both with the sorting as the front door does it, for a fixed pool and
for one that adapts to similarities that fall evenly from 0.8 to 0.3, by them alone and by the
reliability of the query as well. With a GPU also there;
matching includes the way of the candidates to it. --released adds FoL's rule on 3,365 positions.

Then the shared sets (see shared_sets.py): each query is answered in every way, in turn and in
another order each time: recall@1 over the queries that have a match, candidates visited, and the
median milliseconds from stored bytes to the new order. Times are warm. On a busy machine compare
within a run, and see the processor's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vpr_ros.threads import share_the_processor

share_the_processor()

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from vpr_ros.config.recognition import RerankingConfig  # noqa: E402
from vpr_ros.evaluation.datasets import LoopSet, RetrievalSet, read_dataset  # noqa: E402
from vpr_ros.evaluation.ranking import rank_descriptors  # noqa: E402
from vpr_ros.maps.local_features import pack, unpack  # noqa: E402
from vpr_ros.models import PlaceModel, build_model  # noqa: E402
from vpr_ros.recognition.matching import match  # noqa: E402
from vpr_ros.recognition.reranking import Reranker, build_reranker  # noqa: E402
from vpr_ros.records import Candidate, LocalFeatures, Place  # noqa: E402

DEFAULT_ROOT = Path(__file__).resolve().parents[2] / 'shared' / 'data'
SETS = ('euroc', 'duckietown', 'kitti-noloop', 'corridor', 'toy-streetview', 'tower-floors',
        'tower-seconds')  # fmt: skip
FIXED = RerankingConfig('folpp', similarity_range=2.0, deviations=-10.0, by_reliability=False)
WAYS = {
    'none': RerankingConfig('none'),
    'adaptive': RerankingConfig('folpp'),
    'by similarity': RerankingConfig('folpp', by_reliability=False),
    'fixed': FIXED,
    'FoL': RerankingConfig('fol'),
}
CANDIDATES, PATCHES, DIM = 100, 128, 128
RELEASED_POSITIONS = 3365  # of FoL at 322 x 322


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds of one thing, warm; by the clock but for the first."""

    what: str
    device: str
    processor: float  # median time of all threads together
    best: float
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Row:
    """One way on one set."""

    set: str
    way: str
    queries: int  # answered
    recall_1: float | None  # of those that have a match; None: none has
    visited: float  # candidates re-ranked, mean
    median_ms: float
    bytes_per_place: float


@dataclass(frozen=True)
class Described:
    """Images of one side: descriptors (N, D), and local features as a map stores them."""

    descriptors: np.ndarray
    blobs: list[bytes]


def made_up(images: int, patches: int, seed: int, device: str = 'cpu') -> LocalFeatures:
    """Images that show the same place more or less."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(1, patches, DIM, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(images, patches, DIM, generator=generator)
    share = 3.0 * torch.rand(images, 1, 1, generator=generator)
    return LocalFeatures(
        F.normalize(base + share * noise, dim=2).to(device),
        torch.ones(images, patches, dtype=torch.bool, device=device),
        torch.zeros(images, patches, 2, device=device),
        torch.rand(images, patches, generator=generator).to(device),
    )


def timed(what: str, device: str, repeat: int, function: Callable[[], object]) -> Percentiles:
    taken, worked = [], []
    for _ in range(5 + repeat):
        start, cpu = time.perf_counter(), time.process_time()
        function()
        if device == 'cuda':
            torch.cuda.synchronize()
        taken.append(1e3 * (time.perf_counter() - start))
        worked.append(1e3 * (time.process_time() - cpu))
    values = np.percentile(taken[5:], (0, 50, 90, 99)).tolist()
    return Percentiles(what, device, float(np.median(worked[5:])), *values)


def measure_time(device: str, repeat: int) -> list[Percentiles]:
    """100 candidates, made up."""
    query = made_up(1, PATCHES, 1, device)
    places = made_up(CANDIDATES, PATCHES, 2)
    blobs = [pack(places[i], limit_bytes=20_000) for i in range(CANDIDATES)]
    candidates = [
        Candidate(Place(i, 0, 0), float(s))
        for i, s in enumerate(np.linspace(0.8, 0.3, CANDIDATES))
    ]

    def whole(config: RerankingConfig) -> Callable[[], object]:
        reranker = build_reranker(config)
        return lambda: reranker.rerank(
            query, candidates, lambda ids: unpack([blobs[i] for i in ids])
        )

    def pool(way: str) -> int:
        return build_reranker(WAYS[way]).rerank(
            query, candidates, lambda ids: unpack([blobs[i] for i in ids])
        ).pool  # fmt: skip

    adaptive = [
        timed(f'FoL++ {way} ({pool(way)})', device, repeat, whole(WAYS[way]))
        for way in ('by similarity', 'adaptive')
    ]
    return [
        timed('unpack 100', device, repeat, lambda: unpack(blobs)),
        timed('match 100', device, repeat, lambda: match(query, places)),
        timed('FoL++ fixed', device, repeat, whole(FIXED)),
        *adaptive,
        timed('FoL', device, repeat, whole(WAYS['FoL'])),
    ]


def measure_released(device: str) -> Percentiles:
    """FoL's rule as released: dense positions in float32."""
    query = made_up(1, RELEASED_POSITIONS, 1, device)
    places = made_up(CANDIDATES, RELEASED_POSITIONS, 2, device)
    what = f'FoL, {RELEASED_POSITIONS} positions'
    return timed(what, device, 3, lambda: match(query, places))


def describe(model: PlaceModel, images: Iterable[np.ndarray], what: str) -> Described:
    rows, blobs = [], []
    for image in track(list(images), description=what, transient=True):
        features = model.describe([image])
        if features.local is None:
            raise SystemExit(f'{model.name} has no local features: name one of the FoL family')
        rows.append(features.descriptor[0].cpu().numpy())
        blobs.append(pack(features.local))
    return Described(np.array(rows), blobs)


def measure_set(model: PlaceModel, name: str, root: Path) -> list[Row]:
    """Answer every query of a set in every way."""
    data = read_dataset(name, root)
    if isinstance(data, LoopSet):
        queries = references = describe(model, data.images, name)
        truth = data.truth()
    elif isinstance(data, RetrievalSet):
        queries = describe(model, data.queries, f'{name}, queries')
        references = describe(model, data.references, f'{name}, references')
        truth = data.truth
    else:
        raise SystemExit(f'{name} is a set of pairs: there is nothing to rank')
    ranking, _ = rank_descriptors(
        queries.descriptors, references.descriptors, truth.admissible, CANDIDATES
    )
    rerankers = {way: build_reranker(config) for way, config in WAYS.items()}
    found: dict[str, list[tuple[bool, int, float]]] = {way: [] for way in WAYS}
    answered = np.flatnonzero(ranking.answered)
    for turn, q in enumerate(answered):
        count = ranking.count[q]
        candidates = [
            Candidate(Place(int(row), 0, 0), float(similarity))
            for row, similarity in zip(
                ranking.indices[q, :count], ranking.similarities[q, :count], strict=True
            )
        ]
        local = unpack([queries.blobs[q]])[0]
        ways = list(WAYS)
        for way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
            best, pool, taken = answer(rerankers[way], local, candidates, references.blobs)
            found[way].append((bool(truth.positive[q, best]), pool, taken))
    matchable = truth.has_positive[answered]
    size = float(np.mean([len(blob) for blob in references.blobs]))
    return [row(name, way, found[way], matchable, size) for way in WAYS]


def answer(
    reranker: Reranker, local: LocalFeatures, candidates: list[Candidate], blobs: list[bytes]
) -> tuple[int, int, float]:
    """Best reference, candidates visited and milliseconds."""
    start = time.perf_counter()
    found = reranker.rerank(local, candidates, lambda ids: unpack([blobs[i] for i in ids]))
    taken = 1e3 * (time.perf_counter() - start)
    return found.candidates[0].place.id, found.pool, taken


def row(
    name: str, way: str, found: list[tuple[bool, int, float]], matchable: np.ndarray, size: float
) -> Row:
    right, pool, taken = (np.array(column) for column in zip(*found, strict=True))
    recall = float(right[matchable].mean()) if matchable.any() else None
    return Row(name, way, len(found), recall, float(pool.mean()), float(np.median(taken)), size)


def time_table(times: list[Percentiles], title: str) -> Table:
    columns = ('ms', 'device', 'processor', 'best', 'p50', 'p90', 'p99')
    table = Table(*columns, title=title)
    for one in times:
        values = (one.processor, one.best, one.p50, one.p90, one.p99)
        table.add_row(one.what, one.device, *(f'{x:.2f}' for x in values))
    return table


def set_table(rows: list[Row]) -> Table:
    """Recall in percent, with the change by re-ranking in points."""
    table = Table('set', 'asked', 'bytes', 'way', 'R@1', 'change', 'visited', 'ms')
    plain = {one.set: one.recall_1 for one in rows if one.way == 'none'}
    for one in rows:
        first, recall, before = one.way == 'none', one.recall_1, plain[one.set]
        table.add_row(
            *((one.set, str(one.queries), f'{one.bytes_per_place:.0f}') if first else 3 * ('',)),
            one.way,
            '' if recall is None else f'{100 * recall:.1f}',
            '' if recall is None or before is None else f'{100 * (recall - before):+.1f}',
            f'{one.visited:.1f}',
            f'{one.median_ms:.2f}',
        )
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('sets', nargs='*', default=SETS, metavar='SET')
    parser.add_argument('--model', default='folpp_nano')
    parser.add_argument('--weights', default='')
    parser.add_argument('--threads', type=int, default=0, help="of torch; 0: torch's own choice")
    parser.add_argument('--repeat', type=int, default=200, help='warm repetitions of a time')
    parser.add_argument('--released', action='store_true', help='also FoL on 3,365 positions')
    parser.add_argument('--json', help='also write the figures to this file')
    parser.add_argument('--root', default=os.environ.get('VPR_SHARED_DATA', DEFAULT_ROOT))
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    devices = ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
    times = [one for device in devices for one in measure_time(device, arguments.repeat)]
    if arguments.released:
        times += [measure_released(device) for device in devices]
    model = build_model(arguments.model, 'cpu', arguments.weights)
    rows = [x for name in arguments.sets for x in measure_set(model, name, Path(arguments.root))]
    threads = torch.get_num_threads()
    title = f'{CANDIDATES} candidates of {PATCHES} patches, {threads} threads'
    console = Console()
    console.print(time_table(times, title))
    console.print(set_table(rows))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({
            'model': model.id, 'placement': str(model.placement), 'threads': threads,
            'load': os.getloadavg()[0], 'times': [asdict(x) for x in times],
            'sets': [asdict(x) for x in rows],
        }, indent=1))  # fmt: skip
    return 0


if __name__ == '__main__':
    sys.exit(main())
