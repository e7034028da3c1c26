"""Where a model runs: a CPU always, a GPU with the same answers, never another than asked for."""

import pytest
import torch

from vpr_ros.errors import ConfigError
from vpr_ros.models import build_model
from vpr_ros.models.engines.runtime import Runtime, resolve_device
from vpr_ros.models.registry import untrained_model

GPU = torch.cuda.is_available()


def test_auto_takes_what_there_is():
    assert resolve_device('auto').type == ('cuda' if GPU else 'cpu')
    assert resolve_device('cpu').type == 'cpu'


@pytest.mark.skipif(GPU, reason='this machine has a GPU')
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match='finds no GPU'):
        resolve_device('cuda')


needs_gpu = pytest.mark.skipif(not GPU, reason='NEEDS A GPU: torch finds none on this machine')


def noise(batch, side=240):
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(batch))


@needs_gpu
@pytest.mark.parametrize(('precision', 'least'), [('fp32', 0.9999), ('bf16', 0.999)])
def test_gpu_and_cpu_agree(precision, least):
    images = noise(3)
    on_cpu = build_model('sage_nano', 'cpu', precision='fp32').describe_tensor(images)
    on_gpu = build_model('sage_nano', 'cuda', precision=precision).describe_tensor(images)
    assert on_gpu.descriptor.device.type == 'cuda'
    cosine = (on_cpu.descriptor * on_gpu.descriptor.cpu()).sum(dim=1)
    assert cosine.min() > least


@needs_gpu
def test_a_replayed_graph_gives_each_image_its_own_answer():
    model = build_model('sage_nano', 'cuda', precision='fp32')
    batches = [noise(b) for b in (1, 2, 1, 3, 4, 5, 9, 1)]
    once = [model.describe_tensor(x).descriptor for x in batches]
    again = [model.describe_tensor(x).descriptor for x in batches]
    plain = [model.network(x).detach() for x in batches]
    for first, second, wanted in zip(once, again, plain, strict=True):
        assert torch.equal(first, second)
        assert (first.cpu() * wanted).sum(dim=1).min() > 0.9999


@needs_gpu
@pytest.mark.parametrize('name', ['fol_test', 'folpp_test'])
def test_local_features_are_recorded_whole(name):
    model = untrained_model(name)
    runtime = Runtime(model.network, model.input, 'cuda', 'fp32')
    images = noise(2, 70)
    runtime(images)
    found = runtime(images).local
    with torch.inference_mode():
        wanted = model.network.features(images).local
    torch.testing.assert_close(found.tokens.cpu(), wanted.tokens, atol=1e-3, rtol=1e-3)
    assert torch.equal(found.valid.cpu(), wanted.valid)
