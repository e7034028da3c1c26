"""`vpr explain` as people use it: on an image, on a moment of a drive, and on bad input."""

import argparse
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from small_drive import START_NS, texture, write_drive

from vpr_ros.cli import explain
from vpr_ros.errors import ConfigError, VprError
from vpr_ros.models import build_model
from vpr_ros.recognition.mapping import build_map


@pytest.fixture(scope='module')
def place(tmp_path_factory, tiny_weights, small_bag):
    """A folder with a map of the small drive."""
    folder = tmp_path_factory.mktemp('explain')
    build_map(small_bag, build_model('sage_test', 'cpu', tiny_weights), folder / 'small.vprmap')
    return folder


@pytest.fixture
def run(place, tiny_weights, tmp_path, monkeypatch):
    """`vpr explain small.vprmap ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(query, *more):
        parser = argparse.ArgumentParser()
        explain.add_commands(parser.add_subparsers())
        weights = ['--model.weights', str(tiny_weights)]
        words = ['explain', str(place / 'small.vprmap'), str(query), *weights, *more]
        parsed = parser.parse_args(words)
        parsed.run(parsed)

    return run


def save(image, path):
    Image.fromarray(image).save(path)
    return path


def is_picture(path):
    image = cv2.imread(str(path))
    return image is not None and image.shape[1] == 1600


def test_an_image_is_explained_by_the_model_of_the_map(run, tmp_path, capsys):
    run(save(texture(7), tmp_path / 'query.png'), '--json')
    told = capsys.readouterr()
    record = json.loads(told.out)
    assert record['verdict'] == 'ACCEPTED'
    assert record['candidates'][0]['stamp_ns'] in (START_NS + 7 * 10**9, START_NS + 37 * 10**9)
    assert any('One image alone' in note for note in record['notes'])
    assert 'accepted: similarity 1.000' in told.err
    assert is_picture('query_explained.png')


def test_a_moment_is_explained_after_what_came_before(run, small_bag, capsys):
    run(small_bag, '--stamp', str(START_NS // 10**9 + 20), '--context', '4.5', '--json')
    record = json.loads(capsys.readouterr().out)
    assert record['stamp_ns'] == START_NS + 20 * 10**9
    assert record['signals']['agreement'] == 5
    assert 'Answered after 4 keyframes of the 4.5 s before it.' in record['notes']
    run(small_bag, '--stamp', str(START_NS + 3 * 10**9), '--json', '-o', 'ns.png')
    assert json.loads(capsys.readouterr().out)['stamp_ns'] == START_NS + 3 * 10**9
    run(small_bag, '--at', '19.5', '--context', '0', '-o', 'at.png')
    assert 'not yet: waiting for further images: 1 of 2' in capsys.readouterr().out
    assert is_picture('ns.png')
    assert is_picture('at.png')


def test_settings_reach_the_front_door(run, tmp_path, capsys):
    query = save(texture(7), tmp_path / 'query.png')
    run(query, '--json', '--search.top_k', '4', '--verification.candidates', '2',
        '--verification.matches', 'sift', '--verification.min_inliers', '4')  # fmt: skip
    found = json.loads(capsys.readouterr().out)['candidates']
    assert len(found) == 4
    assert [c['inliers'] is None for c in found] == [False, False, True, True]


def test_a_blank_image_is_answered_with_a_picture(run, tmp_path, capsys):
    run(save(np.full((96, 128, 3), 128, np.uint8), tmp_path / 'grey.png'), '-o', 'x.png')
    assert 'no answer: bad image: the image is blank' in capsys.readouterr().out
    assert is_picture('x.png')


def test_only_keyframes_are_answered_before_the_moment(run, tmp_path, capsys):
    bag = write_drive(tmp_path / 'short', images=4)
    limits = '--keyframes.distance_m', '5', '--keyframes.angle_rad', '0'  # an image each 2 m
    run(bag, '--at', '3', *limits, '--json')
    record = json.loads(capsys.readouterr().out)
    assert record['stamp_ns'] == START_NS + 3 * 10**9
    assert record['notes'] == ['Answered after 1 keyframe of the 10 s before it.']


MISTAKES = [
    (['no.png'], 'no.png cannot be read as an image: No such file'),
    (['text.png'], 'is not an image of a known format'),
    (['query.png', '--at', '3'], 'is no recording'),
    (['bag'], 'name an image of it with --stamp or --at'),
    (['bag', '--stamp', 'noon'], 'expected seconds such as'),
    (['bag', '--stamp', '1700000003.3'], r'the nearest is 1700000003\.000 s'),
    (['bag', '--stamp', '1800000000'], r'the nearest is 1700000044\.000 s'),
    (['bag', '--at', '60'], r'has no image on /camera/image_raw from 60 s after'),
    (['bag', '--at', '-1'], 'expected seconds, at least 0'),
    (['nowhere', '--at', '1'], 'there is no recording nowhere'),
    (['query.png', '-o', 'query.png'], 'is the query itself'),
    (['query.png', '-o', 'x.jpg'], r'ends in \.png'),
    (['query.png', '-o', 'no/x.png'], 'no folder no'),
]


@pytest.mark.parametrize(('words', 'sentence'), MISTAKES)
def test_mistakes_are_one_sentence_and_write_nothing(run, tmp_path, small_bag, words, sentence):
    save(texture(7), tmp_path / 'query.png')
    (tmp_path / 'text.png').write_text('no image')
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    words = [str(small_bag) if word == 'bag' else word for word in words]
    with pytest.raises(VprError, match=sentence):
        run(*words)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_stamps_are_seconds_or_nanoseconds():
    stamp = 1_700_000_001_250_000_000
    assert explain.stamp_ns_of('1700000001.25') == stamp
    assert explain.stamp_ns_of(str(stamp)) == stamp
    assert explain.stamp_ns_of('12') == 12 * 10**9
    for text in ('', 'nan', 'inf', '1e999999999', 'noon'):
        with pytest.raises(ConfigError, match='expected seconds'):
            explain.stamp_ns_of(text)
