"""Recall and precision of a model on the shared evaluation sets.

    python benchmarks/shared_sets.py [--model NAME] [--weights FILE] [--precision P]
                                     [--json OUT] [SET ...]

One line a set, nearest neighbour by descriptor alone, no verification and no temporal filter:
R@1 over the queries that have a match, average precision (single best match), recall at full
precision, and for sets of pairs the area under the ROC curve. For drives also what the front door
closes at its default settings, with its temporal agreement. The sets and the figures of three
simple descriptors are in the README of the shared data, which is looked for beside the checkout or
at $VPR_SHARED_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.table import Table

from vpr_ros.cli.console import print_table
from vpr_ros.evaluation.datasets import DATASETS, LoopSet, PairSet, read_dataset
from vpr_ros.evaluation.evaluate import DescribedSet, Options, evaluate_descriptors
from vpr_ros.evaluation.loop_sets import close_loops, describe
from vpr_ros.evaluation.precision_recall import ranking_auc
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.threads import share_the_processor

HELD_OUT_FLOORS = ('floor5', 'floor6')  # sage_nano has not seen these
DEFAULT_ROOT = Path(__file__).resolve().parents[2] / 'shared' / 'data'


def measure(model: PlaceModel, name: str, root: Path) -> dict[str, float | int | str | None]:
    """Figures of one set."""
    if name.endswith(':held-out'):
        folder, reader = DATASETS[name.removesuffix(':held-out')]
        data = reader(root / folder, HELD_OUT_FLOORS)
    else:
        data = read_dataset(name, root)
    if isinstance(data, PairSet):
        x = describe(model, data.images)
        return {'set': name, 'queries': len(data.same),
                'auc': ranking_auc(data.similarities(x), data.same)}  # fmt: skip
    if isinstance(data, LoopSet):
        queries, references = DescribedSet(describe(model, data.images), data.track), None
        rule = data.rule
    else:
        queries = DescribedSet(describe(model, data.queries), data.query_track)
        references = DescribedSet(describe(model, data.references), data.reference_track)
        rule = data.truth
    evaluation = evaluate_descriptors(queries, references, rule, options=Options(replicates=0))
    best = evaluation.single_best
    row: dict[str, float | int | str | None] = {
        'set': name,
        'queries': evaluation.recall.matchable,
        'r@1': evaluation.recall.of_matchable[0],
        'r@5': evaluation.recall.of_matchable[1],
        'ap': best.average_precision,
        'r@100p': best.recall_at_100_precision,
    }
    if isinstance(data, LoopSet):
        closures = close_loops(model, data, queries.descriptors).closures
        row.update({'closed right': closures.correct, 'closed wrong': closures.wrong})
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*DATASETS, 'tower-floors:held-out', 'tower-seconds:held-out']
    parser.add_argument('sets', nargs='*', default=names, metavar='SET')
    parser.add_argument('--model', default='sage_nano')
    parser.add_argument('--weights', default='')
    parser.add_argument('--precision', default='auto', help='auto, fp32, bf16 or fp16')
    parser.add_argument('--json', help='also write the figures to this file')
    parser.add_argument('--root', default=os.environ.get('VPR_SHARED_DATA', DEFAULT_ROOT))
    arguments = parser.parse_args()
    share_the_processor()
    model = build_model(arguments.model, 'cpu', arguments.weights, arguments.precision)
    columns = ['set', 'queries', 'r@1', 'r@5', 'ap', 'r@100p', 'auc', 'closed right',
               'closed wrong']  # fmt: skip
    title = f'{model.id} on {model.placement}, threshold {model.similarity_threshold}'
    table = Table(title=title)
    for column in columns:
        table.add_column(column, no_wrap=True)
    rows = []
    for name in arguments.sets:
        row = measure(model, name, Path(arguments.root))
        rows.append(row)
        table.add_row(*(shown(row.get(column)) for column in columns))
    print_table(table)
    if arguments.json:
        Path(arguments.json).write_text(
            json.dumps(
                {'model': model.id, 'placement': str(model.placement), 'sets': rows}, indent=1
            )
        )
    return 0


def shown(value: object) -> str:
    if value is None:
        return ''
    return f'{value:.2f}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
    sys.exit(main())
