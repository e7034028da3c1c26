"""What shorter descriptors cost and save on the shared evaluation sets.

    python benchmarks/compression.py [--model NAME] [--json OUT] [LENGTH ...]

For each set and length: recall@1 with the projection of `vpr map compress`, fitted on the
references, and with the common one beside it (mean removed, lengths restored), how far the
similarities of true and false matches above 0.5 move, and the time of a search against that of
whole descriptors in the same run. A length above the number of references cannot be fitted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from shared_sets import DEFAULT_ROOT

from vpr_ros.evaluation.datasets import LoopSet, read_dataset
from vpr_ros.evaluation.loop_sets import describe
from vpr_ros.evaluation.protocols import Truth, truth
from vpr_ros.maps.index import ExactIndex
from vpr_ros.maps.projection import fit
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.threads import share_the_processor

SETS = ('duckietown', 'corridor', 'tower-floors', 'tower-seconds')
LENGTHS = (1024, 512, 256, 128, 64)
CLEAR = 0.5  # similarities above it are those that decide


def described(model: PlaceModel, name: str) -> tuple[np.ndarray, np.ndarray, Truth]:
    """Queries (Q, D), references (R, D), and which of them are right."""
    data = read_dataset(name, DEFAULT_ROOT)
    if isinstance(data, LoopSet):
        rows = describe(model, data.images)
        return rows, rows, truth(data.rule, data.track)
    return describe(model, data.queries), describe(model, data.references), data.truth


def recall_at_1(similarity: np.ndarray, judged: Truth) -> float:
    best = np.where(judged.admissible, similarity, -np.inf).argmax(axis=1)
    right = judged.positive[np.arange(len(best)), best]
    return float(right[judged.has_positive].mean())


def common(queries: np.ndarray, references: np.ndarray, length: int) -> np.ndarray:
    """Similarities after the usual projection: mean removed, lengths restored."""
    mean = references.mean(axis=0)
    right = np.linalg.svd(references - mean, full_matrices=False)[2][:length]
    rows = [(x - mean) @ right.T for x in (queries, references)]
    rows = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows]
    return rows[0] @ rows[1].T


def search_seconds(references: np.ndarray, queries: np.ndarray) -> float:
    index = ExactIndex(references.shape[1])
    index.add(np.repeat(references, 20, axis=0))
    taken = []
    for query in queries[:50]:
        start = time.perf_counter()
        index.search(query, 10)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def rows_of(name: str, model: PlaceModel, lengths: list[int]) -> list[dict]:
    queries, references, judged = described(model, name)
    whole = queries @ references.T
    base = search_seconds(references, queries)
    rows = [{'set': name, 'length': references.shape[1], 'r@1': recall_at_1(whole, judged)}]
    for length in lengths:
        if length >= min(references.shape):
            continue
        projection = fit(references, length)
        a, b = projection.apply(queries), projection.apply(references)
        moved = np.abs(a @ b.T - whole)[(whole > CLEAR) & judged.admissible]
        rows.append({
            'set': name, 'length': length, 'kept': projection.kept,
            'r@1': recall_at_1(a @ b.T, judged),
            'r@1 common': recall_at_1(common(queries, references, length), judged),
            'similarity moves': float(moved.mean()) if moved.size else None,
            'search': search_seconds(b, a) / base,
        })  # fmt: skip
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('lengths', nargs='*', type=int, default=LENGTHS, metavar='LENGTH')
    parser.add_argument('--model', default='sage_nano')
    parser.add_argument('--json', help='also write the figures to this file')
    arguments = parser.parse_args()
    share_the_processor()
    model = build_model(arguments.model, 'cpu')
    columns = ['set', 'length', 'kept', 'r@1', 'r@1 common', 'similarity moves', 'search']
    table = Table(*columns, title=f'{model.id}')
    rows = [row for name in SETS for row in rows_of(name, model, arguments.lengths)]
    for row in rows:
        values = (row.get(column, '') for column in columns)
        table.add_row(*(f'{v:.3f}' if isinstance(v, float) else str(v) for v in values))
    Console().print(table)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1), encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
