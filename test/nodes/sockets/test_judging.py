"""A graph is judged in another process, one at a time."""

import threading

import numpy as np
import pytest
from small_graphs import looped
from waiting import eventually

from vpr_ros.config.graph import GraphConfig
from vpr_ros.errors import GraphError
from vpr_ros.maps.pose_graph import PoseGraph, optimize
from vpr_ros.nodes.sockets.judging import Judging

pytest.importorskip('gtsam')


def test_another_process_finds_the_same_and_takes_one_at_a_time():
    _, graph = looped()
    failures, answers, release = [], [], threading.Event()

    def then(found):
        answers.append(found)
        release.set()

    judging = Judging(failures.append)
    assert judging.ask(graph, GraphConfig(), then)
    assert not judging.ask(graph, GraphConfig(), then)
    eventually(release.is_set)
    [found] = answers
    here = optimize(graph)
    assert found.kept.tolist() == here.kept.tolist()
    gaps = [a.distance_m(b) for a, b in zip(found.poses, here.poses, strict=True)]
    assert np.max(gaps) < 1e-6
    assert not failures


def test_what_cannot_be_judged_is_told_and_nothing_follows():
    failures, answers = [], []
    judging = Judging(failures.append)
    assert judging.ask(PoseGraph([], []), GraphConfig(), answers.append)
    [error] = eventually(lambda: failures[:])
    assert isinstance(error, GraphError)
    assert not answers
    assert eventually(lambda: judging.ask(PoseGraph([], []), GraphConfig(), answers.append))
