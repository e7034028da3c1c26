"""A GPU that fails in the middle of work: the CPU goes on where it may, else it is said."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vpr_ros.errors import DeviceError
from vpr_ros.image import to_batch
from vpr_ros.models import build_model, place_model
from vpr_ros.models.engines import compiled
from vpr_ros.models.engines import runtime as runtime_module
from vpr_ros.models.engines.runtime import LEAST_COSINE, Placement, Runtime
from vpr_ros.models.registry import untrained_model

CPU = torch.device('cpu')

FAILURE = 'CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...'
IMAGES = [np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)]


def lose(runtime, error, may_fall_back=True):
    """Let the next call fail as on a GPU that is lost; `meta` stands for the GPU."""

    def fail(images):
        raise error

    runtime.placement = replace(runtime.placement, device=torch.device('meta'))
    runtime._run, runtime._may_fall_back = fail, may_fall_back


@pytest.fixture(autouse=True)
def without_openvino(monkeypatch):
    """Which needs seconds to compile."""
    monkeypatch.setattr(compiled, 'can_compile', lambda: False)


@pytest.fixture
def runtime():
    model = untrained_model('sage_test')
    return Runtime(model.network, model.input, 'cpu', 'auto')


@pytest.fixture
def batch():
    return to_batch(IMAGES, untrained_model('sage_test').input)


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError(FAILURE),
        RuntimeError('cuDNN error: CUDNN_STATUS_EXECUTION_FAILED'),
        torch.AcceleratorError('CUDA error: unspecified launch failure')
        if hasattr(torch, 'AcceleratorError')
        else RuntimeError('CUDA error: unspecified launch failure'),
        torch.OutOfMemoryError('CUDA out of memory'),
    ],
)
def test_the_cpu_goes_on_and_the_descriptor_stays(runtime, batch, error):
    before = runtime(batch).descriptor
    lose(runtime, error)
    after = runtime(batch).descriptor
    assert (before * after).sum() > LEAST_COSINE
    assert runtime.placement.device.type == 'cpu' and runtime.placement.fell_back
    assert torch.equal(runtime(batch).descriptor, after)  # and stays there


def test_the_placement_says_why(runtime, batch):
    assert not runtime.placement.fell_back
    lose(runtime, RuntimeError(FAILURE))
    runtime(batch)
    told = str(runtime.placement)
    assert 'the GPU failed: CUDA error: an illegal memory access was encountered' in told
    assert 'kernel errors' not in told  # one line of torch's many
    assert np.isnan(runtime.placement.gpu_memory_mb())


def test_a_precision_asked_for_by_name_stays(batch):
    model = untrained_model('sage_test')
    runtime = Runtime(model.network, model.input, 'cpu', 'fp32')
    lose(runtime, RuntimeError(FAILURE))
    with torch.inference_mode():
        wanted = model.network.features(batch).descriptor
    torch.testing.assert_close(runtime(batch).descriptor, wanted, atol=2e-5, rtol=1e-5)
    assert runtime.placement.precision == 'fp32'


def test_the_cpu_is_checked_against_fp32_as_at_the_start(runtime, batch, monkeypatch):
    with torch.inference_mode():
        wanted = runtime._network.features(batch).descriptor
    monkeypatch.setattr(runtime_module, 'LEAST_COSINE', 2.0)  # out of reach of all but fp32
    monkeypatch.setattr(runtime_module, 'resolve_precision', lambda *_: Placement(CPU, 'bf16'))
    lose(runtime, RuntimeError(FAILURE))
    torch.testing.assert_close(runtime(batch).descriptor, wanted, atol=2e-5, rtol=1e-5)
    told = runtime.placement
    assert told.precision == 'fp32' and told.fell_back
    assert 'the GPU failed' in told.reason and 'bf16 only reaches' in told.reason


def test_a_gpu_that_cannot_even_begin(monkeypatch):
    gpu, plain = torch.device('meta'), runtime_module.prepared

    def begin(network, spec, placement):
        if placement.device == gpu:
            raise RuntimeError('CUDA error: device-side assert triggered')
        return plain(network, spec, placement)

    monkeypatch.setattr(runtime_module, 'resolve_device', lambda device: gpu)
    monkeypatch.setattr(runtime_module, 'prepared', begin)
    model = untrained_model('sage_test')
    assert Runtime(model.network, model.input, 'auto').placement.fell_back
    with pytest.raises(DeviceError, match='device-side assert'):
        Runtime(model.network, model.input, 'cuda')


def test_a_gpu_asked_for_by_name_is_an_error(runtime, batch):
    lose(runtime, RuntimeError(FAILURE), may_fall_back=False)
    for _ in range(2):  # and stays one
        with pytest.raises(
            DeviceError, match='failed: CUDA error: an illegal.*use device cpu or auto'
        ):
            runtime(batch)


def test_other_errors_are_nobodys_gpu(runtime, batch):
    lose(runtime, RuntimeError('shape mismatch: cuda:0 and cpu'))
    with pytest.raises(RuntimeError, match='shape mismatch'):
        runtime(batch)
    assert not runtime.placement.fell_back


@pytest.fixture
def model(tiny_weights):
    model = build_model('sage_test', 'cpu', tiny_weights)
    model.place('cpu')
    return model


def test_images_that_were_on_the_lost_gpu_are_prepared_again(model, monkeypatch):
    """Nothing can be copied back from it, so that the tensor is made anew from the image."""
    before = model.describe(IMAGES).descriptor

    def to_lost_gpu(images, spec, device):
        if device.type != 'cpu':
            raise RuntimeError(FAILURE)
        return to_batch(images, spec, device)

    monkeypatch.setattr(place_model, 'to_batch', to_lost_gpu)
    lose(model._runtime, RuntimeError(FAILURE))
    after = model.describe(IMAGES).descriptor
    assert (before * after).sum() > LEAST_COSINE
    assert model.placement.fell_back


def test_a_failure_after_preparing_is_survived_too(model, monkeypatch):
    """The failure came with the network, after which the batch is out of reach."""
    before = model.describe(IMAGES).descriptor

    class OnLostGpu(torch.Tensor):
        def cpu(self):
            raise RuntimeError(FAILURE)

    def once_lost(images, spec, device):
        tensor = to_batch(images, spec, 'cpu')
        return tensor if device.type == 'cpu' else tensor.as_subclass(OnLostGpu)

    monkeypatch.setattr(place_model, 'to_batch', once_lost)
    monkeypatch.setattr(place_model, 'check_tensor', lambda images, spec: None)
    lose(model._runtime, RuntimeError(FAILURE))
    assert (before * model.describe(IMAGES).descriptor).sum() > LEAST_COSINE


def test_the_error_of_a_model_that_may_not_leave_its_gpu(model):
    lose(model._runtime, RuntimeError(FAILURE), may_fall_back=False)
    with pytest.raises(DeviceError):
        model.surviving(lambda: model._runtime(to_batch(IMAGES, model.input)))
    with pytest.raises(ZeroDivisionError):
        model.surviving(lambda: 1 / 0)
