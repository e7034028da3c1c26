"""Two processes that share each batch learn what one process learns."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_views import CONFIG

from vpr_ros.errors import ConfigError
from vpr_ros.training.distributed import Team, leads_the_team

ROOT = Path(__file__).resolve().parents[2]

# Without dropout and augmentation: what these draw depends on the number of processes.
CHILD = """
import sys
from dataclasses import replace
import torch
torch.set_num_threads(1)
from small_views import CONFIG, STILL, texture_views
from vpr_ros.models.registry import untrained_model
from vpr_ros.training.train import train
config = replace(
    CONFIG, model=sys.argv[2], steps=12, epoch_steps=6, augment=STILL, learning_rate=3e-4
)
model = untrained_model(sys.argv[2])
for module in model.network.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
train(model, texture_views(), config, sys.argv[1])
"""


def curve(folder, model, processes, port):
    command = [sys.executable]
    if processes > 1:
        command += [
            '-m', 'torch.distributed.run', f'--nproc-per-node={processes}',
            '--master-addr=127.0.0.1', f'--master-port={port}',
        ]  # fmt: skip
    script = folder.with_suffix('.py')
    script.write_text(CHILD)
    paths = os.pathsep.join([str(ROOT), str(ROOT / 'test')])
    done = subprocess.run(
        [*command, script, folder, model],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, 'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]
    return [line for line in lines if 'loss' in line], [
        line['recall_at_1'] for line in lines if 'recall_at_1' in line
    ]


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    """Rounding differs, and the limits of the miner make much of it later on."""
    one, looks_of_one = curve(tmp_path / 'one', 'sage_test', 1, 0)
    two, looks_of_two = curve(tmp_path / 'two', 'sage_test', 2, free_port())
    assert len(one) == len(two) == 12
    assert one[0]['loss']['similarity'] == pytest.approx(two[0]['loss']['similarity'], rel=1e-5)
    assert one[0]['gradient_norm'] == pytest.approx(two[0]['gradient_norm'], rel=1e-4)
    assert one[0]['active_pairs'] == two[0]['active_pairs']
    for here, there in zip(one, two, strict=True):
        assert here['loss']['similarity'] == pytest.approx(there['loss']['similarity'], rel=1e-2)
    assert looks_of_one == pytest.approx(looks_of_two, abs=0.13)  # one query of eight


def test_places_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ConfigError, match='a multiple of the 3 processes, found 8'):
        Team(0, 3).share(CONFIG.places_per_batch)
    assert Team(1, 2).share(8) == slice(4, 8)


def test_what_each_process_found_is_put_together(monkeypatch):
    def gather(parts, mine):
        parts[:] = [mine, ['c']]

    monkeypatch.setattr('torch.distributed.all_gather_object', gather)
    assert Team(0, 2).collect(iter('ab')) == ['a', 'b', 'c']
    assert Team().collect(iter('ab')) == ['a', 'b']


def test_alone_nothing_is_gathered():
    assert replace(Team(), size=1).agree(True)
    assert not Team().agree(False)


@pytest.mark.parametrize(
    ('environment', 'leads'),
    [
        ({}, True),
        ({'WORLD_SIZE': '2', 'RANK': '0'}, True),
        ({'WORLD_SIZE': '2', 'RANK': '1'}, False),
    ],
)
def test_one_process_writes_the_result(monkeypatch, environment, leads):
    for name in ('WORLD_SIZE', 'RANK'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert leads_the_team() == leads
