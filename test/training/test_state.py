"""A run killed at any step goes on exactly, and a full disk takes nothing that was saved."""

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_views import CONFIG, texture_views

from vpr_ros.errors import CheckpointError
from vpr_ros.models.registry import untrained_model
from vpr_ros.training.session import STATE_NAME
from vpr_ros.training.state import State, load_state, save_state
from vpr_ros.training.train import train

ROOT = Path(__file__).resolve().parents[2]
LONG = replace(CONFIG, steps=30, save_every=3)

CHILD = """
import sys
from dataclasses import replace
import torch
torch.set_num_threads(1)
from small_views import CONFIG, texture_views
from vpr_ros.models.registry import untrained_model
from vpr_ros.training.train import Watcher, train
config = replace(CONFIG, steps=30, save_every=3)
def tell(step):
    print(step.number, flush=True)
    if step.number == int(sys.argv[2]):
        sys.stdin.read()  # until we are killed
train(untrained_model('sage_test'), texture_views(), config, sys.argv[1],
      watcher=Watcher(step=tell))
"""


def bits(model):
    return torch.cat([p.detach().flatten() for p in model.network.parameters()])


@pytest.mark.parametrize('step', [4, 13])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, step):
    paths = os.pathsep.join([str(ROOT), str(ROOT / 'test')])
    child = subprocess.Popen(
        [sys.executable, '-c', CHILD, str(tmp_path / 'killed'), str(step)],
        env={**os.environ, 'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == step:
            break
    time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.communicate()
    assert load_state(tmp_path / 'killed' / STATE_NAME).step == step // 3 * 3

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole, resumed = untrained_model('sage_test'), untrained_model('sage_test')
        train(whole, texture_views(), LONG, tmp_path / 'whole')
        train(resumed, texture_views(), LONG, tmp_path / 'killed', resume=True)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(bits(whole), bits(resumed))
    assert (tmp_path / 'whole/log.jsonl').read_text() == (
        tmp_path / 'killed/log.jsonl'
    ).read_text()


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / STATE_NAME
    save_state(State(7, {'seed': 1}, {'worse': 2}, {'weights/a': torch.arange(4.0)}), path)
    return path


def test_a_state_comes_back_as_it_was(saved):
    state = load_state(saved)
    assert (state.step, state.run, state.progress) == (7, {'seed': 1}, {'worse': 2})
    assert torch.equal(state.part('weights')['a'], torch.arange(4.0))


def test_a_full_disk_leaves_the_old_state(saved):
    """The limit on file sizes stands in for a disk without room."""
    before = saved.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))
    try:
        with pytest.raises(CheckpointError, match='cannot save the training at step 8'):
            save_state(State(8, {}, {}, {'weights/a': torch.zeros(100_000)}), saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize('damage', ['cut', 'text', 'other'])
def test_a_damaged_state_is_refused(saved, damage):
    if damage == 'other':
        from safetensors.torch import save_file

        save_file({'a': torch.zeros(1)}, saved)
    else:
        saved.write_bytes(saved.read_bytes()[:50] if damage == 'cut' else b'hello')
    with pytest.raises(CheckpointError, match='damaged or no saved training'):
        load_state(saved)
