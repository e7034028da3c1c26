"""The command line as people use it: what it prints, how it ends, what it leaves behind."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from small_drive import IMAGE, write_drive
from small_maps import write_map

from vpr_ros.cli.main import build_parser, main
from vpr_ros.cli.options import read_settings
from vpr_ros.config import DecisionConfig, TrainConfig
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.records import Place

WEIGHTS = 'x.safetensors'


@pytest.fixture
def settings(tiny_weights):
    return ['--model.name', 'sage_test', '--model.weights', str(tiny_weights)]


def test_help_loads_neither_torch_nor_ros():
    code = (
        'import sys; from vpr_ros.cli.main import build_parser; build_parser().format_help(); '
        'print([m for m in ("torch", "rclpy", "cv2", "faiss", "matplotlib") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize(
    'command', [['map', 'build'], ['evaluate'], ['train'], ['live'], ['replay'], ['demo-data']]
)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, '--help'])
    assert ended.value.code == 0
    assert 'usage: vpr' in capsys.readouterr().out


def test_settings_become_options():
    parsed = build_parser().parse_args(
        ['evaluate', 'bag', '--decision.consistent_frames', '5', '--search.top_k', '3']
    )
    assert read_settings(parsed, 'decision', DecisionConfig()).consistent_frames == 5
    parsed = build_parser().parse_args(
        ['train', '--data', 'x', '-o', 'y', '--loss.tokens', '0.5', '--scratch', 'true']
    )
    config = read_settings(parsed, '_', TrainConfig(steps=7))
    assert (config.loss.tokens, config.scratch, config.steps) == (0.5, True, 7)


def test_map_build_info_and_evaluate(small_bag, settings, tmp_path, capsys):
    path = tmp_path / 'small.vprmap'
    assert main(['map', 'build', str(small_bag), '-o', str(path), *settings]) == 0
    assert '45 places from 45 images' in capsys.readouterr().out
    assert main(['map', 'info', str(path)]) == 0
    assert '45, 45 with a pose' in capsys.readouterr().out
    rule = ['--rule', 'indoor', '--positive-m', '1', '--report', str(tmp_path / 'report')]
    assert main(['evaluate', str(small_bag), *settings, *rule]) == 0
    out = capsys.readouterr().out
    assert '14 of 15 revisits recognised, 0 false closures' in out
    assert (tmp_path / 'report' / 'index.html').is_file()
    figures = json.loads((tmp_path / 'report' / 'evaluation.json').read_text())
    assert figures['protocol']['name'] == 'indoor, changed'


def test_compressed_maps_are_built_made_and_explained(small_bag, settings, tmp_path, capsys):
    whole, shorter = tmp_path / 'whole.vprmap', tmp_path / 'shorter.vprmap'
    assert main(['map', 'build', str(small_bag), '-o', str(whole), *settings]) == 0
    assert main(['map', 'compress', str(whole), '-o', str(shorter), '--dim', '16']) == 0
    out = capsys.readouterr().out
    assert 'of the places keep their nearest other place' in out
    assert 'the best similarity changes by ' in out
    built = [str(small_bag), '-o', str(tmp_path / 'built.vprmap'), '--dim', '16', *settings]
    assert main(['map', 'build', *built]) == 0
    assert 'compressed to 16: ' in capsys.readouterr().out
    for name in ('shorter', 'built'):
        capsys.readouterr()
        assert main(['map', 'info', str(tmp_path / f'{name}.vprmap')]) == 0
        out = capsys.readouterr().out
        assert '16 x fp16' in out
        assert 'from 40: ' in out
    arguments = ['evaluate', str(small_bag), '--map', str(shorter), *settings]
    arguments += ['--decision.similarity_threshold', '0.999']  # the tiny model's is within fp16
    assert main([*arguments, '--rule', 'indoor', '--positive-m', '1']) == 0
    assert '44 of 45 revisits recognised, 0 false' in capsys.readouterr().out
    assert main(['map', 'compress', str(whole), '-o', str(shorter), '--dim', '9']) == 1


def test_a_centred_map_wants_a_threshold_of_its_own(small_bag, settings, tmp_path, capsys):
    path = tmp_path / 'centred.vprmap'
    built = [str(small_bag), '-o', str(path), '--dim', '16', '--centred', *settings]
    assert main(['map', 'build', *built]) == 0
    assert 'of the variance kept' in capsys.readouterr().out
    assert main(['map', 'info', str(path)]) == 0
    assert 'no cosines' in capsys.readouterr().out
    rule = ['--rule', 'indoor', '--positive-m', '1', '--map', str(path), *settings]
    assert main(['evaluate', str(small_bag), *rule]) == 2
    assert 'centred compression' in capsys.readouterr().err
    given = ['--decision.similarity_threshold', '0.9995']
    assert main(['evaluate', str(small_bag), *rule, *given]) == 0
    assert '44 of 45 revisits' in capsys.readouterr().out


def test_a_drive_with_fewer_places_than_asked_for_stays_whole(
    small_bag, settings, tmp_path, capsys
):
    built = [str(small_bag), '-o', str(tmp_path / 'm.vprmap'), *settings]
    assert main(['map', 'build', *built, '--dim', '39', '--keyframes.distance_m', '10']) == 0
    assert 'not compressed to 39: 23 places' in capsys.readouterr().out
    built[0] = str(tmp_path)  # a length that cannot be is told before the drive is read
    assert main(['map', 'build', *built, '--overwrite', '--dim', '40']) == 2
    assert 'expected a length from 1 to 39' in capsys.readouterr().err


def test_what_is_mapped_later_is_told_apart(small_bag, settings, tmp_path, capsys):
    path = tmp_path / 'm.vprmap'
    built = [str(small_bag), '-o', str(path), '--dim', '4', *settings]
    assert main(['map', 'build', *built]) == 0
    with PlaceMap.open(path, None, writable=True) as place_map:
        row = np.zeros(40, np.float32)
        row[7] = 1.0
        kept = (place_map.projection.apply(row) ** 2).sum()
        place_map.add(Place(0, place_map.add_session('later'), 1), row)
    assert kept < 0.9
    capsys.readouterr()
    assert main(['map', 'info', str(path)]) == 0
    assert f'1 places: {kept:.1%} of the squared length kept' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'code', 'words'),
    [
        (['map', 'info', 'nothing.vprmap'], 1, 'no map at nothing.vprmap'),
        (['map', 'build', 'nothing', '-o', 'x.vprmap'], 1, 'nothing'),
        (['models', 'nothing.safetensors'], 1, 'no weights at'),
        (['train', '--data', 'nothing', '-o', WEIGHTS, '--scratch', 'true'], 1, 'nothing at'),
        (['train', '--data', 'town:x', '-o', WEIGHTS, '--scratch', 'true'], 2, 'town:SEED'),
        (
            ['train', '--data', 'x', '-o', f'no/such/{WEIGHTS}', '--scratch', 'true'],
            2,
            'no folder',
        ),
        (['train', '--data', 'x', '-o', 'x', '--scratch', 'true'], 2, 'found x'),
        (['train', '--data', 'x', '-o', 'x', '--steps', '0'], 2, 'steps: expected at least 1'),
        (['train', '--data', 'x', '-o', 'x', '--config', 'none.yaml'], 2, 'cannot read settings'),
        (['evaluate', 'nothing', '--search.top_k', '0'], 2, 'top_k: expected at least 1'),
        (['live', 'nothing', '-o', 'live', '--image-topic', '/x'], 1, 'nothing'),
        (['live', 'x', '-o', 'y', '--mode', 'both', '--truth-topic', '/t'], 2, 'mode both'),
    ],
)
def test_what_a_user_can_get_wrong(arguments, code, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if arguments[0] in ('map', 'evaluate') and arguments[1] != 'info':
        arguments = [*arguments, '--model.name', 'sage_test']
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.startswith('vpr: ')
    assert captured.err.count('\n') == 1
    assert 'Traceback' not in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['map', 'build', 'none', '-o', 'm'], 'no recording none'),
        (['map', 'build', '.', '-o', 'no/such.vprmap'], 'no folder no'),
        (['map', 'build', '.', '-o', 'there'], 'there exists already'),
        (['evaluate', '.', '--rule', 'wide'], "no truth rule is called 'wide'"),
        (['evaluate', '.', '--map', 'none'], 'no map at none'),
        (['evaluate', '.', '--report', 'there'], 'not a report of ours'),
        (['evaluate', 'none', '--stages'], 'no recording none'),
        (['calibrate', 'none', '.'], 'no map at none'),
        (['live', '.', '-o', 'out', '--rule', 'wide'], "no truth rule is called 'wide'"),
        (['live', '.', '-o', 'out', '--report', 'r'], 'name --truth-topic'),
        (['live', '.', '-o', 'out', '--truth-topic', '/t', '--report', 'there'], 'not a report'),
    ],
)
def test_names_are_looked_at_before_a_model_is(arguments, words, tmp_path, monkeypatch, capsys):
    def build(*arguments):
        raise AssertionError('a model takes seconds')

    monkeypatch.setattr('vpr_ros.models.build_model', build)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'there').write_text('mine')
    assert main(arguments) in (1, 2)
    assert words in capsys.readouterr().err
    assert (tmp_path / 'there').read_text() == 'mine' and len(list(tmp_path.iterdir())) == 1


def test_a_wrong_rule_is_wrong_use(capsys):
    assert main(['evaluate', '.', '--rule', 'wide']) == 2
    assert main(['evaluate', '.', '--positive-m', '-1']) == 2


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (OSError(28, 'No space left on device'), 'No space left on device: '),
        (OSError(28, 'No space left on device', 'a.png'), 'a.png: No space left on device\n'),
        (OSError('it is gone'), 'it is gone: '),
        (OSError(9, 'Bad file descriptor', 7), 'Bad file descriptor: '),
    ],
)
def test_what_the_system_refuses_is_told_with_its_file(error, words, monkeypatch, capsys):
    def refuse(arguments):
        raise error

    monkeypatch.setattr('vpr_ros.cli.models.run', refuse)
    assert main(['models']) == 1
    told = capsys.readouterr().err
    assert told.startswith(f'vpr: {words}') and 'None' not in told


@pytest.mark.parametrize('encoding', ['ascii', 'utf-8'])
def test_any_name_can_be_printed_on_any_terminal(encoding, tmp_path):
    path = tmp_path / 'caf\xe9\udce9.vprmap'  # the second is no UTF-8
    write_map(path)
    environment = {**os.environ, 'PYTHONIOENCODING': encoding}
    command = [sys.executable, '-m', 'vpr_ros.cli.main', 'map', 'info', os.fsencode(path)]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0 and not done.stderr
    assert b'12, 8 with a pose' in done.stdout


def test_a_drive_of_any_name_is_mapped_and_reported(small_bag, settings, tmp_path, capsys):
    bag, path = tmp_path / 'drive\udce9', tmp_path / 'm.vprmap'
    bag.symlink_to(small_bag)
    assert main(['map', 'build', str(bag), '-o', str(path), *settings]) == 0
    with PlaceMap.open(path, None) as place_map:
        assert place_map.sessions()[0][1] == 'drive\N{REPLACEMENT CHARACTER}'
    report = ['--rule', 'indoor', '--report', str(tmp_path / 'report')]
    assert main(['evaluate', str(bag), *settings, *report]) == 0
    assert 'drive?' in (tmp_path / 'report' / 'index.html').read_text(encoding='utf-8')


def test_a_rule_that_fits_no_place_is_named(small_bag, settings, capsys):
    assert main(['evaluate', str(small_bag), *settings, '--gap-s', '1000']) == 0
    told = capsys.readouterr().out
    assert 'No place was seen twice' in told
    assert 'By the rule slam, changed: at most 10 m away' in told and '--rule has others' in told


def test_wrong_use_ends_with_two(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['map', 'build'])
    assert ended.value.code == 2
    assert 'required' in capsys.readouterr().err


def test_ctrl_c_is_one_sentence(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr('vpr_ros.cli.models.run', interrupt)
    assert main(['models']) == 130
    assert capsys.readouterr().err.count('\n') == 1


def test_train_on_a_bag_and_use_the_result(tmp_path, capsys):
    drive = write_drive(tmp_path / 'drive', images=60)
    out = tmp_path / 'mine.safetensors'
    arguments = [
        'train', '--data', str(drive), '-o', str(out), '--model', 'sage_test', '--scratch', 'true',
        '--steps', '3', '--places_per_batch', '2', '--views_per_place', '2', '--device', 'cpu',
    ]  # fmt: skip
    assert main(arguments) == 0
    assert main(['models', str(out)]) == 0
    shown = capsys.readouterr().out
    assert 'sage_test' in shown and '"steps": 3' in shown
    assert str(tmp_path) not in out.read_bytes().decode('latin-1')  # no folders of this machine
    path = tmp_path / 'm.vprmap'
    settings = ['--model.name', 'sage_test', '--model.weights', str(out)]
    assert main(['map', 'build', str(drive), '-o', str(path), *settings]) == 0


def test_evaluate_names_the_topics_there_are(small_bag, settings, capsys):
    assert main(['evaluate', str(small_bag), '--image-topic', '/wrong', *settings]) == 1
    assert IMAGE in capsys.readouterr().err


@pytest.mark.parametrize('command', [['map', 'build', '-o', 'x.vprmap'], ['evaluate']])
def test_a_model_without_weights_is_one_sentence(
    command, small_bag, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = [*command, str(small_bag), '--model.name', 'sage_test']
    given += ['--decision.similarity_threshold', '0.9'] if command == ['evaluate'] else []
    assert main(given) == 1
    assert 'sage_test has no weights yet' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
