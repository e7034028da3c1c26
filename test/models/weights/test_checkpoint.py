"""A checkpoint round-trips, and everything else is refused in one sentence."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from vpr_ros.errors import CheckpointError, ConfigError
from vpr_ros.models import (
    MODELS,
    build_model,
    load_backbone,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from vpr_ros.models.place_model import fingerprint
from vpr_ros.models.registry import bundled_weights, untrained_model
from vpr_ros.models.weights.checkpoint import HEADER_KEY
from vpr_ros.records import ImageInput


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_model('sage_test', device='cpu')
    model.similarity_threshold = 0.5
    return model


@pytest.fixture
def file(model, tmp_path):
    path = tmp_path / 'weights.safetensors'
    save_checkpoint(model, path, {'data': 'none'})
    return path


def header_of(path):
    from safetensors import safe_open

    with safe_open(str(path), 'pt') as opened:
        return json.loads(opened.metadata()[HEADER_KEY])


def rewrite(path, header=None, change=lambda weights: weights):
    weights = change(load_file(path))
    save_file(weights, path, {HEADER_KEY: json.dumps(header or header_of(path))})


def test_round_trip(model, file):
    other = build_model('sage_test', device='cpu', precision='fp32')
    header = load_checkpoint(other, file)
    images = torch.randn(2, 3, 70, 70)
    with torch.inference_mode():
        expected = model.network(images)
    torch.testing.assert_close(other.describe_tensor(images).descriptor, expected)
    assert header.provenance == {'data': 'none'}
    assert other.fingerprint == header.fingerprint == read_header(file).fingerprint
    assert other.similarity_threshold == 0.5
    assert other.input == MODELS['sage_test'].input


def test_half_precision_storage_halves_the_file(model, file, tmp_path):
    small = tmp_path / 'small.safetensors'
    save_checkpoint(model, small, half=True)
    assert small.stat().st_size < 0.7 * file.stat().st_size
    other = build_model('sage_test', device='cpu', weights=small)
    assert next(other.network.parameters()).dtype == torch.float32


def test_same_weights_same_bytes(model, tmp_path):
    one, two = tmp_path / 'one', tmp_path / 'two'
    save_checkpoint(model, one)
    save_checkpoint(model, two)
    assert one.read_bytes() == two.read_bytes()


def test_fingerprint_changes_with_any_weight_and_with_the_preprocessing(model, tmp_path):
    from dataclasses import replace

    path = tmp_path / 'weights.safetensors'
    first = save_checkpoint(model, path).fingerprint
    model.input = replace(model.input, antialias=False)
    second = save_checkpoint(model, path).fingerprint
    with torch.no_grad():
        model.network.aggregator.score[0].bias[0] += 1e-3
    third = save_checkpoint(model, path).fingerprint
    assert len({first, second, third}) == 3


def test_a_model_without_weights_refuses_to_describe(model):
    with pytest.raises(CheckpointError, match='no weights'):
        model.describe_tensor(torch.zeros(1, 3, 70, 70))


@pytest.mark.parametrize('placed', [True, False])
def test_a_model_in_training_mode_refuses_to_describe(file, placed):
    """Dropout would make another descriptor of the same image each time."""
    model = untrained_model('sage_test')
    load_checkpoint(model, file)
    if placed:
        model.place('cpu', 'fp32')
        model.fingerprint = model.fingerprint  # as after new weights: to be started anew
    model.network.train()
    with pytest.raises(ConfigError, match='in training mode'):
        model.describe_tensor(torch.zeros(1, 3, 70, 70))
    model.network.eval()
    assert len(model.describe_tensor(torch.zeros(1, 3, 70, 70))) == 1


def test_missing_file(model, tmp_path):
    with pytest.raises(CheckpointError, match='no weights at'):
        load_checkpoint(model, tmp_path / 'nothing')


def test_another_model(file):
    with pytest.raises(CheckpointError, match='weights of sage_test, expected sage_vits'):
        build_model('sage_vits', device='cpu', weights=file)


def test_unknown_model():
    with pytest.raises(ConfigError, match='sage_nano'):
        build_model('sage_colossal')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda w: {k: v for k, v in w.items() if k != 'backbone.cls_token'}, 'damaged'),
        (lambda w: {**w, 'extra': torch.zeros(1)}, 'damaged'),
        (lambda w: {**w, 'backbone.cls_token': w['backbone.cls_token'] + 1}, 'damaged'),
    ],
)
def test_changed_weights_do_not_match_the_fingerprint(model, file, change, words):
    rewrite(file, change=change)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(model, file)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda w: w.pop('backbone.cls_token'), 'lacks the tensor backbone.cls_token'),
        (lambda w: w.update(extra=torch.zeros(1)), 'a tensor extra'),
        (lambda w: w.update({'backbone.cls_token': torch.zeros(1, 1, 33)}), r'\(1, 1, 33\)'),
        (lambda w: w['backbone.cls_token'].fill_(torch.nan), 'not finite'),
    ],
)
def test_loading_is_strict_and_names_the_tensor(model, change, words):
    from vpr_ros.models.weights.checkpoint import load_strictly

    weights = {key: value.clone() for key, value in model.network.state_dict().items()}
    change(weights)
    with pytest.raises(CheckpointError, match=words):
        load_strictly(model.network, weights, 'file')


@pytest.mark.parametrize('cut', [0, 4, 100, -1])
def test_a_cut_file(model, file, cut):
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match='not a safetensors file'):
        load_checkpoint(model, file)


def test_a_flipped_bit(model, file):
    data = bytearray(file.read_bytes())
    data[-3] ^= 0x10
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match='damaged'):
        load_checkpoint(model, file)


def test_foreign_safetensors(model, tmp_path):
    path = tmp_path / 'foreign.safetensors'
    save_file({'x': torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match='no vpr_ros header'):
        load_checkpoint(model, path)


def test_a_newer_format(model, file):
    rewrite(file, {**header_of(file), 'format': 99})
    with pytest.raises(CheckpointError, match='format 99'):
        load_checkpoint(model, file)


@pytest.mark.parametrize(
    'wrong',
    [
        {'size': [0, 0]},
        {'size': [70]},
        {'size': ['a', 'b']},
        {'size': [140_000, 140_000]},
        {'mean': [0.5, 0.5]},
        {'mean': [0.5, 0.5, float('nan')]},
        {'std': [0.2, 0.0, 0.2]},
        {'interpolation': 'nearest'},
        {'antialias': 'yes'},
    ],
)
def test_preprocessing_by_which_nothing_can_be_prepared(model, file, wrong):
    """Even where the fingerprint is right: else it fails at the first image, in other words."""
    header = header_of(file)
    given = {**header['input'], **wrong}
    try:
        whole = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        identity = fingerprint('sage_test', ImageInput(**whole), load_file(file))
    except TypeError:
        identity = header['fingerprint']
    rewrite(file, {**header, 'input': given, 'fingerprint': identity})
    with pytest.raises(CheckpointError, match='damaged vpr_ros header'):
        load_checkpoint(model, file)


@pytest.mark.parametrize('threshold', ['high', 1.5, float('nan')])
def test_a_threshold_that_is_no_cosine(model, file, threshold):
    rewrite(file, {**header_of(file), 'similarity_threshold': threshold})
    with pytest.raises(CheckpointError, match='damaged vpr_ros header'):
        load_checkpoint(model, file)


def test_an_input_that_patches_do_not_fill(model, file):
    header, wrong = header_of(file), ImageInput((71, 70))
    identity = fingerprint('sage_test', wrong, load_file(file))
    rewrite(file, {**header, 'input': asdict(wrong), 'fingerprint': identity})
    with pytest.raises(CheckpointError, match='71x70: expected .* multiples of 14'):
        load_checkpoint(model, file)


def test_a_pickle_is_not_run(model, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath('ran').touch, ())

    path = tmp_path / 'bomb.safetensors'
    torch.save(Bomb(), path)
    with pytest.raises(CheckpointError):
        load_checkpoint(model, path)
    assert not (tmp_path / 'ran').exists()


def test_the_bundled_model_describes_out_of_the_box():
    model = build_model('sage_nano', device='cpu')
    file = bundled_weights('sage_nano.safetensors')
    assert file.stat().st_size <= 8_000_000
    descriptor = model.describe_tensor(torch.randn(2, 3, *model.input.size)).descriptor
    assert descriptor.shape == (2, model.descriptor_dim)
    torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(2))
    assert model.similarity_threshold
    assert read_header(file).provenance


def test_the_backbone_of_another_model_of_ours():
    bundled = bundled_weights('sage_nano.safetensors')
    model, fresh = untrained_model('folpp_nano'), untrained_model('folpp_nano')
    load_backbone(model, bundled)
    expected = load_file(bundled)
    for key, tensor in model.network.state_dict().items():
        source = expected[key] if key.startswith('backbone.') else fresh.network.state_dict()[key]
        assert torch.equal(tensor, source.float()), key
    assert model.fingerprint is None
    sizes = {name: MODELS[name].descriptor_dim for name in ('folpp_nano', 'sage_nano')}
    assert sizes == {'folpp_nano': 2176, 'sage_nano': 2176}


def test_a_backbone_of_another_shape_pixel_scale_or_state_is_refused(model, file):
    with pytest.raises(CheckpointError, match='lacks|does not know|shape'):
        load_backbone(untrained_model('folpp_nano'), file)
    other = untrained_model('folpp_test')
    load_backbone(other, file)
    other.input = ImageInput((70, 70), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    with pytest.raises(CheckpointError, match='normalised by .* give another backbone'):
        load_backbone(other, file)
    rewrite(file, change=lambda weights: {k: v + 1 for k, v in weights.items()})
    with pytest.raises(CheckpointError, match='damaged'):
        load_backbone(untrained_model('folpp_test'), file)
