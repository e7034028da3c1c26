"""What tests of several rooms share: a tiny model with weights and a small recorded drive."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_drive import write_drive

from vpr_ros.threads import share_the_processor

share_the_processor()  # before any test loads torch


@pytest.fixture(scope='session', autouse=True)
def no_fetched_weights(tmp_path_factory):
    """A developer's own cache of weights changes no test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='session')
def tiny_weights(tmp_path_factory) -> Path:
    """Checkpoint of `sage_test` with random weights: tells identical images from others."""
    from vpr_ros.models import save_checkpoint
    from vpr_ros.models.registry import untrained_model

    model = untrained_model('sage_test')
    model.similarity_threshold = 0.9995
    path = tmp_path_factory.mktemp('weights') / 'sage_test.safetensors'
    save_checkpoint(model, path)
    return path


@pytest.fixture
def tiny_model(tiny_weights):
    from vpr_ros.models import build_model

    return build_model('sage_test', 'cpu', tiny_weights)


@pytest.fixture(scope='session')
def small_bag(tmp_path_factory) -> Path:
    """45 images round a circle of 30 places: the last 15 are revisits of the first."""
    return write_drive(tmp_path_factory.mktemp('bags') / 'small')
