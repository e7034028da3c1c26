"""The steps that are timed are those that describe, and the comparisons are what they say."""

import numpy as np
import pytest
import torch

from vpr_ros.errors import ConfigError
from vpr_ros.models.engines.stages import (
    RANDOM,
    check_model,
    least_cosine,
    model_to_time,
    plain,
    product,
    product_flop,
    stages,
)

CPU = torch.device('cpu')


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 90, 120, 3), dtype=np.uint8)


@pytest.mark.parametrize('name', ['sage_test', 'fol_test'])
def test_the_steps_make_up_the_whole(name, pictures):
    model, reference = model_to_time(name), model_to_time(name).network
    model.place('cpu', 'fp32')
    model.release()
    ours = stages(model, reference)
    x = ours.prepare(pictures)
    assert x.shape == (2, 3, 70, 70)
    whole = ours.describe(pictures)
    np.testing.assert_array_equal(ours.network(x).numpy(), whole)
    np.testing.assert_allclose(plain(reference, CPU)(x).numpy(), whole, atol=1e-5)
    with torch.inference_mode():
        tokens = reference.backbone(x).cls
    torch.testing.assert_close(ours.backbone(x), tokens, atol=1e-4, rtol=1e-4)


def test_a_network_of_others_answers_descriptors_first():
    answer = torch.ones(2, 3)
    assert plain(torch.nn.Identity(), CPU)((answer, None)) is answer


def test_a_model_without_weights_is_marked_and_can_have_another_size(pictures):
    model = model_to_time('sage_test', (42, 56))
    assert (model.fingerprint, model.input.size) == (RANDOM, (42, 56))
    model.place('cpu', 'fp32')
    assert model.describe(pictures).descriptor.shape == (2, model.descriptor_dim)
    bundled = model_to_time('sage_nano')
    assert len(bundled.fingerprint) == 64


@pytest.mark.parametrize(
    ('name', 'size', 'words'),
    [('sage_big', None, 'no model'), ('sage_test', (70, 75), 'multiples of 14')],
)
def test_what_cannot_be_timed_is_refused_at_once(name, size, words):
    with pytest.raises(ConfigError, match=words):
        check_model(name, size)


def test_the_product_is_counted(monkeypatch):
    monkeypatch.setattr('vpr_ros.models.engines.stages.PRODUCT', {'cpu': 16})
    assert product(CPU, 'fp32')().shape == (16, 16)
    assert product_flop(CPU) == 2 * 16**3


def test_the_least_cosine_is_that_of_the_worst_row():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert least_cosine(x, x) == pytest.approx(1)
    assert least_cosine(x, torch.tensor([[3.0, 0.0], [1.0, 1.0]])) == pytest.approx(0.5**0.5)
