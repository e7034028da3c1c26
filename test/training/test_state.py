"""A run killed at any step goes on exactly, and a full disk takes nothing that was saved."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_views import CONFIG, texture_views, write_textures

from vpr_ros.errors import CheckpointError
from vpr_ros.models.registry import untrained_model
from vpr_ros.training.job import Job, carry_out, get_ready
from vpr_ros.training.journal import Journal
from vpr_ros.training.session import STATE_NAME
from vpr_ros.training.state import State, load_state, save_state
from vpr_ros.training.train import Watcher, train

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


@contextmanager
def room_for(size):
    """The limit on file sizes stands in for a disk without room."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


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
    before, large = saved.read_bytes(), State(8, {}, {}, {'weights/a': torch.zeros(100_000)})
    with (
        room_for(10_000),
        pytest.raises(CheckpointError, match='training at step 8 .* before is intact'),
    ):
        save_state(large, saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    saved.unlink()
    with room_for(10_000), pytest.raises(CheckpointError, match='none was saved .* start again'):
        save_state(large, saved)


def test_a_full_disk_for_the_log_is_one_sentence(tmp_path, monkeypatch):
    """What closes the files afterwards does not raise in its place."""
    monkeypatch.setattr('vpr_ros.training.journal._event_writer', lambda folder, step: None)
    with room_for(200), pytest.raises(CheckpointError, match=r'cannot write .*log\.jsonl .* room'):
        journal = Journal(tmp_path, 0)
        try:
            for step in range(20):
                journal.write(step, loss={'similarity': 1.0})
        finally:
            journal.close()


def test_a_full_disk_for_the_result_leaves_what_was_learned(tmp_path):
    data = write_textures(tmp_path / 'data')
    config = replace(LONG, steps=1, epoch_steps=1, places_per_batch=4)
    job = Job(config, (str(data),), tmp_path / 'out' / 'mine.safetensors', tmp_path / 'run')
    job.output.parent.mkdir()
    ready = get_ready(job)
    job.output.mkdir()  # stands in for a disk without room
    with pytest.raises(CheckpointError, match=r'mine.safetensors.* what was learned is in .*run'):
        carry_out(ready, Watcher())
    job.output.rmdir()
    done = carry_out(get_ready(replace(job, resume=True)), Watcher())
    assert done.result.steps == 1
    assert job.output.is_file()


@pytest.mark.parametrize('damage', ['cut', 'text', 'other'])
def test_a_damaged_state_is_refused(saved, damage):
    if damage == 'other':
        from safetensors.torch import save_file

        save_file({'a': torch.zeros(1)}, saved)
    else:
        saved.write_bytes(saved.read_bytes()[:50] if damage == 'cut' else b'hello')
    with pytest.raises(CheckpointError, match='damaged or no saved training'):
        load_state(saved)
