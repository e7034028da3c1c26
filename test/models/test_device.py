"""Where a model runs: a CPU always, a GPU with the same answers, never another than asked for."""

import pytest
import torch

from vpr_ros.errors import ConfigError
from vpr_ros.models import build_model
from vpr_ros.models.runtime import resolve_device

GPU = torch.cuda.is_available()


def test_auto_takes_what_there_is():
    assert resolve_device('auto').type == ('cuda' if GPU else 'cpu')
    assert resolve_device('cpu').type == 'cpu'


@pytest.mark.skipif(GPU, reason='this machine has a GPU')
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match='finds no GPU'):
        resolve_device('cuda')


@pytest.mark.skipif(not GPU, reason='NEEDS A GPU: torch finds none on this machine')
def test_gpu_and_cpu_agree():
    images = torch.randn(3, 3, 240, 240, generator=torch.Generator().manual_seed(0))
    on_cpu, on_gpu = (
        build_model('sage_nano', device).describe_tensor(images) for device in ('cpu', 'cuda')
    )
    assert on_gpu.descriptor.device.type == 'cuda'
    cosine = (on_cpu.descriptor * on_gpu.descriptor.cpu()).sum(dim=1)
    assert cosine.min() > 0.9999
