"""What shorter descriptors cost and save on the shared evaluation sets.

    python benchmarks/shorter_descriptors.py [--model NAME] [--json OUT] [LENGTH ...]

The first table has all references in one map, compressed by `vpr map compress`: recall@1 over the
queries of all sets, the agreement that `vpr map info` shows, seconds to compress, megabytes of the
file, and the time of a search against that of whole descriptors in the same run, projection
included, in as many places and in twenty times as many.

The second has a map for each set, and three ways to shorten: ours, that of SAGE's authors (mean
removed, searched by distance) and ours with lengths restored. For each recall@1, and how many best
candidates pass the threshold of the weights, right and wrong. A map with fewer places than a
length cannot have it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from shared_sets import DEFAULT_ROOT

from vpr_ros.evaluation.datasets import LoopSet, read_dataset
from vpr_ros.evaluation.loop_sets import describe
from vpr_ros.evaluation.protocols import Truth
from vpr_ros.maps.compress import Compression, compress
from vpr_ros.maps.index import ExactIndex
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.maps.projection import fit
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.records import Place
from vpr_ros.threads import share_the_processor

SETS = ('euroc', 'duckietown', 'corridor', 'tower-seconds')
OTHERS = ('kitti-noloop', 'toy-streetview')  # too small for figures of their own
LENGTHS = (1024, 512, 256, 128, 64)
MANY = 20  # times as many places, for the time of a search

Row = dict[str, float | int | str]


@dataclass(frozen=True)
class Described:
    """Queries (Q, D) and references (R, D) of a set, and which of them are right."""

    name: str
    queries: np.ndarray
    references: np.ndarray
    truth: Truth


def described(model: PlaceModel, name: str, root: Path) -> Described:
    data = read_dataset(name, root)
    if isinstance(data, LoopSet):
        rows = describe(model, data.images)
        return Described(name, rows, rows, data.truth())
    return Described(
        name, describe(model, data.queries), describe(model, data.references), data.truth
    )


def judged(similarity: np.ndarray, truth: Truth, threshold: float) -> dict[str, float | str]:
    """Recall@1, and right and wrong best candidates (Q, R) at least as similar as `threshold`."""
    allowed = np.where(truth.admissible, similarity, -np.inf)
    best = allowed.argmax(axis=1)
    right = truth.positive[np.arange(len(best)), best]
    accepted = allowed.max(axis=1) >= threshold
    return {
        'r@1': float(right[truth.has_positive].mean()),
        'accepted': f'{(accepted & right).sum()} / {(accepted & ~right).sum()}',
    }


def ways(data: Described, length: int) -> dict[str, np.ndarray]:
    """Similarities (Q, R) after each way to shorten."""
    tables = {}
    for name, centred in (('ours', False), ("authors'", True)):
        projection = fit(data.references, length, centred)
        rows = [projection.apply(x) for x in (data.queries, data.references)]
        tables[name] = projection.similarities(*rows)
        if not centred:
            rows = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows]
            tables['restored'] = rows[0] @ rows[1].T
    return tables


def set_rows(data: Described, lengths: list[int], threshold: float) -> list[Row]:
    whole = judged(data.queries @ data.references.T, data.truth, threshold)
    rows: list[Row] = [{'set': data.name, 'length': data.references.shape[1]}]
    rows[0].update({f'{key} ours': value for key, value in whole.items()})
    for length in lengths:
        if length >= len(data.references):
            continue
        row: Row = {'set': data.name, 'length': length}
        for name, table in ways(data, length).items():
            figures = judged(table, data.truth, threshold)
            row.update({f'{key} {name}': value for key, value in figures.items()})
        rows.append(row)
    return rows


def joint_recall(sets: list[Described], similar: Callable[[np.ndarray], np.ndarray]) -> float:
    """Recall@1 of all queries among the references of all sets."""
    found, asked, start = 0, 0, 0
    for data in sets:
        table = similar(data.queries)  # (Q, all references)
        own = slice(start, start + len(data.references))
        table[:, own][~data.truth.admissible] = -np.inf
        right = np.zeros(table.shape, bool)
        right[:, own] = data.truth.positive
        has = data.truth.has_positive
        found += int(right[np.arange(len(table)), table.argmax(axis=1)][has].sum())
        asked += int(has.sum())
        start = own.stop
    return found / asked


def search_seconds(place_map: PlaceMap, queries: np.ndarray, times: int) -> float:
    """Time to project and search a query, in a map `times` as large; fast tenth of a hundred."""
    index = ExactIndex(place_map.info.dim)
    index.add(np.repeat(place_map.descriptors(), times, axis=0))
    taken = []
    for query in queries[:100]:
        start = time.perf_counter()
        index.search(place_map.projection.apply(query) if place_map.projection else query, 10)
        taken.append(time.perf_counter() - start)
    return float(np.quantile(taken, 0.1))  # other processes disturb the rest


def file_row(path: Path, sets: list[Described], base: Row | None) -> Row:
    """Figures of one map file; times against those of `base`."""
    with PlaceMap.open(path, None) as place_map:
        stored, projection = place_map.descriptors(), place_map.projection
        row: Row = {
            'length': place_map.info.dim,
            'r@1': joint_recall(
                sets,
                lambda x: (
                    projection.similarities(projection.apply(x), stored)
                    if projection
                    else x @ stored.T
                ),
            ),
            **place_map.agreement,
            'MB': path.stat().st_size / 1e6,
        }
        for times in (1, MANY):
            row[f'search {times}x'] = search_seconds(place_map, sets[-1].queries, times)
    for key in [key for key in row if key.startswith('search') and base]:
        row[f'{key} of whole'] = row[key] / base[key]
    return row


def file_rows(sets: list[Described], lengths: list[int]) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'whole.vprmap'
        references = np.concatenate([data.references for data in sets])
        with PlaceMap.create(path, 'any', 'any', references.shape[1]) as place_map:
            session = place_map.add_session('all')
            for i, row in enumerate(references):
                place_map.add(Place(0, session, i), row)
        rows.append(file_row(path, sets, None))
        for length in (n for n in lengths if n < min(references.shape)):
            shorter = Path(folder) / f'{length}.vprmap'
            start = time.perf_counter()
            compress(path, shorter, Compression(length))
            taken = time.perf_counter() - start
            rows.append({**file_row(shorter, sets, rows[0]), 'seconds': taken})
    return rows


def shown(rows: list[Row], title: str) -> Table:
    columns = list(dict.fromkeys(key for row in rows[::-1] for key in row))
    table = Table(*columns, title=title)
    for row in rows:
        values = (row.get(column, '') for column in columns)
        table.add_row(*(f'{v:.3g}' if isinstance(v, float) else str(v) for v in values))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('lengths', nargs='*', type=int, default=LENGTHS, metavar='LENGTH')
    parser.add_argument('--model', default='sage_nano')
    parser.add_argument('--json', help='also write the figures to this file')
    parser.add_argument('--root', default=os.environ.get('VPR_SHARED_DATA', DEFAULT_ROOT))
    arguments = parser.parse_args()
    share_the_processor()
    model = build_model(arguments.model, 'cpu')
    sets = [described(model, name, Path(arguments.root)) for name in (*OTHERS, *SETS)]
    files = file_rows(sets, arguments.lengths)
    threshold = model.similarity_threshold or 0.0
    each = [
        row for data in sets[len(OTHERS) :] for row in set_rows(data, arguments.lengths, threshold)
    ]
    console = Console()
    console.print(shown(files, f'{model.id}, one map of {sum(len(d.references) for d in sets)}'))
    console.print(shown(each, f'a map for each set; accepted: right / wrong at {threshold}'))
    if arguments.json:
        Path(arguments.json).write_text(
            json.dumps({'model': model.id, 'joint': files, 'sets': each}, indent=1),
            encoding='utf-8',
        )
    return 0


if __name__ == '__main__':
    sys.exit(main())
