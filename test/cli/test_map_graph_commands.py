"""`vpr map optimize` and `vpr map export`, as people see them."""

import json
import sys

import numpy as np
import pytest
from small_drive import PLACES
from small_maps import full_disk, write_map

from vpr_ros.cli.main import main
from vpr_ros.maps.graph_files import read_g2o
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.recognition.drive import DriveOptions
from vpr_ros.recognition.mapping import build_map
from vpr_ros.records import Place


@pytest.fixture
def built(small_bag, tiny_model, tmp_path):
    build_map(small_bag, tiny_model, tmp_path / 'a.vprmap', DriveOptions())
    return tmp_path / 'a.vprmap'


def model(tiny_weights):
    return ['--model.name', 'sage_test', '--model.weights', str(tiny_weights),
            '--model.device', 'cpu', '--decision.exclude_recent_s', '5',
            '--verification.candidates', '0']  # fmt: skip


def test_optimize_says_what_it_did(built, small_bag, tiny_weights, tmp_path, capsys):
    out, g2o, tum = (str(tmp_path / name) for name in ('b.vprmap', 'g.g2o', 't.tum'))
    command = ['map', 'optimize', str(built), '-o', out, '--g2o', g2o, '--tum', tum]
    truth = ['--truth', str(small_bag), '/pose', '--min-probability', '0']
    assert main([*command, *truth, *model(tiny_weights)]) == 0
    told = capsys.readouterr().out
    assert '14 used, 0 rejected as false' in told
    assert 'largest move' in told
    assert 'absolute trajectory error of 45 poses' in told
    assert (tmp_path / 'b.png').stat().st_size > 1000
    graph = read_g2o(g2o)
    assert len(graph.nodes) == 45
    assert sum(edge.robust for edge in graph.edges) == 14
    assert len((tmp_path / 't.tum').read_text().splitlines()) == 45
    assert main([*command, *model(tiny_weights)]) == 1
    assert 'exists already' in capsys.readouterr().err


def closure(from_ns, to_id, metres=0.0, probability=0.9):
    covariance = [0.0] * 36
    covariance[::7] = [0.04] * 3 + [0.01] * 3
    return json.dumps({
        'from_stamp_ns': from_ns, 'to_id': to_id, 'pose_kind': 4, 'similarity': 0.9, 'inliers': 9,
        'position_m': [metres, 0.0, 0.0], 'quaternion': [0.0, 0.0, 0.0, 1.0],
        'covariance': covariance, 'probability': probability,
    })  # fmt: skip


def test_closures_of_a_live_run(built, tmp_path, capsys):
    with PlaceMap.open(built, None) as place_map:
        stamps = [place.stamp_ns for place in place_map.places]
        ids = [place.id for place in place_map.places]
    lines = [closure(stamps[k], ids[k - PLACES]) for k in range(PLACES, 44)]
    lines += [closure(stamps[44], ids[7]), closure(1, ids[3]), closure(stamps[9], ids[0], 5, 0.1)]
    (tmp_path / 'c.jsonl').write_text('\n'.join(lines))
    command = ['map', 'optimize', str(built), '-o', str(tmp_path / 'b.vprmap')]
    named = ['--closures', str(tmp_path / 'c.jsonl'), '--min-probability', '0.5']
    assert main([*command, *named]) == 0
    told = capsys.readouterr().out
    assert '14 used, 1 rejected as false, 1 too improbable' in told
    assert f'place {ids[44]} to place {ids[7]}' in told
    assert 'no place was recorded about its time' in told


def test_optimize_needs_gtsam_and_says_so_at_once(built, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gtsam', None)
    assert main(['map', 'optimize', str(built), '-o', str(tmp_path / 'b.vprmap')]) == 1
    assert 'pip install gtsam' in capsys.readouterr().err
    assert not (tmp_path / 'b.vprmap').exists()


def test_wrong_use(built, tmp_path, capsys):
    out = ['-o', str(tmp_path / 'b.vprmap')]
    assert main(['map', 'optimize', str(built), *out, '--plot', 'a.png']) == 2
    assert 'name it with --truth' in capsys.readouterr().err
    assert main(['map', 'export', str(built)]) == 2
    assert 'name --g2o, --tum or --images' in capsys.readouterr().err


def test_what_is_wrong_is_told_before_loops_are_closed(built, small_bag, tmp_path, capsys):
    files = set(tmp_path.iterdir())
    out = ['-o', str(tmp_path / 'b.vprmap')]
    assert main(['map', 'optimize', str(built), *out, '--truth', str(small_bag), '/none']) == 1
    assert "no topic '/none'" in capsys.readouterr().err
    assert main(['map', 'optimize', str(built), '-o', str(built)]) == 1  # and not: no weights
    assert 'exists already' in capsys.readouterr().err
    assert main(['map', 'optimize', str(built), *out, '--closures', 'none.jsonl']) == 1
    told = capsys.readouterr().err
    assert 'expected loop_closures.jsonl' in told and 'Errno' not in told
    assert set(tmp_path.iterdir()) == files


def test_a_map_without_poses_has_no_trajectory(tmp_path, capsys):
    with PlaceMap.create(tmp_path / 'a.vprmap', 'm', 'f' * 64, 2, 'map') as place_map:
        place_map.add(Place(0, place_map.add_session('s'), 1), np.array([1, 0], np.float32))
    for kind in ('--tum', '--g2o'):
        out = tmp_path / 'out'
        assert main(['map', 'export', str(tmp_path / 'a.vprmap'), kind, str(out)]) == 1
        assert 'no place of' in capsys.readouterr().err and not out.exists()


def test_export(tmp_path, capsys):
    path = str(write_map(tmp_path / 'a.vprmap'))
    images = tmp_path / 'images'
    files = ['--g2o', str(tmp_path / 'a.g2o'), '--tum', str(tmp_path / 'a.tum')]
    assert main(['map', 'export', path, *files, '--images', str(images)]) == 0
    told = capsys.readouterr().out
    assert 'a.g2o: 8 poses' in told and 'a.tum: 8 poses' in told
    assert '9 thumbnails of 12 places' in told
    assert len(list(images.glob('*.jpg'))) == 9
    assert (images / '000002_1000000000.jpg').read_bytes()[:2] == b'\xff\xd8'
    assert len(read_g2o(tmp_path / 'a.g2o').nodes) == 8
    assert len((tmp_path / 'a.tum').read_text().splitlines()) == 8
    assert main(['map', 'export', path, '--images', str(images)]) == 1
    assert 'exists already' in capsys.readouterr().err


def test_thumbnails_that_find_no_room_are_one_sentence(tmp_path, capsys):
    path, images = str(write_map(tmp_path / 'a.vprmap')), tmp_path / 'images'
    before = set(tmp_path.iterdir())
    with full_disk(100):
        assert main(['map', 'export', path, '--images', str(images)]) == 1
    assert f'cannot write {images}: ' in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == before
