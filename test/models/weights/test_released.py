"""The authors' files become models, or a sentence that says what they are."""

import pytest
import torch
from released_files import (
    LARGE,
    TINY,
    Widths,
    container,
    dinov2,
    fol,
    hugging_face,
    on_meta,
    sage,
    tensors,
)
from safetensors.torch import load_file, save_file
from shared_data import shared_data

from vpr_ros.errors import CheckpointError
from vpr_ros.models import load_backbone, load_checkpoint, read_header, save_checkpoint
from vpr_ros.models.networks.dinov2 import VIT_TINY
from vpr_ros.models.networks.sage import SageConfig
from vpr_ros.models.networks.sage_cross import CrossConfig, SageCross
from vpr_ros.models.place_model import PlaceModel
from vpr_ros.models.registry import LOWER_TINY, TEST_VIT, load_model, untrained_model
from vpr_ros.models.weights.checkpoint import is_own
from vpr_ros.models.weights.convert import convert, inspect
from vpr_ros.models.weights.layouts import DINOV2, FOL, SAGE
from vpr_ros.models.weights.released import Released
from vpr_ros.records import ImageInput

RELEASED = {'sage_test': sage, 'fol_test': fol, 'folpp_test': fol}
IMAGES = torch.randn(2, 3, 70, 70, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def released(tmp_path):
    """Writes a checkpoint as the authors' scripts do."""

    def write(names, widths=TINY, seed=0):
        path = tmp_path / f'{names.__name__}.pth'
        torch.save(container(tensors(names(widths), seed)), path)
        return path

    return write


@pytest.fixture
def backbone(tmp_path):
    path = tmp_path / 'dinov2.pth'
    torch.save(tensors(dinov2(TINY)), path)
    return path


@pytest.mark.parametrize('name', RELEASED)
def test_a_released_file_becomes_a_model(name, released):
    path = released(RELEASED[name])
    model = untrained_model(name)
    header = load_checkpoint(model, path)
    theirs = tensors(RELEASED[name](TINY))
    ours = model.network.state_dict()
    assert torch.equal(ours['backbone.pos_embed'], theirs['backbone.model.pos_embed'])
    score = theirs['aggregator.score.0.weight'][:, :, 0, 0]
    assert torch.equal(ours['aggregator.score.0.weight'], score)
    assert model.fingerprint == header.fingerprint
    assert model.similarity_threshold is None
    assert header.provenance['file'] == path.name
    descriptor = model.describe_tensor(IMAGES).descriptor
    torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize('name', RELEASED)
def test_a_released_file_and_its_conversion_are_the_same_model(name, released, tmp_path):
    path, out = released(RELEASED[name]), tmp_path / 'ours.safetensors'
    found = convert(path, out, model=name)
    before, after = load_model(name, path), load_model(name, out)
    assert before.fingerprint == after.fingerprint == found.fingerprint
    one, two = (m.describe_tensor(IMAGES).descriptor for m in (before, after))
    assert torch.equal(one, two)
    assert found.provenance['source']['file'] == path.name
    assert found.provenance['source']['sha256'] == inspect(path).sha256
    assert str(tmp_path) not in out.read_bytes().decode('latin-1')


def test_the_cross_image_encoder_is_loaded(tmp_path):
    head = SageConfig(features=94, clusters=8, token=16, hidden=16, tuned_blocks=2)
    widths = Widths(32, 2, 5, 16, 94, 8, 16, 2)
    torch.save(tensors(sage(widths, cross=True)), tmp_path / 'cross.pth')
    network = SageCross(TEST_VIT, head, CrossConfig())
    model = PlaceModel('sage_test', network, ImageInput(size=(70, 70)))
    load_checkpoint(model, tmp_path / 'cross.pth')
    theirs = tensors(sage(widths, cross=True))
    key = 'encoder.layers.1.self_attn.in_proj_weight'
    assert torch.equal(network.state_dict()[key], theirs[key])


def test_fol_in_folpp_has_no_reliability_branch_and_says_so(released, tmp_path):
    model = load_model('folpp_test', released(fol))
    assert not any(key.startswith('reb.') for key in model.network.state_dict())
    out = tmp_path / 'folpp.safetensors'
    convert(released(fol), out, 'folpp_test')
    assert 'no reliability branch' in read_header(out).provenance['source']['reliability']
    assert load_model('folpp_test', out).fingerprint == model.fingerprint


def test_refused_weights_leave_the_branch_where_it_was(released, tmp_path):
    path = tmp_path / 'own.safetensors'
    save_checkpoint(untrained_model('folpp_test'), path)
    model = load_model('folpp_test', path)
    bad = released(fol)
    content = torch.load(bad, weights_only=False)
    content['model_state_dict']['module.upconv.bias'][0] = torch.nan
    torch.save(content, bad)
    expected = model.describe_tensor(IMAGES).local.reliability
    with pytest.raises(CheckpointError, match='not finite'):
        load_checkpoint(model, bad)
    assert torch.equal(model.describe_tensor(IMAGES).local.reliability, expected)


def test_our_own_folpp_keeps_its_branch(tmp_path):
    path = tmp_path / 'own.safetensors'
    save_checkpoint(untrained_model('folpp_test'), path)
    assert 'reb.mix.0.bias' in load_model('folpp_test', path).network.state_dict()


@pytest.mark.parametrize(
    ('names', 'model', 'words'),
    [
        (fol, 'sage_test', 'holds weights of FoL of width 32, expected sage_test'),
        (sage, 'fol_test', 'holds weights of SAGE of width 32, expected fol_test'),
        (dinov2, 'sage_test', r'holds the backbone DINOv2.* alone.*vpr train --model sage_test'),
    ],
)
def test_another_model_is_refused_with_both_names(names, model, words, released):
    loaded = untrained_model(model)
    before = {key: tensor.clone() for key, tensor in loaded.network.state_dict().items()}
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(loaded, released(names))
    after = loaded.network.state_dict()
    assert loaded.fingerprint is None
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ('layout', 'shapes', 'model', 'words'),
    [
        (SAGE, sage(Widths()), 'sage_vitl', 'sage_vitb, expected sage_vitl: set model.name to'),
        (SAGE, sage(LARGE), 'sage_vitl_cross', 'sage_vitl, expected sage_vitl_cross'),
        (SAGE, sage(LARGE, cross=True), 'sage_vitl', 'sage_vitl_cross, expected sage_vitl:'),
        (FOL, fol(LARGE), 'folpp_vitb', 'fol_vitl, expected folpp_vitb'),
        (FOL, fol(Widths()), 'sage_vitb', 'fol_vitb, expected sage_vitb'),
    ],
)
def test_another_size_is_refused_with_both_names(layout, shapes, model, words):
    with pytest.raises(CheckpointError, match=words):
        Released('file', layout, on_meta(shapes)).for_model(model, {})


def test_a_backbone_of_another_size_is_refused_with_both_names():
    found = Released('file', DINOV2, on_meta(dinov2(Widths())))
    with pytest.raises(CheckpointError, match='vitb of width 768, .* 1024 for sage_vitl'):
        found.for_backbone('sage_vitl', 1024, {})


def test_values_that_are_not_finite_are_refused(released):
    path = released(sage)
    content = torch.load(path, weights_only=False)
    content['model_state_dict']['module.aggregator.score.0.bias'][3] = torch.nan
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r'aggregator.score.0.bias .*not finite'):
        load_model('sage_test', path)


@pytest.mark.parametrize('model', RELEASED)
@pytest.mark.parametrize('names', [dinov2, hugging_face])
def test_a_backbone_is_loaded_and_the_head_left_alone(names, model, released):
    loaded, untouched = untrained_model(model, 5), untrained_model(model, 5)
    load_backbone(loaded, released(names))
    weights = tensors(names(TINY))
    norm = 'layernorm.weight' if names is hugging_face else 'norm.weight'
    assert torch.equal(loaded.network.backbone.norm.weight, weights[norm])
    ours, before = loaded.network.state_dict(), untouched.network.state_dict()
    heads = [key for key in ours if not key.startswith('backbone.')]
    assert heads and all(torch.equal(ours[key], before[key]) for key in heads)
    assert loaded.fingerprint is None
    with pytest.raises(CheckpointError, match='no weights'):
        loaded.describe_tensor(IMAGES)


def test_hugging_face_safetensors_with_a_classifier(tmp_path):
    weights = tensors(hugging_face(TINY))
    named = {f'dinov2.{key}': tensor for key, tensor in weights.items()}
    save_file({**named, 'classifier.weight': torch.zeros(2, 64)}, tmp_path / 'model.safetensors')
    model = untrained_model('sage_test')
    load_backbone(model, tmp_path / 'model.safetensors')
    assert torch.equal(model.network.backbone.cls_token, weights['embeddings.cls_token'])


def test_a_whole_model_is_no_backbone(released, tiny_weights):
    model = untrained_model('sage_test')
    for path in (released(sage), tiny_weights):
        with pytest.raises(CheckpointError, match='whole model .*setting weights'):
            load_backbone(model, path)


def test_a_backbone_takes_the_place_of_weights(tiny_model, backbone):
    load_backbone(tiny_model, backbone)
    assert tiny_model.fingerprint is None and tiny_model.similarity_threshold is None


def test_a_backbone_is_converted_and_keeps_its_names(backbone, tmp_path):
    config = 'vpr_ros.models.weights.convert.BACKBONES'
    out = tmp_path / 'ours.safetensors'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, {32: TEST_VIT})
        found = convert(backbone, out, source={'licence': 'none'})
    assert found.kind == 'DINOv2 (torch.hub)' and found.fingerprint is None
    assert found.provenance['source']['licence'] == 'none'
    assert found.provenance['source']['file'] == 'dinov2.pth'
    theirs = tensors(dinov2(TINY))
    del theirs['mask_token']
    ours = load_file(out)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    model = untrained_model('sage_test')
    load_backbone(model, out)
    assert torch.equal(model.network.backbone.pos_embed, theirs['pos_embed'])


def test_the_published_vit_tiny():
    path = shared_data('weights', 'vit_tiny_patch16_224.safetensors')
    found = inspect(path)
    assert (found.kind, found.model) == ('ViT (timm)', 'ViT (timm) vitti')
    weights = load_file(path)
    for name, depth in (('sage_vitti', LOWER_TINY.depth), ('folpp_vitti', VIT_TINY.depth)):
        model = untrained_model(name)
        load_backbone(model, path)
        ours = model.network.backbone.state_dict()
        assert all(torch.equal(ours[key], weights[key]) for key in ours)
        left = {key.split('.')[1] for key in weights.keys() - ours.keys() if 'head' not in key}
        assert left == {str(index) for index in range(depth, 12)}
        # It was trained on pixels in -1 to 1.
        assert (model.input.mean, model.input.std) == ((0.5,) * 3, (0.5,) * 3)
    with pytest.raises(CheckpointError, match='vitti of width 192, .*width 32 for sage_test'):
        load_backbone(untrained_model('sage_test'), path)


@pytest.mark.parametrize('name', RELEASED)
def test_inspection_of_a_released_file(name, released):
    path = released(RELEASED[name])
    weights = tensors(RELEASED[name](TINY))
    found = inspect(path)
    assert found.tensors == len(weights)
    assert found.parameters == sum(tensor.numel() for tensor in weights.values())
    assert found.model.endswith('of width 32')


def test_the_fingerprint_in_an_inspection_is_that_of_the_model(released, monkeypatch):
    monkeypatch.setattr('vpr_ros.models.weights.layouts.WIDTHS', {32: 'test'})
    path = released(sage)
    found = inspect(path)
    assert found.model == 'sage_test'
    assert found.fingerprint == load_model('sage_test', path).fingerprint


def test_inspection_of_our_own(tiny_weights):
    found = inspect(tiny_weights)
    header = read_header(tiny_weights)
    assert (found.model, found.fingerprint) == ('sage_test', header.fingerprint)
    assert found.threshold == header.similarity_threshold
    assert found.tensors == len(load_file(tiny_weights))


def test_types_that_torch_does_not_have(tmp_path):
    header = b'{"x": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}'
    path = tmp_path / 'six_bits.safetensors'
    path.write_bytes(len(header).to_bytes(8, 'little') + header + bytes(3))
    with pytest.raises(CheckpointError, match='cannot be read: .*F6_E2M3'):
        load_checkpoint(untrained_model('sage_test'), path)


def test_safetensors_whose_header_length_begins_like_a_pickle(tmp_path):
    weights, path = tensors(sage(TINY)), tmp_path / 'model.safetensors'
    save_file(weights, path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], 'little')
    header = data[8 : 8 + size].ljust(0x4080)
    path.write_bytes(len(header).to_bytes(8, 'little') + header + data[8 + size :])
    assert path.read_bytes().startswith(b'\x80')
    assert load_model('sage_test', path).fingerprint


def test_conversion_is_whole_or_not_at_all(released, tmp_path):
    path = released(sage)
    for wrong in ('fol_test', 'sage_vits'):
        with pytest.raises(CheckpointError):
            convert(path, tmp_path / 'out.safetensors', wrong)
    with pytest.raises(CheckpointError, match='cannot write'):
        convert(path, tmp_path / 'nowhere' / 'out.safetensors', 'sage_test')
    with pytest.raises(CheckpointError, match='SAGE of width 32.*--model'):
        convert(path, tmp_path / 'out.safetensors')
    assert [file.name for file in tmp_path.iterdir()] == ['sage.pth']


def test_our_own_is_not_converted_again(tiny_weights, tmp_path):
    with pytest.raises(CheckpointError, match='ours already'):
        convert(tiny_weights, tmp_path / 'out.safetensors')


def test_the_header_of_a_released_file_is_a_sentence(released):
    path = released(sage)
    assert not is_own(path)
    with pytest.raises(CheckpointError, match='no vpr_ros header: .*vpr weights info'):
        read_header(path)


def test_a_name_says_nothing_of_the_content(released, tmp_path):
    path = released(sage)
    renamed = path.rename(tmp_path / 'weights.safetensors')
    assert load_model('sage_test', renamed).fingerprint
    own = tmp_path / 'own.pth'
    save_checkpoint(untrained_model('sage_test'), own)
    assert read_header(own).model == 'sage_test'
    assert load_model('sage_test', own).fingerprint
