"""`vpr benchmark` as people use it, and the arguments of benchmarks/inference.py."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from vpr_ros.cli.main import main
from vpr_ros.errors import WorkerError

INFERENCE = Path(__file__).resolve().parents[2] / 'benchmarks' / 'inference.py'


def test_a_tiny_model_from_end_to_end(tmp_path, capsys):
    out, plot = tmp_path / 'speed.json', tmp_path / 'speed.png'
    arguments = ['benchmark', 'sage_test', '--device', 'cpu', '--precision', 'fp32']
    files = ['--repeat', '2', '--camera', '48x64', '--json', str(out), '--plot', str(plot)]
    assert main([*arguments, *files]) == 0
    shown = capsys.readouterr().out
    assert 'sage_test*' in shown and '1x70x70' in shown and '* random weights' in shown
    assert 'pictures of 48x64; 3 calls to warm up, then 2' in shown
    found = json.loads(out.read_text())
    assert [row['model'] for row in found['rows']] == ['sage_test'] and not found['failures']
    assert found['rows'][0]['load_mib'] > 1
    assert Image.open(plot).size[0] > 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ['speed.json', 'speed.png']


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['sage_big'], "no model 'sage_big'"),
        (['sage_test', '--size', '70x71'], 'multiples of 14'),
        (['sage_test', '--batch', '1', '0'], 'batch: expected at least 1'),
        (['sage_test', '--precision', 'int3'], "precision 'int3'"),
        (['sage_test', '--json', 'no/such/x.json'], 'no folder no/such'),
        (['sage_test', '--plot', 'x.gif'], 'expected a name that ends in .png'),
    ],
)
def test_what_a_user_can_get_wrong(arguments, words, capsys):
    assert main(['benchmark', '--device', 'cpu', *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith('vpr: ') and error.count('\n') == 1


@pytest.mark.parametrize('size', ['70', '70x', '0x70', 'axb', '70x70x3'])
def test_a_size_is_height_and_width(size, capsys):
    with pytest.raises(SystemExit) as ended:
        main(['benchmark', '--size', size])
    assert ended.value.code == 2
    assert 'expected HxW in pixels such as 322x322' in capsys.readouterr().err


def test_what_cannot_be_measured_ends_with_one(monkeypatch, tmp_path, capsys):
    def die(function, case, tell=None):
        raise WorkerError('the process ended')

    monkeypatch.setattr('vpr_ros.evaluation.speed.call_in_fresh_process', die)
    out, plot = tmp_path / 'speed.json', tmp_path / 'speed.png'
    files = ['--json', str(out), '--plot', str(plot)]
    assert main(['benchmark', 'sage_test', '--device', 'cpu', *files]) == 1
    assert 'sage_test, batch 1, auto: the process ended' in capsys.readouterr().err
    assert json.loads(out.read_text())['failures'] and not plot.exists()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--against', 'nowhere'], 'nowhere is no checkout of SAGE or FoL'),
        (['--against', 'fol'], '--against needs a checkout of DINOv2'),
        (
            ['sage_test', '--against', 'fol', '--dinov2', 'dino'],
            'none of these models, but fol_vit',
        ),
        (['sage_test', '--batch', '0', '--device', 'cpu'], 'batch: expected at least 1'),
    ],
)
def test_checkouts_of_the_authors_are_looked_at_first(
    arguments, words, tmp_path, monkeypatch, capsys
):
    (tmp_path / 'fol').mkdir()
    (tmp_path / 'fol' / 'network_FoL.py').touch()
    (tmp_path / 'dino' / 'dinov2' / 'hub').mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(INFERENCE.parent)
    monkeypatch.setattr(sys, 'argv', [str(INFERENCE), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(INFERENCE))['main']()
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
