"""Fit the default calibrator, and measure it on sets that it has not seen.

    python benchmarks/calibration.py [--cache FOLDER] [--town FOLDER] [--stranger FOLDER] [--write]

Signals of the nearest neighbour by descriptor alone, with both bundled models, without verification
and odometry. Each set in turn is predicted from a fit to the others: expected calibration error in
ten bins of equal mass, and the area under the risk-coverage curve against that of the similarity.
The shared data are looked for beside the checkout or at $VPR_SHARED_DATA; the towns are surveys of
`vpr demo-data --survey` with sessions `reference` and `query-*`. Descriptors are kept in the cache.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.image import imread, imsave
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

from vpr_ros.evaluation.bootstrap import default_block
from vpr_ros.evaluation.datasets import LoopSet, RetrievalSet, read_dataset, tower_rows
from vpr_ros.evaluation.images import ImageFiles, image_names
from vpr_ros.evaluation.loop_sets import describe
from vpr_ros.evaluation.protocols import Track, Truth, TruthRule, truth
from vpr_ros.evaluation.reliability import (
    area_under_risk,
    calibration_error,
    reliability_diagram,
    risk_coverage_plot,
    summarise,
)
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.recognition.calibration import fit, held_out
from vpr_ros.recognition.neighbourhood import PlaceArrays
from vpr_ros.recognition.signals import measure
from vpr_ros.records import Place, Pose, Signals
from vpr_ros.threads import share_the_processor

MODELS = ('sage_nano', 'folpp_nano')
SHARED = ('euroc', 'duckietown', 'kitti-noloop', 'corridor', 'tower-floors', 'tower-seconds')
NAMES = ('z_score', 'gap')  # of those tried the best across sets, see docs/calibration.md
TOWN_RULE = TruthRule('town', 10.0, 20.0, heading_deg=45.0)
ROOT = Path(__file__).resolve().parents[1]
DEFAULT_DATA = ROOT.parent / 'shared' / 'data'
PICTURES = ROOT / 'docs' / 'images'
DEFAULT_FILE = ROOT / 'vpr_ros' / 'resource' / 'calibration.json'


@dataclass(frozen=True)
class Asked:
    """Queries against references, the places these are, and who is a right answer to whom."""

    group: str  # held out together
    queries: np.ndarray
    references: np.ndarray
    places: PlaceArrays
    truth: Truth
    neighbourhood_m: float
    drive: bool = False


class Cache:
    """Descriptors of a model, computed once for each set."""

    def __init__(self, folder: Path, model: PlaceModel) -> None:
        self.folder, self.model = folder, model

    def __call__(self, name: str, images) -> np.ndarray:
        key = f'{self.model.require_weights()[:16]}_{name}_{len(images)}.npy'
        path = self.folder / key
        if not path.exists():
            part = path.with_suffix('.part')
            with part.open('wb') as file:
                np.save(file, describe(self.model, images, batch=8))
            os.replace(part, path)
        return np.load(path, allow_pickle=False)


def places(track: Track, sessions: np.ndarray | None = None) -> PlaceArrays:
    """Places with the poses of a track; a second apart where it has no stamps."""
    stamps, where = track.stamps_ns, track.positions_m
    return PlaceArrays(
        [
            Place(
                row + 1,
                0 if sessions is None else int(sessions[row]),
                row * 10**9 if stamps is None else int(stamps[row]),
                None if where is None else Pose(tuple(where[row].tolist())),
            )
            for row in range(len(track))
        ]
    )


def shared_set(name: str, root: Path, cache: Cache) -> Asked:
    """One of the shared sets; neighbourhoods are twice as wide as its rule for a right answer."""
    data = read_dataset(name, root)
    if isinstance(data, LoopSet):
        x, near = cache(name, data.images), 2 * data.rule.positive_m
        return Asked(name, x, x, places(data.track), data.truth(), near, drive=True)
    assert isinstance(data, RetrievalSet)
    x, y = cache(f'{name}-q', data.queries), cache(f'{name}-r', data.references)
    track, sessions = Track(np.arange(len(y), dtype=np.int64) * 10**9), None
    if name.startswith('tower'):
        track, sessions = tower_places(name, root)
    return Asked(name, x, y, places(track, sessions), data.truth, 5.0)


def tower_places(name: str, root: Path) -> tuple[Track, np.ndarray]:
    """Stamps and videos of the references of the tower."""
    rows = [
        row for row in tower_rows(root / 'ie_tower', ())
        if not (row['video'].endswith('_hallway_alt') if name == 'tower-floors'
                else row['split'] == 'query')
    ]  # fmt: skip
    stamps = np.array([round(float(row['second']) * 1e9) for row in rows], np.int64)
    return Track(stamps), np.unique([row['video'] for row in rows], return_inverse=True)[1]


def session(folder: Path, name: str) -> tuple[ImageFiles, Track]:
    """Images of one session of a survey, and their poses."""
    names = image_names(folder / name)
    with (folder / 'survey.csv').open(newline='') as file:
        rows = {row['file']: row for row in csv.DictReader(file) if row['session'] == name}
    ordered = [rows[f'{name}/{one}'] for one in names]
    position = np.array([[float(r['east']), float(r['north']), 0.0] for r in ordered])
    heading = np.array([[90.0 - float(r['heading_deg'])] for r in ordered])
    quaternion = Rotation.from_euler('z', heading, degrees=True).as_quat()
    return ImageFiles(folder / name, names), Track(None, position, quaternion)


def towns(folder: Path, stranger: Path, cache: Cache) -> Iterator[Asked]:
    """Sessions of a town against its reference, and one of another town, always wrong."""
    images, track = session(folder, 'reference')
    y, there = cache(f'{folder.name}-reference', images), places(track)
    for name in sorted(path.name for path in folder.glob('query-*')):
        images, asked = session(folder, name)
        x = cache(f'{folder.name}-{name}', images)
        yield Asked('town', x, y, there, truth(TOWN_RULE, asked, track), 20.0)
    images, _ = session(stranger, 'query-day')
    x = cache(f'stranger-{stranger.name}', images)
    nothing = np.zeros((len(x), len(y)), bool)
    yield Asked('stranger town', x, y, there, Truth(nothing, nothing, ~nothing), 20.0)


def answers(asked: Asked) -> Iterator[tuple[Signals, bool]]:
    """Signals of the best place of each query, and whether it is right; ignored ones left out."""
    for row, query in enumerate(asked.queries):
        similarity = (asked.references @ query).astype(np.float32)
        similarity[~asked.truth.admissible[row]] = -np.inf
        best = int(similarity.argmax())
        if not np.isfinite(similarity[best]) or asked.truth.ignored[row, best]:
            continue
        signals = measure(similarity, best, asked.places, asked.neighbourhood_m)
        yield signals, bool(asked.truth.positive[row, best])


def collected(arguments: argparse.Namespace) -> tuple[list[Signals], np.ndarray, np.ndarray]:
    """Signals, right or wrong, and set, of every answer of both models."""
    signals, right, groups = [], [], []
    for name in MODELS:
        cache = Cache(Path(arguments.cache), build_model(name, 'cpu'))
        sets = [shared_set(one, Path(arguments.root), cache) for one in SHARED]
        for asked in (*sets, *towns(Path(arguments.town), Path(arguments.stranger), cache)):
            for one, correct in answers(asked):
                signals.append(one)
                right.append(correct)
                groups.append(asked.group)
    return signals, np.array(right), np.array(groups)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default=os.environ.get('VPR_SHARED_DATA', DEFAULT_DATA))
    parser.add_argument('--town', required=True, help='survey with reference and query sessions')
    parser.add_argument('--stranger', required=True, help='survey of another town')
    parser.add_argument('--cache', help='folder for descriptors; without it: a temporary one')
    parser.add_argument('--write', action='store_true', help='write the default and the figure')
    arguments = parser.parse_args()
    share_the_processor()
    with tempfile.TemporaryDirectory() as scratch:
        arguments.cache = arguments.cache or scratch
        Path(arguments.cache).mkdir(parents=True, exist_ok=True)
        signals, right, groups = collected(arguments)
    known, numbers = np.unique(groups, return_inverse=True)
    probability = held_out(signals, right, numbers, NAMES)
    similarity = np.array([one.similarity for one in signals])
    Console().print(shown(known, groups, probability, similarity, right))
    calibrator = fit(signals, right, numbers, NAMES, data=tuple(map(str, known)))
    Console().print(f'weights {calibrator.weight}, bias {calibrator.bias:.3f}')
    for rate in (0.01, 0.05, 0.1, 0.2):
        Console().print(f'false closures <= {rate}: {calibrator.threshold_for(rate):.3f}')
    if arguments.write:
        part = DEFAULT_FILE.with_suffix('.part')
        part.write_text(calibrator.to_json() + '\n', encoding='utf-8')
        os.replace(part, DEFAULT_FILE)
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
