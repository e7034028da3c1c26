"""`vpr train` as its user runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from small_views import write_textures

from vpr_ros.cli.main import main
from vpr_ros.cli.train import in_words
from vpr_ros.models import build_model
from vpr_ros.models.weights.checkpoint import read_header
from vpr_ros.training.train import Result

SMALL = [
    '--model', 'sage_test', '--scratch', 'true', '--device', 'cpu', '--steps', '8',
    '--epoch_steps', '4', '--places_per_batch', '4', '--views_per_place', '3',
    '--validation.share', '0.2', '--save_every', '2',
]  # fmt: skip


@pytest.fixture(scope='module')
def survey(tmp_path_factory):
    return write_textures(tmp_path_factory.mktemp('survey'))


def order(survey, folder, *more):
    return ['train', '--data', str(survey), '-o', str(folder / 'mine.safetensors'), *SMALL, *more]


def test_from_pictures_to_a_model_that_describes(survey, tmp_path, capsys):
    assert main(order(survey, tmp_path, '--half')) == 0
    told = capsys.readouterr().out
    assert '48 images, 12 places' in told
    assert 'after 0 steps: recall@1' in told
    assert 'before learning' in told
    assert 'threshold' in told
    header = read_header(tmp_path / 'mine.safetensors')
    assert header.provenance['places'] == 12
    assert header.provenance['config']['sampler']['kind'] == 'sage'
    assert str(tmp_path) not in json.dumps(header.provenance)
    assert header.similarity_threshold is not None
    model = build_model('sage_test', 'cpu', tmp_path / 'mine.safetensors')
    import numpy as np

    found = model.describe([np.zeros((50, 60, 3), np.uint8)])
    assert found.descriptor.shape == (1, model.descriptor_dim)
    assert (tmp_path / 'mine.run' / 'log.jsonl').exists()


@pytest.mark.parametrize(
    ('best', 'before', 'words'),
    [
        (0.9, 0.75, 'step 4, recall@1 0.900, before learning 0.750'),
        (0.75, 0.75, 'before learning 0.750: no better than the weights it began with'),
        (0.9, None, 'step 4, recall@1 0.900'),  # went on from a state that did not say
    ],
)
def test_what_it_brought_is_said(best, before, words):
    result = Result(8, '', True, best_step=4, best_recall_at_1=best, recall_before=before)
    assert in_words(result).endswith(words)


def test_dry_run_writes_nothing(survey, tmp_path, capsys):
    assert main(order(survey, tmp_path, '--dry-run')) == 0
    told = capsys.readouterr().out
    assert 'parameters learn' in told
    assert 'places held out' in told
    assert 'nothing was written' in told
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_does_not_overwrite_the_first(survey, tmp_path, capsys):
    assert main(order(survey, tmp_path)) == 0
    before = (tmp_path / 'mine.safetensors').read_bytes()
    assert main(order(survey, tmp_path)) == 1
    assert 'go on with --resume' in capsys.readouterr().err
    assert (tmp_path / 'mine.safetensors').read_bytes() == before
    assert main(order(survey, tmp_path, '--resume')) == 0


def test_ctrl_c_saves_and_resume_finishes(survey, tmp_path):
    command = [sys.executable, '-m', 'vpr_ros.cli.main', *order(survey, tmp_path)]
    long = [word if word != '8' else '3000' for word in command]
    process = subprocess.Popen(long, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    state = tmp_path / 'mine.run' / 'state.safetensors'
    end = time.monotonic() + 60
    while not state.exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert '--resume goes on' in errors
    assert 'Traceback' not in errors
    assert not (tmp_path / 'mine.safetensors').exists()
    assert main([*order(survey, tmp_path, '--resume')]) == 1  # 8 steps are another training


@pytest.mark.parametrize(
    ('change', 'code', 'words'),
    [
        (['--data', '/nowhere'], 1, '/nowhere'),
        (['-o', 'x.pth'], 2, 'expected a .safetensors file, found x.pth'),
        (['--head-only'], 2, 'a head alone needs its backbone'),
        (['--resume'], 1, 'no saved training'),
        (['--places_per_batch', '50'], 1, 'places'),
        (['--model', 'sage_vitl_cross'], 2, 'for evaluation only'),
        (['-o', 'no/such/folder/x.safetensors'], 2, 'no folder'),
    ],
)
def test_one_sentence_for_what_cannot_work(
    survey, tmp_path, monkeypatch, capsys, change, code, words
):
    monkeypatch.chdir(tmp_path)
    assert main(order(survey, tmp_path, *change)) == code
    told = capsys.readouterr().err
    assert words in told
    assert told.count('\n') == 1
    assert not (tmp_path / 'mine.safetensors').exists()


def test_places_are_shared_out_before_anything_is_read(survey, tmp_path, monkeypatch, capsys):
    """The dry run, too, finds out that 4 places are none for 3 processes."""
    monkeypatch.setenv('WORLD_SIZE', '3')
    monkeypatch.setenv('RANK', '0')
    assert main(order(survey, tmp_path, '--dry-run')) == 2
    told = capsys.readouterr()
    assert 'places_per_batch: expected a multiple of the 3 processes, found 4' in told.err
    assert 'images' not in told.out


def test_damaged_pictures_are_named_before_the_first_step(tmp_path, capsys):
    folder = write_textures(tmp_path / 'survey', places=6)
    [victim, *_] = sorted(folder.rglob('*.jpg'))
    victim.write_bytes(b'not a picture')
    assert main(order(folder, tmp_path)) == 1
    assert victim.name in capsys.readouterr().err


def test_cut_jpegs_are_skipped_and_named(tmp_path, capsys):
    """The header is whole, so this shows in the middle of an epoch."""
    folder = write_textures(tmp_path / 'survey', places=12)
    victim = sorted(folder.rglob('*.jpg'))[3]
    data = victim.read_bytes()
    victim.write_bytes(data[: len(data) // 2])
    more = ['--validation.share', '0.0', '--steps', '24', '--sampler.kind', 'places']
    assert main(order(folder, tmp_path, *more)) == 0
    told = capsys.readouterr().out
    assert 'skipped' in told
    assert victim.name in told
    assert '1 images could not be read' in told
    header = read_header(tmp_path / 'mine.safetensors')
    assert os.path.basename(header.provenance['unreadable'][0]) == victim.name
