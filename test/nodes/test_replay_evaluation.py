"""The evaluation of the live node as a ROS executable: a recording in, a report out."""

import json
import subprocess
import sys
import threading

import pytest
from pictures import image_message, odometry_message, write_messages
from rclpy.parameter import Parameter
from waiting import WAIT_S

from vpr_ros.config.executables import ReplayEvaluationConfig
from vpr_ros.errors import BagError, ConfigError, DatasetError, RosError
from vpr_ros.models import build_model
from vpr_ros.nodes import replay_evaluation_node
from vpr_ros.nodes.replay_evaluation_node import (
    ReplayEvaluation,
    found_topics,
    ordered,
    settings_of_node,
)
from vpr_ros.recognition.mapping import build_map

PLACES = 6


@pytest.fixture
def unsettled():
    """Here there are two processes, which need their time to find each other."""


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    """Six pictures, 30 metres apart: none is near another by the rule."""
    messages = []
    for k in range(PLACES):
        messages.append(('/odom', odometry_message(30.0 * k, k), k))
        messages.append(('/camera/image_raw', image_message(k, k), k))
    return write_messages(tmp_path_factory.mktemp('bag') / 'tuesday', messages)


@pytest.fixture
def make(context, weights):
    """An evaluation with settings by their dotted names."""
    made = []

    def evaluation(**settings):
        given = {'model.name': 'sage_test', 'model.weights': str(weights), **settings}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        made.append(
            ReplayEvaluation(threading.Event(), context=context, parameter_overrides=overrides)
        )
        return made[-1]

    yield evaluation
    for node in made:
        node.destroy_node()


def test_a_drive_in_its_own_map_finds_every_place(make, drive, weights, tmp_path):
    path, report = tmp_path / 'office.vprmap', tmp_path / 'figures'
    model = build_model('sage_test', 'cpu', str(weights))
    assert build_map(drive, model, path).posed == PLACES
    node = make(
        bag=str(drive), map=str(path), report=str(report), **{'decision.consistent_frames': 1}
    )
    node.carry_out()
    figures = json.loads((report / 'evaluation.json').read_text())
    assert (figures['closures']['correct'], figures['closures']['wrong']) == (PLACES, 0)
    assert (report / 'index.html').is_file()
    answers = tmp_path / 'figures_answers'
    lines = (answers / 'place_matches.jsonl').read_text().splitlines()
    assert [json.loads(x)['status'] for x in lines] == ['ACCEPTED'] * PLACES
    assert not list(tmp_path.glob('.*.part'))


def test_an_interruption_is_told_and_writes_no_report(make, drive, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(replay_evaluation_node, 'run_live', interrupted)
    node = make(bag=str(drive), map='any.vprmap', report=str(tmp_path / 'figures'))
    with pytest.raises(RosError, match='interrupted while playing the recording'):
        node.carry_out()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_judged_is_told_before_anything_is_played(drive, tmp_path):
    config = ReplayEvaluationConfig
    with pytest.raises(ConfigError, match='bag is empty'):
        ordered(config(report='figures'))
    with pytest.raises(ConfigError, match='report is empty'):
        ordered(config(bag='b'))
    with pytest.raises(ConfigError, match='mode both'):
        ordered(config(bag='b', report='figures', mode='both'))
    with pytest.raises(DatasetError, match="no truth rule is called 'none'"):
        ordered(config(bag='b', report=str(tmp_path / 'new'), rule='none'))
    (tmp_path / 'mine.txt').touch()
    with pytest.raises(DatasetError, match='not a report of ours'):
        ordered(config(bag='b', report=str(tmp_path)))
    with pytest.raises(BagError, match='/truth'):
        found_topics(config(bag=str(drive), truth_topic='/truth'))
    blind = write_messages(tmp_path / 'blind', [('/image', image_message(0), 0)])
    with pytest.raises(ConfigError, match='has no poses to judge'):
        found_topics(config(bag=str(blind)))


def test_topics_and_settings_of_the_node(drive):
    given = {'decision': {'consistent_frames': 1}, 'map': 'a.vprmap', 'bag': str(drive)}
    config = from_given(given)
    assert settings_of_node(config) == {'map': 'a.vprmap', 'decision.consistent_frames': 1}
    assert found_topics(config).played() == ['/camera/image_raw']
    assert found_topics(from_given({**given, 'pose_topic': '/odom'})).pose == '/odom'


def from_given(given):
    from vpr_ros.config import from_dict

    return from_dict(ReplayEvaluationConfig, given)


def test_as_an_executable_it_ends_with_2_where_nothing_is_named():
    done = subprocess.run(
        [sys.executable, '-m', 'vpr_ros.nodes.replay_evaluation', '--ros-args', '-p', 'bag:=b'],
        stderr=subprocess.PIPE, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert 'parameter report is empty: expected a path' in done.stderr
    assert 'Traceback' not in done.stderr
