"""Does each stage earn its place? Re-ranking, verification, time and probability, set by set.

    python benchmarks/stages.py [--model NAME] [--json OUT] [--signals FOLDER]
                                [--town FOLDER --stranger FOLDER] [SET ...]

One table a set, one row for similarity alone and for each set of stages: R@1 and average precision
of the best place in the order in which the stage believes, recall at full precision, closures
accepted at the default settings, and the stage's own time. The default calibrator was fitted on
these sets: with `--signals`, the cache of benchmarks/calibration.py, each set is answered with one
fitted on all others. `--town` and `--stranger` are surveys as that benchmark takes them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from calibration import SIGNALS, towns
from rich.console import Console

from vpr_ros.cli.console import progress
from vpr_ros.config import RecognizerConfig
from vpr_ros.evaluation.datasets import LoopSet, PairSet, RetrievalSet, read_dataset
from vpr_ros.evaluation.rides import Prepare, nothing, ride_through
from vpr_ros.evaluation.stage_report import stage_table
from vpr_ros.evaluation.stages import compare
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.models import build_model
from vpr_ros.recognition.calibration import DEFAULT, VERIFIED
from vpr_ros.recognition.fitting import fit
from vpr_ros.records import Signals
from vpr_ros.threads import share_the_processor

SETS = ('euroc', 'duckietown', 'kitti-noloop', 'corridor', 'tower-floors', 'tower-seconds')
DEFAULT_ROOT = Path(__file__).resolve().parents[2] / 'shared' / 'data'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('sets', nargs='*', default=SETS, metavar='SET')
    parser.add_argument('--model', default='folpp_nano')
    parser.add_argument('--json', help='also write the figures to this file')
    parser.add_argument('--signals', help='cache of benchmarks/calibration.py')
    parser.add_argument('--town', help='survey with reference and query sessions')
    parser.add_argument('--stranger', help='survey of another town')
    parser.add_argument('--root', default=os.environ.get('VPR_SHARED_DATA', DEFAULT_ROOT))
    arguments = parser.parse_args()
    share_the_processor()
    model = build_model(arguments.model, 'cpu')
    record = {}
    for name, data in chosen(arguments):
        with progress(f'{name}: describing') as report:
            ride = ride_through(model, data, report)
        prepare = held_out(arguments.signals, data.name) if arguments.signals else nothing
        with progress(f'{name}: stages') as report:
            results = compare(model, ride, RecognizerConfig(), prepare=prepare, progress=report)
        Console(width=140).print(stage_table(f'{name}, {model.id}', results))
        record[name] = [result.figures() for result in results]
    Console().print(verdicts(record))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(record, indent=1))
    return 0


def chosen(arguments: argparse.Namespace) -> Iterator[tuple[str, LoopSet | RetrievalSet]]:
    """The shared sets asked for, and sessions of the town."""
    for name in arguments.sets:
        data = read_dataset(name, Path(arguments.root))
        assert not isinstance(data, PairSet), f'{name} is a set of pairs, not a drive'
        yield name, data
    if arguments.town:
        for _, data in towns(Path(arguments.town), Path(arguments.stranger)):
            yield data.name, data


def held_out(folder: str, name: str) -> Prepare:
    """Puts a calibrator into the map that was fitted on the signals of all other sets."""
    group = 'town' if name.startswith('town ') else name
    signals, right, groups = [], [], []
    for path in sorted(Path(folder).glob('*.json')):
        of = path.stem.partition(' ')[2]
        of = 'town' if of.startswith('town ') else of
        for one, correct in json.loads(path.read_text()) if of != group else ():
            signals.append(Signals(**one))
            right.append(correct)
            groups.append(of)
    numbers = np.unique(groups, return_inverse=True)[1]
    found = {
        file: fit(signals, np.array(right), numbers, names).to_json()
        for file, names in SIGNALS.items()
    }

    def prepare(place_map: PlaceMap, config: RecognizerConfig) -> None:
        verified = config.verification.candidates > 0
        place_map.beside.put_calibrator(found[VERIFIED if verified else DEFAULT])

    return prepare


def verdicts(record: dict[str, list[dict]]) -> str:
    """On how many sets a row raises AP or recall at full precision over similarity alone."""
    lines = []
    with_truth = {k: rows for k, rows in record.items() if rows[0]['ap'] is not None}
    names = list(dict.fromkeys(row['stages'] for rows in with_truth.values() for row in rows[1:]))
    for name in names:
        better = {'ap': 0, 'r@100p': 0}
        for rows in with_truth.values():
            row = next(r for r in rows if r['stages'] == name)
            for key in better:
                better[key] += (row[key] or 0.0) > (rows[0][key] or 0.0)
        lines.append(
            f'{name}: AP up on {better["ap"]}, R@100P up on {better["r@100p"]} '
            f'of {len(with_truth)} sets'
        )
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
