"""What learns, how fast, and what autograd is spared."""

from dataclasses import replace

import pytest
import torch
from small_views import CONFIG

from vpr_ros.errors import DatasetError
from vpr_ros.models.registry import MODELS, untrained_model
from vpr_ros.training.optimisation import Average, Descent, choose_trainable, learning_rate


def trainable(name, **settings):
    network = untrained_model(name).network
    return network, choose_trainable(network, replace(CONFIG, model=name, **settings))


@pytest.mark.parametrize(
    ('name', 'settings', 'blocks', 'embeds'),
    [
        ('sage_nano', {'scratch': False}, set(), False),
        ('sage_nano', {'scratch': True}, set(range(7)), True),
        ('sage_nano', {'trainable': 'last4'}, {3, 4, 5, 6}, False),
        ('sage_nano', {'trainable': 'whole'}, set(range(7)), True),
        ('folpp_test', {'scratch': False}, {0, 1}, False),
        ('folpp_test', {'trainable': 'head'}, set(), False),
    ],
)
def test_what_learns(name, settings, blocks, embeds):
    network, names = trainable(name, **settings)
    found = {int(n.split('.')[2]) for n in names if n.startswith('backbone.blocks.')}
    assert found == blocks
    assert ('backbone.pos_embed' in names) == embeds
    assert any(n.startswith('aggregator.') for n in names)
    assert 'backbone.norm.weight' in names
    learning = {n for n, p in network.named_parameters() if p.requires_grad}
    assert learning == set(names)


def test_sage_learns_power_norms_norm_and_head_alone():
    _, names = trainable('sage_test', scratch=False)
    assert {name.split('.')[0] for name in names} == {'gpn_norms', 'backbone', 'aggregator'}
    assert [n for n in names if n.startswith('backbone')] == [
        'backbone.norm.weight', 'backbone.norm.bias',
    ]  # fmt: skip


def test_the_published_size_of_what_sage_trains():
    """The released count for ViT-B holds a branch of two layers besides that is never called."""
    network = MODELS['sage_vitb'].network()
    names = choose_trainable(network, replace(CONFIG, scratch=False))
    never_called = (768 * 512 + 512) + (512 * 192 + 192)
    assert sum(p.numel() for p in names.values()) + never_called == 1_956_550


def test_no_autograd_before_the_first_trainable_block():
    network, _ = trainable('sage_nano', scratch=False)
    seen = {}
    for index, block in enumerate(network.backbone.blocks):
        block.register_forward_hook(
            lambda module, args, out, index=index: seen.__setitem__(index, out.requires_grad)
        )
    network.train()(torch.randn(2, 3, 240, 240)).sum().backward()
    # Power norms follow blocks 3 to 6, so the first gradient is asked for behind block 3.
    assert seen == {0: False, 1: False, 2: False, 3: False, 4: True, 5: True, 6: True}
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize('schedule', ['cosine', 'linear'])
def test_learning_rate_rises_and_falls(schedule):
    config = replace(CONFIG, steps=60, schedule=schedule, final_rate=0.2)
    rates = [learning_rate(step, config) for step in range(config.steps)]
    assert max(rates) == config.learning_rate
    top = rates.index(max(rates))
    assert 0 < top < 4
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0.2 * config.learning_rate, rel=0.1)


def test_average_by_hand():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    average = Average([weight], decay=0.75)
    for value in (2.0, 4.0, 8.0):
        weight.data.fill_(value)
        average.update()
    assert average.values[0].item() == 0.75 * (0.75 * 2.0 + 0.25 * 4.0) + 0.25 * 8.0
    average.swap()
    assert weight.item() == 3.875
    average.swap()
    assert weight.item() == 8.0


def test_gradients_of_several_batches_are_averaged():
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    descent = Descent([weight], replace(CONFIG, accumulate=2))
    descent.backward((3.0 * weight).sum())
    descent.backward((5.0 * weight).sum())
    assert weight.grad.item() == 4.0
    assert descent.step(0, 1.0) == 4.0  # the norm before clipping
    assert weight.item() < 2.0
    assert weight.grad is None


def test_a_step_that_is_not_finite_changes_nothing():
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    descent = Descent([weight], CONFIG)
    descent.backward((weight * torch.inf).sum())
    with pytest.raises(DatasetError, match='the loss became 1 with a gradient of .* at step 7'):
        descent.step(7, 1.0)
    assert weight.item() == 2.0


def test_gradients_that_no_scale_makes_finite_end_a_training_in_fp16():
    """One that is too large is skipped with a lower scale, but not for ever."""
    weight = torch.nn.Parameter(torch.ones(2))
    descent = Descent([weight], CONFIG)
    descent.scaler = torch.amp.GradScaler('cpu', init_scale=2.0)

    def step(number, gradient):
        descent.backward((weight * gradient).sum())
        return descent.step(number, 0.0)

    step(0, torch.inf)
    step(1, torch.inf)
    assert weight.tolist() == [1.0, 1.0]
    with pytest.raises(DatasetError, match='a gradient of inf at step 2'):
        step(2, torch.inf)
    assert weight.tolist() == [1.0, 1.0]
