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
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from sampler_batches import look_at_batches
from sampler_case import VARIANTS, VERSIONS, Setting, make_config, make_model, stored
from sampler_report import report
from sampler_tests import REAL_SETS, on_real, on_town

from vpr_ros.training.sources import open_views
from vpr_ros.training.train import Step, Watcher, train
from vpr_ros.training.views import joined


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
            curve[step.number + 1] = on_town(model, test, test_feed)

    started = time.monotonic()
    folder = setting.out / 'runs' / f'{variant}-{seed}'
    train(model, views, config, folder, watcher=Watcher(step=watch), feed=feed)
    seconds = time.monotonic() - started
    town = on_town(model, test, test_feed)
    curve[config.steps] = town
    record = {
        'variant': variant, 'seed': seed, 'seconds': seconds, 'seconds_in_steps': busy[0],
        'active_pairs': float(np.mean(pairs)), 'curve': curve,
        'town': town,
        'real': {name: on_real(model, name, setting) for name in REAL_SETS},
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
    model = make_model(setting, 0)
    for name in REAL_SETS:
        on_real(model, name, setting)


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
    look_at_batches(setting, arguments.variants, console)
    if arguments.look:
        return 0
    run_all(setting, arguments.variants, arguments.seeds, arguments.jobs, console)
    report(setting.out, console)
    return 0


if __name__ == '__main__':
    sys.exit(main())
