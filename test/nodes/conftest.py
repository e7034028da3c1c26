"""Nodes in this process, in a ROS domain of their own, with small random weights."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import lru_cache

import pytest
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter

from vpr_ros.models import build_model, save_checkpoint
from vpr_ros.models.registry import untrained_model
from vpr_ros.nodes.recognition_node import PlaceRecognition
from vpr_ros.nodes.session import spinning
from vpr_ros.nodes.transport import free_domain_id, process_environment


def weights_of_chance(path, name='sage_test', seed=0, threshold=0.999):
    """A random network knows identical images, which is all that machinery needs."""
    model = untrained_model(name, seed)
    model.similarity_threshold = threshold
    save_checkpoint(model, path)
    return path


@pytest.fixture(scope='session')
def weights(tmp_path_factory):
    return weights_of_chance(tmp_path_factory.mktemp('weights') / 'test.safetensors')


@pytest.fixture(scope='session')
def other_weights(tmp_path_factory):
    return weights_of_chance(tmp_path_factory.mktemp('weights') / 'other.safetensors', seed=1)


@pytest.fixture(scope='session', autouse=True)
def environment():
    """What DDS reads, for this process and those it starts."""
    before = dict(os.environ)
    os.environ.update(process_environment(free_domain_id()))
    os.environ.pop('ROS_LOCALHOST_ONLY', None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def unsettled(monkeypatch):
    """Within one process both sides find each other at once."""
    monkeypatch.setattr('vpr_ros.nodes.playback.player.SETTLE_S', 0.0)


@pytest.fixture(autouse=True)
def ready_models(monkeypatch):
    """Models are compiled once for all nodes of this process: that takes a second each."""
    monkeypatch.setattr('vpr_ros.nodes.recognition_node.build_model', cached_model)


@lru_cache
def cached_model(*arguments):
    return build_model(*arguments)


@pytest.fixture(scope='session')
def context(environment):
    context = Context()
    rclpy.init(args=[], context=context)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def make_node(context, weights):
    """A live node with settings by their dotted names; ended after the test."""
    made = []

    def make(**settings):
        given = {'model.name': 'sage_test', 'model.weights': str(weights), **settings}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        made.append(PlaceRecognition(context=context, parameter_overrides=overrides))
        return made[-1]

    yield make
    for node in made:
        node.end()


@pytest.fixture
def spin(context):
    """Spin nodes in the background until the test ends."""
    with ExitStack() as stack:
        yield lambda *nodes: stack.enter_context(spinning(context, *nodes))
