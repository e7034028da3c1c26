"""Every tensor of the released files finds its place, and nothing else does."""

from dataclasses import replace

import pytest
import torch
from released_files import LARGE, TINY, Widths, dinov2, fol, hugging_face, on_meta, sage, tensors

from vpr_ros.errors import CheckpointError
from vpr_ros.models.networks.dinov2 import VIT_BASE, VIT_LARGE, VIT_SMALL, VisionTransformer
from vpr_ros.models.registry import MODELS, TEST_VIT
from vpr_ros.models.weights.layouts import DINOV2, HUGGING_FACE, detect, model_name, translate

BASE, SMALL = Widths(), Widths(dim=384)
BACKBONE_OF_TEST = VisionTransformer(TEST_VIT).state_dict()


def expected_of(name):
    with torch.device('meta'):
        state = MODELS[name].network().state_dict()
    return {key: part for key, part in state.items() if not key.startswith('reb.')}


@pytest.mark.parametrize(
    ('shapes', 'keys', 'parameters', 'name', 'models'),
    [
        (sage(BASE), 215, 88_535_494, 'sage_vitb', ['sage_vitb']),
        (sage(LARGE), 383, 306_864_326, 'sage_vitl', ['sage_vitl']),
        (sage(LARGE, cross=True), 407, 314_744_518, 'sage_vitl_cross', ['sage_vitl_cross']),
        (fol(BASE), 191, None, 'fol_vitb', ['fol_vitb', 'folpp_vitb']),
        (fol(LARGE), 359, None, 'fol_vitl', ['fol_vitl', 'folpp_vitl']),
    ],
)
def test_the_released_models_in_full_size(shapes, keys, parameters, name, models):
    weights = on_meta(shapes)
    layout = detect(weights, 'file')
    assert len(weights) == keys
    assert model_name(layout, weights) == name
    if parameters:
        assert sum(tensor.numel() for tensor in weights.values()) == parameters
    for model in models:
        expected = expected_of(model)
        found = translate(layout, weights, expected, 'file')
        assert {k: t.shape for k, t in found.items()} == {k: t.shape for k, t in expected.items()}


@pytest.mark.parametrize('names', [dinov2, hugging_face])
@pytest.mark.parametrize(
    ('widths', 'config', 'size'),
    [(SMALL, VIT_SMALL, 'vits'), (BASE, VIT_BASE, 'vitb'), (LARGE, VIT_LARGE, 'vitl')],
)
def test_the_published_backbones_in_full_size(names, widths, config, size):
    weights = on_meta(names(widths))
    if names is dinov2:
        assert len(weights) == {12: 175, 24: 343}[widths.depth]
    layout = detect(weights, 'file')
    with torch.device('meta'):
        expected = VisionTransformer(config).state_dict()
    found = translate(layout, weights, expected, 'file')
    assert {k: t.shape for k, t in found.items()} == {k: t.shape for k, t in expected.items()}
    assert model_name(layout, weights).endswith(size)


def to_hugging_face(ours):
    """The table of section 7.2 of the method, the other way round."""
    theirs = {}
    for key, tensor in ours.items():
        name = key.replace('blocks.', 'encoder.layer.')
        if '.attn.qkv.' in name:
            for part, rows in zip(('query', 'key', 'value'), tensor.chunk(3), strict=True):
                theirs[name.replace('attn.qkv', f'attention.attention.{part}')] = rows
            continue
        for before, after in {
            'cls_token': 'embeddings.cls_token',
            'pos_embed': 'embeddings.position_embeddings',
            'patch_embed.proj': 'embeddings.patch_embeddings.projection',
            'attn.proj': 'attention.output.dense',
            'ls1.gamma': 'layer_scale1.lambda1',
            'ls2.gamma': 'layer_scale2.lambda1',
        }.items():
            name = name.replace(before, after)
        theirs['layer' + name if name.startswith('norm.') else name] = tensor
    return theirs


def test_hub_to_ours_to_hugging_face_to_ours_is_bitwise_equal():
    hub = tensors(dinov2(TINY))
    ours = translate(DINOV2, hub, BACKBONE_OF_TEST, 'file')
    assert hub.keys() - ours.keys() == {'mask_token'}
    assert all(torch.equal(ours[key], hub[key]) for key in ours)
    theirs = to_hugging_face(ours)
    assert theirs.keys() == hugging_face(TINY).keys() - {'embeddings.mask_token'}
    again = translate(HUGGING_FACE, theirs, BACKBONE_OF_TEST, 'file')
    assert again.keys() == ours.keys()
    assert all(torch.equal(again[key], ours[key]) for key in ours)


def test_query_key_and_value_are_joined_in_this_order():
    theirs = tensors(hugging_face(TINY))
    start = 'encoder.layer.1.attention.attention'
    for number, part in enumerate(('query', 'key', 'value')):
        theirs[f'{start}.{part}.bias'].fill_(number)
    joined = translate(HUGGING_FACE, theirs, BACKBONE_OF_TEST, 'file')['blocks.1.attn.qkv.bias']
    assert joined.tolist() == [0.0] * 32 + [1.0] * 32 + [2.0] * 32


WHOLE = [(sage, 'sage_test'), (fol, 'fol_test'), (fol, 'folpp_test')]


@pytest.mark.parametrize(('names', 'model'), WHOLE)
def test_every_missing_tensor_is_named(names, model):
    weights, expected = tensors(names(TINY)), expected_of(model)
    unused = ('backbone.model.mask_token', 'aggregator.single_branch.')
    for name in [name for name in weights if not name.startswith(unused)]:
        others = {key: tensor for key, tensor in weights.items() if key != name}
        with pytest.raises(CheckpointError, match=f'file lacks the tensor {name}$'):
            translate(detect(others, 'file'), others, expected, 'file')


@pytest.mark.parametrize(('names', 'model'), WHOLE)
def test_every_misshaped_tensor_is_named(names, model):
    weights, expected = tensors(names(TINY)), expected_of(model)
    layout = detect(weights, 'file')
    unused = ('backbone.model.mask_token', 'aggregator.single_branch.')
    for name in [name for name in weights if not name.startswith(unused)]:
        changed = {**weights, name: torch.cat((weights[name], weights[name]))}
        with pytest.raises(CheckpointError, match=f'file: tensor {name} has shape .*, expected'):
            translate(layout, changed, expected, 'file')


@pytest.mark.parametrize(
    ('names', 'model', 'extra'),
    [
        (sage, 'sage_test', 'dust_bin'),
        (sage, 'sage_test', 'backbone.model.extra'),
        (sage, 'sage_test', 'encoder.layers.0.norm1.bias'),
        (fol, 'fol_test', 'aggregator.dust_bin'),
        (fol, 'fol_test', 'aggregator.single_branch.0.bias'),
        (fol, 'folpp_test', 'reb.mix.0.bias'),
    ],
)
def test_an_unexpected_tensor_is_named(names, model, extra):
    weights = {**tensors(names(TINY)), extra: torch.zeros(1)}
    with pytest.raises(CheckpointError, match=f'a tensor {extra} that the model does not know'):
        translate(detect(weights, 'file'), weights, expected_of(model), 'file')


def test_what_the_released_files_carry_for_nothing_may_be_absent():
    weights = tensors(sage(TINY))
    for name in [n for n in weights if 'single_branch' in n or 'mask_token' in n]:
        del weights[name]
    expected = expected_of('sage_test')
    assert translate(detect(weights, 'x'), weights, expected, 'x').keys() == expected.keys()


@pytest.mark.parametrize(
    'name', ['register_tokens', 'embeddings.register_tokens', 'backbone.model.register_tokens']
)
def test_register_tokens_are_refused_with_the_reason(name):
    weights = {**dinov2(TINY), name: (1, 4, 32)}
    with pytest.raises(CheckpointError, match=f'register tokens .{name}.*trained without'):
        detect(weights, 'file')


def test_an_unknown_layout_names_the_known_ones():
    with pytest.raises(CheckpointError, match='SAGE, FoL, DINOv2 .*timm'):
        detect({'layer1.0.conv1.weight'}, 'file')


@pytest.mark.parametrize('dtype', [torch.int64, torch.bool, torch.float8_e4m3fn])
def test_other_types_are_not_weights(dtype):
    weights = {**tensors(sage(TINY)), 'aggregator.score.3.bias': torch.zeros(4).to(dtype)}
    with pytest.raises(CheckpointError, match=f'score.3.bias has type {dtype}'):
        translate(detect(weights, 'x'), weights, expected_of('sage_test'), 'x')


def test_a_claimed_size_costs_no_memory():
    wide = replace(TINY, dim=10**6)
    weights = tensors(sage(TINY))
    name = 'backbone.model.blocks.0.attn.qkv.weight'
    weights[name] = torch.zeros(1).expand(3 * wide.dim, wide.dim)  # twelve terabytes
    with pytest.raises(CheckpointError, match='3000000, 1000000'):
        translate(detect(weights, 'x'), weights, expected_of('sage_test'), 'x')
