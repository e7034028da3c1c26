"""Without ROS there is one sentence that says what to do."""

import signal
import sys

import pytest

import vpr_ros.nodes
from vpr_ros.errors import RosError
from vpr_ros.nodes import require_ros
from vpr_ros.nodes.process import run


@pytest.fixture
def signals():
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


def test_here_everything_is_there():
    require_ros()


def test_a_missing_package_is_named_with_the_remedy(monkeypatch, capsys, signals):
    monkeypatch.setattr(vpr_ros.nodes, 'REMEDIES', {'absent_msgs': 'build it'})
    assert run('any', 'Any', ['place_recognition']) == 1
    told = capsys.readouterr().err
    assert told == 'the ROS package absent_msgs is not there: build it\n'


def test_the_sources_of_a_package_are_not_the_package(monkeypatch, tmp_path):
    (tmp_path / 'only_sources_msgs' / 'msg').mkdir(parents=True)
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    monkeypatch.setattr(vpr_ros.nodes, 'REMEDIES', {'only_sources_msgs': 'build it'})
    with pytest.raises(RosError, match='only_sources_msgs is not there'):
        require_ros()
