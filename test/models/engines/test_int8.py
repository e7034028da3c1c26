"""8-bit layers: rounded to measured ranges, in fast kernels, and refused where they fail."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from shared_data import shared_data
from torch import nn

from vpr_ros.errors import CheckpointError, ConfigError
from vpr_ros.image import to_batch
from vpr_ros.imagefile import read_image
from vpr_ros.models import build_model
from vpr_ros.models.engines import calibration, compiled, processor, runtime
from vpr_ros.models.engines.calibration import calibrate
from vpr_ros.models.engines.int8 import Int8Linear, measured_ranges, quantise, ranges_file
from vpr_ros.models.engines.runtime import Runtime, probe_image, resolve_precision
from vpr_ros.models.registry import load_model, untrained_model

CPU = torch.device('cpu')
HAS_INT8 = compiled.can_compile() and processor.first_of(processor.INT8)
needs_int8 = pytest.mark.skipif(
    not HAS_INT8, reason='NEEDS INT8: OpenVINO and a processor with products of 8 bits'
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path


def photos(count, size=(90, 120), seed=0):
    """Blocks of colour, which differ more than noise does."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return list(small.repeat(size[0] // 6, axis=1).repeat(size[1] // 8, axis=2))


def relative(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


def test_smoothing_is_exact_but_for_the_rounding_and_helps_where_one_channel_is_large():
    torch.manual_seed(0)
    x, linear = torch.randn(400, 32), nn.Linear(32, 24).requires_grad_(False)
    x[:, 5] *= 200
    seen = torch.stack((x.amin(dim=0), x.amax(dim=0)))
    plain, smooth = Int8Linear(linear, seen), Int8Linear(linear, seen, 0.8)
    torch.testing.assert_close(smooth.weight * smooth.gain, linear.weight)

    def error(layer):  # of what the other channels say
        x_without = x.clone()
        x_without[:, 5] = 0
        return relative(layer(x_without), linear(x_without))

    assert 0 < error(smooth) < 0.5 * error(plain)


def test_input_takes_256_values_and_what_is_beyond_its_range_is_cut():
    linear = nn.Linear(1, 1, bias=False).requires_grad_(False)
    linear.weight.fill_(1.0)
    layer = Int8Linear(linear, torch.tensor([[-1.0], [3.0]]))
    found = layer(torch.linspace(-2, 5, 5000)[:, None])
    assert len(found.unique()) == 256
    torch.testing.assert_close(
        tuple(found.aminmax()), (torch.tensor(-1.5), torch.tensor(4.5)), atol=0.03, rtol=0
    )


def test_ranges_are_the_least_and_greatest_inputs_over_all_batches():
    network = untrained_model('sage_test').network
    x = torch.randn(3, 3, 70, 70)
    found = measured_ranges(network, [x[:1], x[1:]])
    assert len(found) == 4 * len(network.backbone.blocks)
    with torch.inference_mode():
        rows = network.backbone.blocks[0].norm1(network.backbone.embed(x)[0]).flatten(0, 1)
    wanted = torch.stack((rows.amin(dim=0), rows.amax(dim=0)))
    torch.testing.assert_close(found['0.attn.qkv'], wanted, atol=1e-5, rtol=1e-5)
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize('name', ['folpp_vitti', ''])
def test_ranges_of_another_network_are_refused(name):
    network = untrained_model('sage_test').network
    other = untrained_model(name).network if name else None
    ranges = measured_ranges(other, [torch.zeros(1, 3, 224, 224)]) if other else {}
    with pytest.raises(CheckpointError, match='vpr weights quantize'):
        quantise(network, ranges)


@needs_int8
def test_a_calibrated_model_runs_in_8_bits_near_fp32_and_image_by_image(tiny_weights):
    plain = load_model('sage_test', tiny_weights)
    made = calibrate(plain, photos(16))
    assert made.least_cosine >= 0.995 and made.held_out == 4
    model = build_model('sage_test', 'cpu', tiny_weights, 'int8')
    assert (model.placement.precision, model.placement.engine) == ('int8', 'openvino')
    images = model.prepare(photos(3, seed=1))
    found = model.describe_tensor(images).descriptor
    with torch.inference_mode():
        wanted = plain.network(images)
    assert 0.995 <= float((found * wanted).sum(dim=1).min()) < 0.9999999
    assert torch.equal(found[1:2], model.describe_tensor(images[1:2]).descriptor)
    assert kernels(model).count('u8') + kernels(model).count('i8') >= 8


def kernels(model):
    """Precisions of the products that OpenVINO really runs."""
    graph = model._runtime._run._compiled.get_runtime_model()
    facts = [operation.get_rt_info() for operation in graph.get_ops()]
    return [
        fact['runtimePrecision'].astype(str)
        for fact in facts
        if fact['layerType'].astype(str).startswith('FullyConnected')
    ]


@needs_int8
def test_the_file_says_whose_ranges_it_holds(tiny_weights):
    model = load_model('sage_test', tiny_weights)
    made = calibrate(model, photos(16))
    assert made.path == ranges_file('sage_test', model.fingerprint)
    with safe_open(made.path, 'pt') as file:
        said = json.loads(file.metadata()['vpr_ros_int8'])
    assert said['fingerprint'] == model.fingerprint and said['least_cosine'] == made.least_cosine


@needs_int8
def test_without_ranges_int8_says_how_to_get_them(tiny_weights):
    with pytest.raises(CheckpointError, match='run `vpr weights quantize sage_test` once'):
        build_model('sage_test', 'cpu', tiny_weights, 'int8')


@needs_int8
def test_a_damaged_file_of_ranges_is_refused(tiny_weights):
    path = calibrate(load_model('sage_test', tiny_weights), photos(16)).path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match='not a safetensors file'):
        build_model('sage_test', 'cpu', tiny_weights, 'int8')
    save_file({'0.attn.qkv': torch.full((2, 64), torch.nan)}, path)
    with pytest.raises(CheckpointError, match='is damaged: run `vpr weights quantize sage_test`'):
        build_model('sage_test', 'cpu', tiny_weights, 'int8')


@needs_int8
def test_too_far_from_fp32_is_refused_and_nothing_written(tiny_weights, monkeypatch, cache):
    model = load_model('sage_test', tiny_weights)
    monkeypatch.setattr(calibration, 'LEAST_COSINE_INT8', 1.1)
    with pytest.raises(CheckpointError, match=r'at least 1\.1 is wanted: give pictures'):
        calibrate(model, photos(16))
    assert not [*cache.rglob('*.safetensors')]
    monkeypatch.setattr(runtime, 'LEAST_COSINE_INT8', 1.1)
    network = model.network
    network.ranges = measured_ranges(network, [to_batch(photos(1), model.input)])
    with pytest.raises(ConfigError, match=r'int8 turns .* at least 1\.1 is wanted'):
        Runtime(network, model.input, 'cpu', 'int8')


def test_too_few_pictures_are_refused(tiny_weights):
    with pytest.raises(ConfigError, match='at least 16 pictures, found 15'):
        calibrate(load_model('sage_test', tiny_weights), photos(15))


@needs_int8
def test_a_network_that_looks_across_the_batch_has_no_int8():
    model = untrained_model('sage_test')
    model.network.single_image = False
    with pytest.raises(ConfigError, match='by itself'):
        Runtime(model.network, model.input, 'cpu', 'int8')


def test_who_cannot_compute_in_8_bits_says_why(monkeypatch):
    with pytest.raises(ConfigError, match='CPUs alone'):
        resolve_precision('int8', torch.device('cuda'))
    monkeypatch.setattr(compiled, 'can_compile', lambda: False)
    with pytest.raises(ConfigError, match='needs OpenVINO'):
        resolve_precision('int8', CPU)
    monkeypatch.setattr(compiled, 'can_compile', lambda: True)
    monkeypatch.setattr(processor, 'features', lambda: frozenset({'avx2'}))
    with pytest.raises(ConfigError, match=r'no fast products of 8 bits \(amx_int8, avx512_vnni'):
        resolve_precision('int8', CPU)


def test_auto_never_takes_int8(monkeypatch):
    monkeypatch.setattr(processor, 'features', lambda: frozenset({'avx512_vnni'}))
    assert resolve_precision('auto', CPU).precision == 'fp32'


def test_floats_beside_8_bits_are_what_the_processor_has(monkeypatch):
    monkeypatch.setattr(processor, 'features', lambda: frozenset({'avx_vnni'}))
    assert processor.float_precision('int8') == 'fp32'
    monkeypatch.setattr(processor, 'features', lambda: frozenset({'avx512_bf16'}))
    assert processor.float_precision('int8') == 'bf16'


@needs_int8
def test_real_images_in_int8_stay_near_fp32_where_others_were_measured():
    root = shared_data()
    seen = sorted(root.glob('euroc_v101_keyframes/cam0/*.jpg'))[::5]
    model = load_model('sage_nano')
    seen_images = [read_image(file) for file in seen[:16]] + [probe_image(model.input.size)]
    model.network.ranges = measured_ranges(model.network, [to_batch(seen_images, model.input)])
    files = sorted(root.glob('corridor_vprbench/*/*.jpg'))[::20]
    images = to_batch([read_image(file) for file in files], model.input)
    found = Runtime(model.network, model.input, 'cpu', 'int8')(images).descriptor
    with torch.inference_mode():
        wanted = model.network(images)
    assert len(files) >= 8 and float((found * wanted).sum(dim=1).min()) >= 0.995
