"""The threshold refuses what the training set knows to be wrong."""

import numpy as np
import pytest
from small_drive import texture

from vpr_ros.training.data import join, place_set
from vpr_ros.training.threshold import measure_similarities, similarity_threshold


@pytest.fixture
def data():
    """Ten places twice the same picture, one of them also under another name: an alias."""
    images = [texture(place) for place in range(10) for _ in range(2)] + [texture(0)]
    return place_set(images, np.array([*np.repeat(np.arange(10), 2), 10]), 'textures')


def test_similarities_of_twins_and_aliases(tiny_model, data):
    [source] = measure_similarities(tiny_model, data)
    assert np.allclose(source.genuine[:20], 1.0, atol=1e-5)
    assert source.genuine[20] == -1.0  # nothing else shows that place
    assert np.allclose(source.impostor[[0, 1, 20]], 1.0, atol=1e-5)  # deceived by the alias
    assert (source.impostor[2:20] < 0.9999).all()


def test_the_threshold_lies_above_the_share_asked_for(tiny_model, data):
    [source] = measure_similarities(tiny_model, data)
    found = similarity_threshold(tiny_model, data, quantile=0.8)
    assert np.mean(source.impostor <= found.value) >= 0.8
    assert found.value < 0.9999
    assert found.accepted_genuine['textures'] == pytest.approx(20 / 21)
    above = np.mean(source.impostor >= found.value)
    assert found.accepted_impostors['textures'] == pytest.approx(above)
    assert similarity_threshold(tiny_model, data, quantile=0.99).value > 0.9999


def test_sources_are_told_apart(tiny_model, data):
    other = place_set([texture(k) for k in (20, 20, 21, 21)], np.array([0, 0, 1, 1]), 'others')
    found = similarity_threshold(tiny_model, join([data, other]))
    assert set(found.accepted_genuine) == {'textures', 'others'}
