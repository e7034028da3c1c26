"""Fit the default calibrator, and measure it on sets that it has not seen.

    python benchmarks/calibration.py [--cache FOLDER] [--town FOLDER] [--stranger FOLDER] [--write]

Signals of the front door with both bundled models: nearest neighbours by descriptor, the best
three verified. Each set in turn is predicted from a fit to the others:
expected calibration error in ten bins of equal mass, and the area under the risk-coverage curve
against that of the similarity; for the default calibrator, and for the one where candidates are
verified.
The shared data are looked for beside the checkout or at $VPR_SHARED_DATA; the towns are surveys of
`vpr demo-data --survey` with sessions `reference` and `query-*`, of which every third image is
taken. Signals stay in the cache.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from matplotlib.image import imread, imsave
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from vpr_ros.cli.console import progress
from vpr_ros.config import RecognizerConfig, TemporalConfig, VerificationConfig
from vpr_ros.evaluation.bootstrap import default_block
from vpr_ros.evaluation.datasets import LoopSet, PairSet, RetrievalSet, read_dataset
from vpr_ros.evaluation.images import ImageFiles, image_names
from vpr_ros.evaluation.protocols import Track, Truth, TruthRule, truth
from vpr_ros.evaluation.reliability import (
    area_under_risk,
    calibration_error,
    reliability_diagram,
    risk_coverage_plot,
    summarise,
)
from vpr_ros.evaluation.rides import play, ride_through
from vpr_ros.evaluation.stages import Stage, by_similarity, scored
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.recognition.fitting import fit, held_out
from vpr_ros.records import Signals
from vpr_ros.threads import share_the_processor

MODELS = ('sage_nano', 'folpp_nano')
SHARED = ('euroc', 'duckietown', 'kitti-noloop', 'corridor', 'tower-floors', 'tower-seconds')
# Of those tried the best across sets, see docs/calibration.md
SIGNALS = {
    'calibration.json': ('z_score', 'gap'),
    'calibration_verified.json': ('z_score', 'margin'),
}
CONFIG = RecognizerConfig(
    verification=VerificationConfig(candidates=3, below_threshold=True),
    temporal=TemporalConfig('none'),
)
ASKED = (0.95, 0.9, 0.85, 0.8, 0.7)  # probabilities that `decision.min_probability` may be
TOWN_STEP = 3
TOWN_RULE = TruthRule('town', 10.0, 20.0, heading_deg=45.0)
ROOT = Path(__file__).resolve().parents[1]
DEFAULT_DATA = ROOT.parent / 'shared' / 'data'
PICTURES = ROOT / 'docs' / 'images'
RESOURCE = ROOT / 'vpr_ros' / 'resource'


def session(folder: Path, name: str) -> tuple[ImageFiles, Track]:
    """Images of one session of a survey, every so many, and their poses."""
    names = image_names(folder / name)[::TOWN_STEP]
    with (folder / 'survey.csv').open(newline='') as file:
        rows = {row['file']: row for row in csv.DictReader(file) if row['session'] == name}
    ordered = [rows[f'{name}/{one}'] for one in names]
    position = np.array([[float(r['east']), float(r['north']), 0.0] for r in ordered])
    heading = np.array([[90.0 - float(r['heading_deg'])] for r in ordered])
    quaternion = Rotation.from_euler('z', heading, degrees=True).as_quat()
    return ImageFiles(folder / name, names), Track(None, position, quaternion)


def towns(folder: Path, stranger: Path) -> Iterator[tuple[str, RetrievalSet]]:
    """Sessions of a town against its reference, and one of another town, always wrong."""
    images, track = session(folder, 'reference')
    for name in sorted(path.name for path in folder.glob('query-*')):
        asked, there = session(folder, name)
        found = truth(TOWN_RULE, there, track)
        yield 'town', RetrievalSet(f'town {name}', asked, images, found, there, track)
    asked, there = session(stranger, 'query-day')
    nothing = np.zeros((len(there), len(track)), bool)
    found = Truth(nothing, nothing, ~nothing)
    yield (
        'stranger town',
        RetrievalSet('stranger town', asked, images, found, there, track),
    )


def asked(arguments: argparse.Namespace) -> Iterator[tuple[str, LoopSet | RetrievalSet]]:
    """Every set with the name of what is held out together."""
    for name in SHARED:
        data = read_dataset(name, Path(arguments.root))
        assert not isinstance(data, PairSet)
        yield name, data
    if arguments.town:
        yield from towns(Path(arguments.town), Path(arguments.stranger))


def cached(path: Path) -> list[tuple[Signals, bool]] | None:
    """What was stored there; None: nothing, or before there were all signals of today."""
    rows = json.loads(path.read_text()) if path.exists() else []
    if not rows or set(rows[0][0]) != {field.name for field in fields(Signals)}:
        return None
    return [(Signals(**one), right) for one, right in rows]


def answered(
    model: PlaceModel, data: LoopSet | RetrievalSet, cache: Path
) -> list[tuple[Signals, bool]]:
    """Signals of the best place of each query, and whether it is right; ignored ones left out."""
    path = cache / f'{model.require_weights()[:16]} {data.name}.json'
    if (known := cached(path)) is not None:
        return known
    with progress(f'{model.name} {data.name}') as report:
        ride = ride_through(model, data, report)
    stage = Stage('', lambda config: config, by_similarity)
    answers = play(model, ride, CONFIG)
    judged = scored(ride, stage, answers).evaluation.answers
    rows = [
        (answer.signals, bool(judged.correct[q]))
        for q, answer in enumerate(answers)
        if answer.signals is not None and not judged.ignored[q]
    ]
    part = path.with_suffix('.part')
    part.write_text(json.dumps([(asdict(one), right) for one, right in rows]))
    os.replace(part, path)
    return rows


def collected(
    arguments: argparse.Namespace, cache: Path
) -> tuple[list[Signals], np.ndarray, np.ndarray]:
    """Signals, right or wrong, and set, of every answer of both models."""
    signals, right, groups = [], [], []
    for name in MODELS:
        model = build_model(name, 'cpu')
        for group, data in asked(arguments):
            for one, correct in answered(model, data, cache):
                signals.append(one)
                right.append(correct)
                groups.append(group)
    return signals, np.array(right), np.array(groups)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default=os.environ.get('VPR_SHARED_DATA', DEFAULT_DATA))
    parser.add_argument('--town', help='survey with reference and query sessions')
    parser.add_argument('--stranger', help='survey of another town')
    parser.add_argument('--cache', help='folder for signals; without it: a temporary one')
    parser.add_argument('--write', action='store_true', help='write the default and the figure')
    arguments = parser.parse_args()
    share_the_processor()
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(arguments.cache or scratch)
        cache.mkdir(parents=True, exist_ok=True)
        signals, right, groups = collected(arguments, cache)
    known, numbers = np.unique(groups, return_inverse=True)
    similarity = np.array([one.similarity for one in signals])
    for file, names in SIGNALS.items():
        probability = held_out(signals, right, numbers, names)
        console = Console(width=120)
        console.print(f'{file}: {", ".join(names)}')
        console.print(shown(known, groups, probability, similarity, right))
        console.print(accepted(known, groups, probability, right))
        calibrator = fit(signals, right, numbers, names, data=tuple(map(str, known)))
        console.print(f'weights {calibrator.weight}, bias {calibrator.bias:.3f}')
        console.print(f'least rate that can be promised: {calibrator.least_rate:.3f}')
        for rate in (0.05, 0.1, 0.2, 0.3):
            console.print(f'false closures <= {rate}: {calibrator.threshold_for(rate):.3f}')
        if arguments.write:
            part = (RESOURCE / file).with_suffix('.part')
            part.write_text(calibrator.to_json() + '\n', encoding='utf-8')
            os.replace(part, RESOURCE / file)
    if arguments.write:
        draw(known, groups, probability, similarity, right)
    return 0


def shown(known, groups, probability, similarity, right) -> Table:
    table = Table(
        'held out', 'answers', 'right', 'ECE', 'interval', 'Brier', 'AURC', 'by similarity'
    )
    for name in (*known, 'all'):
        some = np.full(len(groups), True) if name == 'all' else groups == name
        block = default_block(int(some.sum()), within_drive=True)
        figures = summarise(probability[some], right[some], block)
        low, high = figures.ece_interval
        table.add_row(
            str(name), str(figures.answers), f'{figures.correct:.2f}', f'{figures.ece:.3f}',
            f'{low:.3f} to {high:.3f}', f'{figures.brier:.3f}', f'{figures.aurc:.3f}',
            f'{area_under_risk(similarity[some], right[some]):.3f}',
        )  # fmt: skip
    errors = [calibration_error(probability[groups == g], right[groups == g]) for g in known]
    table.caption = f'mean over sets: ECE {np.mean(errors):.3f}'
    return table


def accepted(known, groups, probability, right) -> Table:
    """What an asked probability would close, each answer for itself: right / wrong."""
    table = Table('least probability', *map(str, known), 'all', title='accepted, right / wrong')
    for least in ASKED:
        sure = probability >= least
        some = [*(sure & (groups == name) for name in known), sure]
        counts = [f'{(mask & right).sum()} / {(mask & ~right).sum()}' for mask in some]
        table.add_row(f'{least:.2f}', *counts)
    return table


def draw(known, groups, probability, similarity, right) -> None:
    """Both figures side by side, whole or not at all."""
    mixed = [name for name in known if right[groups == name].any()]
    lines = {'all': (probability, right)}
    lines |= {str(n): (probability[groups == n], right[groups == n]) for n in mixed}
    risks = {'probability': (probability, right), 'similarity': (similarity, right)}
    with tempfile.TemporaryDirectory() as scratch:
        halves = []
        for name, figure in (
            ('a', reliability_diagram(lines)), ('b', risk_coverage_plot(risks)),
        ):  # fmt: skip
            figure.savefig(Path(scratch) / f'{name}.png')
            halves.append(imread(Path(scratch) / f'{name}.png'))
    part = PICTURES / '.calibration.part'
    imsave(part, np.concatenate(halves, axis=1), format='png')
    os.replace(part, PICTURES / 'calibration.png')


if __name__ == '__main__':
    sys.exit(main())
