"""Does SAGE's sampler earn its name? The same data, model, steps and seeds; only batches differ.

    python benchmarks/sampler.py --train SURVEY ... --test SURVEY -o OUT
                                 [--seeds 5] [--steps 120] [--jobs 2] [VARIANT ...]

The bundled `sage_nano` learns on: power norms, last norm and head, its blocks frozen. (With
`--backbone VIT_TI`, `sage_vitti` learns a head from nothing; there every negative is hard, and
batches of any kind are alike.) Surveys are folders of `vpr demo-data --survey`; the test town has
another seed, and each of its sessions is looked for in the last, right within 25 m and 45 degrees.
The shared real sets say what of it transfers. The frozen blocks are run once for all, so that two
cores are enough; every run leaves a JSON file in OUT and is not repeated. Intervals are Student's,
95 %, over the seeds; differences are paired by seed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from vpr_ros.config import AugmentConfig, SamplerConfig, TrainConfig, ValidationConfig
from vpr_ros.evaluation.datasets import LoopSet, PairSet, read_dataset
from vpr_ros.evaluation.evaluate import DescribedSet, Options, evaluate_descriptors
from vpr_ros.evaluation.precision_recall import ranking_auc
from vpr_ros.evaluation.protocols import Track, TruthRule
from vpr_ros.models import PlaceModel
from vpr_ros.models.networks.dinov2 import VIT_TINY
from vpr_ros.models.networks.sage import Sage, SageConfig
from vpr_ros.models.registry import INPUT_TINY, NANO_HEAD, NANO_VIT, load_model
from vpr_ros.models.weights.checkpoint import load_backbone
from vpr_ros.training.feed import PictureFeed, StoredFeed, store_views
from vpr_ros.training.sources import open_views
from vpr_ros.training.train import Step, Watcher, train
from vpr_ros.training.views import ViewSet, joined

VARIANTS: dict[str, dict] = {
    'places': {'kind': 'places'},
    'cliques': {'kind': 'cliques'},
    'sage': {'kind': 'sage'},
    'sage-offline': {'kind': 'sage', 'online': False},
    'sage-unweighted': {'kind': 'sage', 'weighted': False},
    'sage-nosoft': {'kind': 'sage'},
    'sharp-unweighted': {'kind': 'sage', 'sharpness': 8.0, 'weighted': False},
}
REAL_SETS = ('euroc', 'duckietown', 'corridor', 'tower-floors', 'tower-seconds', 'landmark-pairs')
SHARED = Path(__file__).resolve().parents[2] / 'shared' / 'data'
RULE = TruthRule('town', positive_m=25.0, heading_deg=45.0)
SIDE = 160
VERSIONS = 2


@dataclass(frozen=True)
class Setting:
    """What all runs share."""

    train: tuple[str, ...]
    test: str
    backbone: str
    out: Path
    steps: int
    epochs: int
    places: int
    rate: float


def make_model(setting: Setting, seed: int, soft: bool = True) -> PlaceModel:
    """The bundled sage_nano; or, where a backbone is given, sage_vitti under a random head."""
    torch.manual_seed(seed)
    if setting.backbone:
        name, network = 'sage_vitti', Sage(VIT_TINY, SageConfig(soft_probing=soft))
        spec = INPUT_TINY
    else:
        bundled = load_model('sage_nano')
        name, spec = bundled.name, bundled.input
        network = Sage(NANO_VIT, replace(NANO_HEAD, soft_probing=soft))
        network.load_state_dict(bundled.network.state_dict(), strict=soft)
    model = PlaceModel(name, network, replace(spec, size=(SIDE, SIDE)))
    if setting.backbone:
        load_backbone(model, setting.backbone)
    model.network.eval()
    return model


def make_config(setting: Setting, variant: str, seed: int) -> TrainConfig:
    sampler = replace(SamplerConfig(heading_rad=0.8), **VARIANTS[variant])
    # What is mined once is mined for all steps, as much as the others mine in all.
    once = sampler.kind == 'cliques' or (sampler.kind == 'sage' and not sampler.online)
    epoch = setting.steps // (1 if once else setting.epochs)
    name = 'sage_vitti' if setting.backbone else 'sage_nano'
    return TrainConfig(
        model=name, trainable='head', device='cpu', precision='bf16', seed=seed,
        steps=setting.steps, epoch_steps=epoch,
        places_per_batch=setting.places, views_per_place=4, learning_rate=setting.rate,
        average=0.9, save_every=10**9, sampler=sampler, validation=ValidationConfig(share=0.0),
        augment=AugmentConfig(smallest_crop=0.7, tilt_deg=4.0, random_ops=0),
    )  # fmt: skip


class Pictures:
    """Pictures of an evaluation set."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return str(index)

    def read(self, index: int) -> np.ndarray:
        return self.images[index]

    def check(self, index: int) -> str:
        return ''


def views_of(images: list[np.ndarray]) -> ViewSet:
    none = np.zeros(len(images), np.int64)
    nowhere = np.full((len(images), 2), np.nan)
    return ViewSet(Pictures(images), nowhere, nowhere[:, 0], none, none, none, ('images',))


def stored(name: str, views: ViewSet, setting: Setting, versions: int) -> StoredFeed:
    """Streams of views behind the frozen blocks, made once."""
    folder = setting.out / 'streams' / name
    model = make_model(setting, 0)
    config = replace(make_config(setting, 'places', 0), stored_views=versions)
    frozen = model.network.first_adapted
    if (folder / 'done').exists():
        return StoredFeed.reopened(folder, (SIDE // 16, SIDE // 16), frozen)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = PictureFeed(views, model, config, torch.device('cpu'))
    with torch.autocast('cpu', torch.bfloat16):
        feed = store_views(pictures, len(views), model, config, folder, frozen)
    feed.file.flush()
    (folder / 'done').touch()
    return feed


def describe(model: PlaceModel, feed: StoredFeed) -> np.ndarray:
    model.network.eval()
    rows = []
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        for stream in feed.plain(np.arange(feed.file.shape[1])):
            rows.append(model.network(stream).float().numpy())
    x = np.concatenate(rows)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def track_of(views: ViewSet, rows: np.ndarray) -> Track:
    flat = np.column_stack([views.position_m[rows], np.zeros(len(rows))])
    half = views.heading_rad[rows] / 2
    zero = np.zeros((len(rows), 2))
    return Track(positions_m=flat, quaternions=np.column_stack([zero, np.sin(half), np.cos(half)]))


def test_town(model: PlaceModel, views: ViewSet, feed: StoredFeed) -> dict[str, float]:
    """Each session of the test town against the last one, which is the reference; and the mean."""
    x = describe(model, feed)
    reference = np.flatnonzero(views.sessions == views.sessions.max())
    rows: dict[str, float] = {}
    found = []
    for session in np.unique(views.sessions)[:-1]:
        queries = np.flatnonzero(views.sessions == session)
        sides = [DescribedSet(x[r], track_of(views, r)) for r in (queries, reference)]
        result = evaluate_descriptors(*sides, RULE, options=Options(replicates=0))
        best = result.single_best
        name = Path(views.pictures.name(int(queries[0]))).parent.name
        rows[f'R@1 {name}'] = result.recall.of_matchable[0]
        found.append([
            result.recall.of_matchable[0], best.average_precision, best.recall_at_100_precision,
        ])  # fmt: skip
    means = np.mean(np.array(found, float), axis=0)
    return dict(zip(('R@1', 'AP', 'R@100P'), means.tolist(), strict=True)) | rows


def test_real(model: PlaceModel, name: str, setting: Setting) -> dict[str, float]:
    data = read_dataset(name, SHARED)
    parts = (
        [data.images] if isinstance(data, (LoopSet, PairSet)) else [data.queries, data.references]
    )
    x = [
        describe(model, stored(f'{name}-{n}', views_of([*part]), setting, 0))
        for n, part in enumerate(parts)
    ]
    if isinstance(data, PairSet):
        return {'AUC': ranking_auc(data.similarities(x[0]), data.same)}
    if isinstance(data, LoopSet):
        sides, rule = (DescribedSet(x[0], data.track), None), data.rule
    else:
        sides = (DescribedSet(x[0], data.query_track), DescribedSet(x[1], data.reference_track))
        rule = data.truth
    result = evaluate_descriptors(*sides, rule, options=Options(replicates=0))
    return {
        'R@1': result.recall.of_matchable[0],
        'AP': result.single_best.average_precision or 0.0,
    }


def one_run(setting: Setting, variant: str, seed: int) -> None:
    """Train one variant from one seed, and test it."""
    torch.set_num_threads(1)
    views, test = joined(open_views(setting.train)), joined(open_views((setting.test,)))
    model = make_model(setting, seed, soft=not variant.endswith('nosoft'))
    feed = stored('train', views, setting, VERSIONS)
    config = make_config(setting, variant, seed)
    curve, busy, pairs = {}, [0.0], []
    quarter = setting.steps // setting.epochs
    test_feed = stored('test', test, setting, 0)

    def watch(step: Step) -> None:
        busy[0] += step.seconds
        pairs.append(step.active_pairs)
        if (step.number + 1) % quarter == 0 and step.number + 1 < config.steps:
            curve[step.number + 1] = test_town(model, test, test_feed)

    started = time.monotonic()
    folder = setting.out / 'runs' / f'{variant}-{seed}'
    train(model, views, config, folder, watcher=Watcher(step=watch), feed=feed)
    seconds = time.monotonic() - started
    town = test_town(model, test, test_feed)
    curve[config.steps] = town
    record = {
        'variant': variant, 'seed': seed, 'seconds': seconds, 'seconds_in_steps': busy[0],
        'active_pairs': float(np.mean(pairs)), 'curve': curve,
        'town': town,
        'real': {name: test_real(model, name, setting) for name in REAL_SETS},
        'config': json.loads(json.dumps(asdict(config), default=str)),
    }  # fmt: skip
    (folder / 'result.part').write_text(json.dumps(record))
    os.replace(folder / 'result.part', folder / 'result.json')


def prepare(setting: Setting, console: Console) -> None:
    """Store the streams that all runs share."""
    views, test = joined(open_views(setting.train)), joined(open_views((setting.test,)))
    console.print(
        f'{len(views)} training views of {views.place_count} places in {len(views.names)} areas '
        f'and {len(np.unique(views.sessions))} sessions; {len(test)} test views of '
        f'{test.place_count} places'
    )
    stored('train', views, setting, VERSIONS)
    stored('test', test, setting, 0)
    test_real_sets = make_model(setting, 0)
    for name in REAL_SETS:
        test_real(test_real_sets, name, setting)


def run_all(
    setting: Setting, variants: list[str], seeds: int, jobs: int, console: Console
) -> None:
    """Run what has no result yet, seed by seed, some at a time, each in a process of its own."""
    waiting = [
        (variant, seed)
        for seed in range(seeds)
        for variant in variants
        if not (setting.out / 'runs' / f'{variant}-{seed}' / 'result.json').exists()
    ]
    total, running = len(waiting), []
    while waiting or running:
        while waiting and len(running) < jobs:
            variant, seed = waiting.pop(0)
            subprocess.run(['rm', '-rf', setting.out / 'runs' / f'{variant}-{seed}'], check=True)
            command = [sys.executable, __file__, *sys.argv[1:], '--one', variant, str(seed)]
            environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
            running.append((subprocess.Popen(command, env=environment), variant, seed))
        time.sleep(0.5)
        for job in [job for job in running if job[0].poll() is not None]:
            running.remove(job)
            if job[0].returncode:
                raise SystemExit(f'{job[1]} with seed {job[2]} failed')
            console.print(f'{total - len(waiting) - len(running)} of {total}: {job[1]} {job[2]}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('variants', nargs='*', default=list(VARIANTS), metavar='VARIANT')
    parser.add_argument('--train', nargs='+', required=True)
    parser.add_argument('--test', required=True)
    parser.add_argument('--backbone', default='', help='ViT-Ti/16: learn a head on it instead')
    parser.add_argument('-o', '--out', type=Path, required=True)
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--steps', type=int, default=120)
    parser.add_argument('--epochs', type=int, default=2)
    parser.add_argument('--places', type=int, default=16)
    parser.add_argument('--rate', type=float, default=5e-4)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--look', action='store_true', help='only look at the batches')
    parser.add_argument('--one', nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    setting = Setting(
        tuple(arguments.train), arguments.test, arguments.backbone, arguments.out, arguments.steps,
        arguments.epochs, arguments.places, arguments.rate,
    )  # fmt: skip
    if arguments.one:
        one_run(setting, arguments.one[0], int(arguments.one[1]))
        return 0
    console = Console()
    prepare(setting, console)
    from sampler_batches import look_at_batches

    look_at_batches(setting, arguments.variants, console)
    if arguments.look:
        return 0
    run_all(setting, arguments.variants, arguments.seeds, arguments.jobs, console)
    from sampler_report import report

    report(setting.out, console)
    return 0


if __name__ == '__main__':
    sys.exit(main())
