"""Without ROS there is one sentence that says what to do."""

import os
import signal
import sys
import threading
from types import SimpleNamespace

import pytest

import vpr_ros.nodes
from vpr_ros.errors import RosError
from vpr_ros.nodes import require_ros
from vpr_ros.nodes.process import _live, run


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


class Busy:
    """An executor whose only call-back takes its time, and is interrupted while it does."""

    context = SimpleNamespace(ok=lambda: True)

    def __init__(self):
        self.begun, self.done = 0, 0

    def spin_once(self, timeout_sec):
        self.begun += 1
        if self.begun == 1:
            threading.Event().wait(0.2)  # the main thread waits by then
            os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.3)
        self.done += 1

    def wake(self):
        pass


def test_ctrl_c_waits_for_the_call_back_under_way(signals):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    executor = Busy()
    node = SimpleNamespace(get_parameter=lambda name: SimpleNamespace(value=False))
    with pytest.raises(KeyboardInterrupt):
        _live(node, executor)
    assert executor.begun == executor.done  # nobody else runs the node while it is taken down
