"""`vpr weights` and `vpr train --backbone` as people use them."""

import pytest
import torch
from bad_server import Answer, serving
from released_files import TINY, container, dinov2, sage, tensors
from small_drive import write_drive

from vpr_ros.cli.main import main
from vpr_ros.models import read_header
from vpr_ros.models.registry import find_weights
from vpr_ros.models.weights.published import PUBLISHED, Published


@pytest.fixture
def released(tmp_path):
    path = tmp_path / 'SAGE.pth'
    torch.save(container(tensors(sage(TINY))), path)
    return path


@pytest.fixture
def server(released, tmp_path, monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    with serving(released.read_bytes()) as server:
        entry = Published('S.pth', (server.url('/{}'),), 'MIT', 'a test', 'sage_test', 'ab' * 32)
        monkeypatch.setitem(PUBLISHED, 'sage_test', entry)
        yield server


def test_list(server, capsys):
    assert main(['weights', 'list', '--addresses']) == 0
    shown = capsys.readouterr().out
    assert 'https://huggingface.co/shunpeng/FoL/resolve/main/FoL_large.pth' in shown
    assert all(name in shown for name in PUBLISHED)


def test_fetch_tells_where_what_and_whether_it_is_what_was_recorded(server, capsys):
    assert main(['weights', 'fetch', 'sage_test']) == 0
    shown = capsys.readouterr().out
    assert str(find_weights('sage_test')) in shown
    assert 'a third party' in shown and 'abab' in shown
    assert '"licence": "MIT"' in shown
    assert main(['weights', 'fetch', 'sage_test']) == 0
    assert 'there already' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'answer', 'code', 'words'),
    [
        (['fetch', 'sage_test'], Answer(status=404), 1, '404 Not Found'),
        (['fetch', 'sage_test', '--verify'], Answer(), 1, 'has SHA-256'),
        (['fetch', 'sage_test', '--sha256', 'cd'], Answer(), 1, 'expected cd'),
        (['fetch', 'sage_test', '--url', 'file:///x'], Answer(), 2, 'expected an http or https'),
        (['fetch', 'resnet'], Answer(), 2, "nothing is published as 'resnet'"),
        (['info', 'nothing.pth'], Answer(), 1, 'no weights at nothing.pth'),
        (['convert', 'nothing.pth', '-o', 'x'], Answer(), 1, 'no weights at nothing.pth'),
        (['convert', 'SAGE.pth', '-o', 'no/such/x'], Answer(), 2, 'no folder no/such'),
        (['convert', 'SAGE.pth', '-o', 'x', '--model', 'y'], Answer(), 1, 'SAGE'),
    ],
)
def test_what_can_go_wrong_is_one_sentence(
    server, arguments, answer, code, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    server.answers = [answer]
    assert main(['weights', *arguments]) == code
    told = capsys.readouterr().err
    assert words in told and told.startswith('vpr: ') and told.count('\n') == 1
    assert find_weights('sage_test') is None


def test_ctrl_c_says_that_the_download_continues(server, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr('vpr_ros.models.weights.fetch.download', interrupt)
    assert main(['weights', 'fetch', 'sage_test']) == 130
    assert 'the same command continues' in capsys.readouterr().err


def test_convert_and_info(released, tmp_path, capsys):
    out = tmp_path / 'ours.safetensors'
    command = ['weights', 'convert', str(released), '-o', str(out), '--model', 'sage_test']
    assert main(command) == 0
    assert main(['weights', 'info', str(released)]) == 0
    shown = capsys.readouterr().out
    assert 'SAGE of width 32' in shown
    assert main(['weights', 'info', str(out)]) == 0
    shown = capsys.readouterr().out
    assert read_header(out).fingerprint in shown
    assert 'vpr_ros checkpoint' in shown and '"file": "SAGE.pth"' in shown


def test_a_head_is_trained_on_a_published_backbone(tmp_path, capsys):
    drive, backbone = write_drive(tmp_path / 'drive', images=60), tmp_path / 'dinov2.pth'
    weights = tensors(dinov2(TINY))
    torch.save(weights, backbone)
    out = tmp_path / 'mine.safetensors'
    arguments = [
        'train', '--data', str(drive), '-o', str(out), '--model', 'sage_test',
        '--backbone', str(backbone), '--steps', '1', '--learning_rate', '0', '--average', '0',
        '--places_per_batch', '2', '--views_per_place', '2', '--device', 'cpu',
    ]  # fmt: skip
    assert main([*arguments, '--scratch', 'true']) == 2
    assert 'give one of backbone, weights and scratch' in capsys.readouterr().err
    assert main(arguments) == 0
    from safetensors.torch import load_file

    trained = load_file(out)
    assert torch.equal(trained['backbone.pos_embed'], weights['pos_embed'])
    assert read_header(out).provenance['config']['backbone'] == 'dinov2.pth'
    assert str(tmp_path) not in out.read_bytes().decode('latin-1')
