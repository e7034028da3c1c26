"""The prepared network answers as the plain one does, in every precision that is offered."""

import subprocess
import sys
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from shared_data import shared_data
from torch import nn

from vpr_ros.errors import ConfigError, DeviceError
from vpr_ros.evaluation import datasets
from vpr_ros.image import to_batch
from vpr_ros.imagefile import read_image
from vpr_ros.models import PlaceModel, build_model
from vpr_ros.models.engines import compiled, packed, processor, runtime
from vpr_ros.models.engines.runtime import Placement, Runtime, resolve_precision
from vpr_ros.models.networks.sage_cross import CrossConfig, SageCross
from vpr_ros.models.registry import MODELS, TEST_HEAD, TEST_VIT, untrained_model

CPU = torch.device('cpu')
HAS_BF16 = resolve_precision('auto', CPU).precision == 'bf16'
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason='NEEDS BF16: this processor has none')
TINY = ['sage_test', 'fol_test', 'folpp_test']


def photos(count, size=(90, 120)):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def tensors(features):
    local = () if features.local is None else tuple(vars(features.local).values())
    return (features.descriptor, *local)


@pytest.mark.parametrize('name', TINY)
def test_fp32_is_the_plain_network(name):
    model = untrained_model(name)
    randomise(model.network)
    images = to_batch(photos(3), model.input)
    with torch.inference_mode():
        wanted = model.network.features(images)
    found = Runtime(model.network, model.input, 'cpu', 'fp32')(images)
    for ours, theirs in zip(tensors(found), tensors(wanted), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def randomise(network):
    """Norms, scales and biases that are not those of a fresh network."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)


def test_the_given_network_is_left_as_it_is():
    model = untrained_model('sage_test')
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    Runtime(model.network, model.input, 'cpu')
    after = model.network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


@needs_bf16
@pytest.mark.parametrize('name', TINY)
def test_bf16_gives_float32_descriptors_of_unit_length(name):
    model = untrained_model(name)
    placed = Runtime(model.network, model.input, 'cpu', 'auto')
    features = placed(to_batch(photos(2), model.input))
    assert placed.placement.precision == 'bf16'
    assert features.descriptor.dtype == torch.float32
    torch.testing.assert_close(features.descriptor.norm(dim=1), torch.ones(2))
    if features.local is not None:
        assert features.local.tokens.dtype == torch.float32


@needs_bf16
def test_real_images_in_bf16_stay_near_fp32():
    root = shared_data()
    files = sorted(root.glob('euroc_v101_keyframes/cam0/*.jpg'))[::10]
    files += sorted(root.glob('corridor_vprbench/*/*.jpg'))[::20]
    files += sorted(root.glob('pairs_landmarks/**/*.jpg'))[::4]
    images = [read_image(file) for file in files]
    assert len(images) > 20
    low, full = (describe(images, precision) for precision in ('bf16', 'fp32'))
    assert (low * full).sum(axis=1).min() > 0.999


def describe(images, precision):
    model = placed_model(precision)
    return np.concatenate([model.describe([image]).descriptor.numpy() for image in images])


@lru_cache
def placed_model(precision):
    model = build_model('sage_nano', 'cpu', precision=precision)
    assert model.placement.precision == precision
    return model


@needs_bf16
def test_recall_does_not_move_in_bf16():
    """Over 214 queries of two sets: of 111 alone, two that fall to the other side are 0.018."""
    sets = [
        datasets.corridor(shared_data('corridor_vprbench')),
        datasets.tower_seconds(shared_data('ie_tower')),
    ]
    low, full = np.concatenate([right(data) for data in sets], axis=1)
    assert len(low) == 214 and low[:111].mean() > 0.7
    assert abs(low.mean() - full.mean()) <= 0.01


def right(data):
    """(2, Q) bool: whether the nearest reference is a right answer, in bf16 and in fp32."""
    found = []
    images = [[side[row] for row in range(len(side))] for side in (data.queries, data.references)]
    for precision in ('bf16', 'fp32'):
        queries, references = (describe(side, precision) for side in images)
        best = (queries @ references.T).argmax(axis=1)
        found.append(data.truth.positive[np.arange(len(best)), best])
    return np.stack(found)


def test_auto_keeps_fp32_where_lower_precision_is_not_exact_enough(monkeypatch):
    monkeypatch.setattr(runtime, 'resolve_precision', placement)
    monkeypatch.setattr(runtime, 'LEAST_COSINE', 1.1)
    model = untrained_model('sage_test')
    placed = Runtime(model.network, model.input, 'cpu', 'auto')
    assert placed.placement.precision == 'fp32'
    assert 'bf16 only reaches cosine' in str(placed.placement)
    with pytest.raises(ConfigError, match=r'cosine 1.0000 with fp32.*use precision auto or fp32'):
        Runtime(model.network, model.input, 'cpu', 'bf16')


def placement(wish, device):
    return Placement(device, 'bf16' if wish == 'auto' else wish)


def test_a_precision_that_the_processor_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(processor, 'features', frozenset)
    assert resolve_precision('auto', CPU).precision == 'fp32'
    for wish in ('bf16', 'fp16'):
        with pytest.raises(ConfigError, match=f'precision {wish} was asked for, but this proc'):
            resolve_precision(wish, CPU)
    with pytest.raises(ConfigError, match="precision 'int3': expected one of auto, fp32"):
        resolve_precision('int3', CPU)


def test_processor_features_are_read_on_x86_and_arm():
    assert 'avx512_bf16' in processor.parse(['processor : 0', 'flags\t\t: fpu avx512_bf16 amx'])
    assert 'bf16' in processor.parse(['Features\t: fp asimd bf16 i8mm'])
    assert processor.parse(['model name : none']) == frozenset()


def test_a_gpu_without_memory_falls_back_to_the_cpu_when_allowed():
    model = untrained_model('sage_test')
    images = to_batch(photos(1), model.input)
    with torch.inference_mode():
        wanted = model.network.features(images).descriptor
    placed = Runtime(model.network, model.input, 'cpu', 'fp32')
    exhaust(placed)
    placed._may_fall_back = True
    found = placed(images).descriptor
    assert placed.placement.device == CPU
    assert 'the GPU ran out of memory' in str(placed.placement)
    assert (found * wanted).sum() > 0.999


def test_a_gpu_without_memory_is_an_error_when_it_was_asked_for():
    model = untrained_model('sage_test')
    placed = Runtime(model.network, model.input, 'cpu', 'fp32')
    exhaust(placed)
    with pytest.raises(DeviceError, match='not enough free memory for this model'):
        placed(to_batch(photos(1), model.input))


def exhaust(placed):
    """Let the next call fail as on a GPU that is full; `meta` stands for the GPU."""

    def full(images):
        raise torch.OutOfMemoryError('CUDA out of memory')

    placed.placement = replace(placed.placement, device=torch.device('meta'))
    placed._run = full


def test_loading_other_weights_replaces_the_prepared_network(tmp_path):
    from vpr_ros.models import load_checkpoint, save_checkpoint

    first, second = (untrained_model('sage_test', seed) for seed in (1, 2))
    for model, name in ((first, 'first'), (second, 'second')):
        save_checkpoint(model, tmp_path / name)
    model = build_model('sage_test', 'cpu', tmp_path / 'first')
    before = model.describe(photos(1)).descriptor
    load_checkpoint(model, tmp_path / 'second')
    after = model.describe(photos(1)).descriptor
    other = build_model('sage_test', 'cpu', tmp_path / 'second').describe(photos(1)).descriptor
    assert torch.equal(after, other)
    assert not torch.allclose(after, before, atol=1e-3)


def test_packed_layers_equal_the_plain_ones():
    torch.manual_seed(0)
    linear, x = nn.Linear(48, 40), torch.randn(3, 7, 48)
    with torch.inference_mode():
        plain = linear(x)
        for activation, function in (
            ('none', nn.Identity()), ('relu', nn.ReLU()), ('gelu', nn.GELU()),
        ):  # fmt: skip
            found = packed.PackedLinear(linear, torch.float32, activation)(x)
            torch.testing.assert_close(found, function(plain), atol=1e-5, rtol=1e-5)


def test_patch_projection_equals_the_convolution():
    network = untrained_model('sage_test').network
    embed, images = network.backbone.patch_embed, torch.randn(2, 3, 28, 42)
    with torch.inference_mode():
        torch.testing.assert_close(
            packed.PatchProjection(embed, torch.float32)(images), embed(images),
            atol=1e-5, rtol=1e-5,
        )  # fmt: skip


def test_attention_by_products_equals_the_fused_one():
    query, key, value = torch.randn(3, 2, 4, 37, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        packed.attend_by_products(query, key, value),
        nn.functional.scaled_dot_product_attention(query, key, value), atol=1e-5, rtol=1e-5,
    )  # fmt: skip


def test_released_weights_are_not_needed_to_describe(tiny_weights):
    model = build_model('sage_test', 'cpu', tiny_weights)
    before = model.describe(photos(1)).descriptor
    model.release()
    assert model.network.device.type == 'meta'
    assert torch.equal(model.describe(photos(1)).descriptor, before)
    assert model.device == CPU


def test_an_input_that_patches_do_not_fill_is_refused(tiny_weights):
    model = untrained_model('sage_test')
    with pytest.raises(ConfigError, match='70x75.*multiples of 14'):
        PlaceModel('sage_test', model.network, replace(model.input, size=(70, 75)))


@pytest.mark.parametrize('name', TINY)
def test_weights_cast_for_a_gpu_work_together(name):
    """What runs on a GPU, on the CPU: half of the layers in bf16, the delicate ones in fp32."""
    model = untrained_model(name)
    images = to_batch(photos(2), model.input)
    with torch.inference_mode():
        wanted = model.network.features(images).descriptor
        packed.fold_layer_scale(model.network)
        packed.cast_weights(model.network, torch.bfloat16)
        found = model.network.features(images.bfloat16())
    assert model.network.backbone.blocks[0].mlp.fc1.weight.dtype == torch.bfloat16
    delicate = [m for m in model.network.modules() if getattr(m, 'float32', False)]
    assert all(p.dtype == torch.float32 for m in delicate for p in m.parameters())
    assert {x.dtype for x in tensors(found) if x.is_floating_point()} == {torch.float32}
    assert (found.descriptor * wanted).sum(dim=1).min() > 0.999


def test_a_network_that_looks_across_its_batch_still_does_when_prepared():
    torch.manual_seed(0)
    network = SageCross(TEST_VIT, TEST_HEAD, CrossConfig(segment=8, heads=2, hidden=16)).eval()
    spec = MODELS['sage_test'].input
    images = to_batch(photos(3), spec)
    with torch.inference_mode():
        wanted = network.features(images).descriptor
    placed = Runtime(network, spec, 'cpu', 'fp32')
    torch.testing.assert_close(placed(images).descriptor, wanted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(placed(images[:1]).descriptor, wanted[:1], atol=1e-3)


def test_openvino_reports_nothing_to_its_makers():
    code = (
        'import sys; from vpr_ros.models import build_model;'
        'model = build_model("sage_nano", "cpu");'
        'print(model.placement.engine, sys.modules.get("openvino_telemetry"))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['openvino', 'None']


@pytest.mark.parametrize('error', [ImportError, OSError])
def test_without_openvino_torch_is_the_engine(monkeypatch, error):
    def missing():
        raise error('no openvino here')

    monkeypatch.setattr(compiled, 'openvino', missing)
    model = untrained_model('sage_test')
    assert Runtime(model.network, model.input, 'cpu').placement.engine == 'torch'


def test_what_openvino_refuses_runs_in_torch(monkeypatch):
    def refuse(network, spec):
        raise RuntimeError('operator from the future\nand a long story')

    monkeypatch.setattr(compiled, '_converted', refuse)
    model = untrained_model('sage_test')
    placed = Runtime(model.network, model.input, 'cpu', 'fp32')
    assert placed.placement.engine == 'torch'
    assert 'failed: operator from the future)' in str(placed.placement)
    assert len(placed(to_batch(photos(2), model.input))) == 2


@pytest.mark.parametrize('name', TINY)
def test_packed_torch_equals_the_plain_network(name, monkeypatch):
    monkeypatch.setattr(compiled, 'can_compile', lambda: False)
    test_fp32_is_the_plain_network(name)


@pytest.mark.parametrize('size', [(14, 14), (16, 480), (322, 322)])
def test_probe_images_have_content_at_any_size(size):
    probe = runtime.probe_image(size)
    assert probe.shape == (*size, 3)
    assert probe.std() > 20
