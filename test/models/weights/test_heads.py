"""A head without its backbone is laid on the same one, and on no other."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from shared_data import shared_data

from vpr_ros.errors import CheckpointError
from vpr_ros.models import build_model
from vpr_ros.models.networks.dinov2 import VIT_TINY, VisionTransformer
from vpr_ros.models.networks.sage import Sage, SageConfig
from vpr_ros.models.place_model import PlaceModel
from vpr_ros.models.registry import LOWER_TINY, MODELS, bundled_weights, untrained_model
from vpr_ros.models.weights.heads import load_head, read_head_header, save_head

LEARNED = ('gpn_norms.', 'aggregator.', 'backbone.norm.')


def published(seed):
    """A whole ViT-Ti/16, of which the model runs the first blocks."""
    torch.manual_seed(seed)
    return VisionTransformer(VIT_TINY).state_dict()


@pytest.fixture
def backbone(tmp_path):
    path = tmp_path / 'vit.safetensors'
    save_file(published(1), path)
    return path


@pytest.fixture
def trained(backbone):
    from vpr_ros.models.weights.checkpoint import load_backbone

    model = untrained_model('sage_vitti', 2)
    load_backbone(model, backbone)
    model.similarity_threshold = 0.5
    return model


def learned_names(model):
    return [k for k in model.network.state_dict() if k.startswith(LEARNED)]


@pytest.mark.parametrize('half', [False, True])
def test_head_on_backbone_is_the_model_that_was_trained(trained, backbone, tmp_path, half):
    path = tmp_path / 'head.safetensors'
    header = save_head(trained, path, learned_names(trained), {'a': 1}, 'vit.safetensors', half)
    assert path.stat().st_size < (1.3e6 if half else 2.5e6)
    again = untrained_model('sage_vitti', 3)
    assert load_head(again, path, backbone) == header
    for name, tensor in trained.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name
    assert again.fingerprint == trained.fingerprint == header.fingerprint
    assert again.similarity_threshold == 0.5
    assert read_head_header(path).provenance == {'a': 1}


def test_another_backbone_is_refused(trained, tmp_path):
    path = tmp_path / 'head.safetensors'
    save_head(trained, path, learned_names(trained), backbone_file='vit.safetensors')
    other = tmp_path / 'other.safetensors'
    save_file(published(9), other)
    with pytest.raises(CheckpointError, match=r'was trained on \(vit.safetensors\): its weights'):
        load_head(untrained_model('sage_vitti'), path, other)


def test_the_last_blocks_are_left_out_and_the_others_are_the_files(trained, backbone):
    ours, theirs = trained.network.backbone.state_dict(), load_file(backbone)
    blocks = {int(k.split('.')[1]) for k in ours if k.startswith('blocks.')}
    assert blocks == set(range(LOWER_TINY.depth)) and LOWER_TINY.depth < VIT_TINY.depth
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_blocks_that_are_left_out_do_not_tell_backbones_apart(trained, backbone, tmp_path):
    path, other = tmp_path / 'head.safetensors', tmp_path / 'other.safetensors'
    save_head(trained, path, learned_names(trained), backbone_file='vit.safetensors')
    weights = load_file(backbone)
    save_file({**weights, 'blocks.10.mlp.fc1.bias': weights['blocks.10.mlp.fc1.bias'] + 1}, other)
    load_head(untrained_model('sage_vitti'), path, other)
    save_file({**weights, 'blocks.6.mlp.fc1.bias': weights['blocks.6.mlp.fc1.bias'] + 1}, other)
    with pytest.raises(CheckpointError, match='its weights differ'):
        load_head(untrained_model('sage_vitti'), path, other)


@pytest.mark.parametrize(
    ('name', 'part', 'words'),
    [
        ('blocks.11.norm1.weight', None, 'lacks the tensor blocks.11.norm1.weight'),
        ('blocks.12.norm1.weight', torch.ones(192), 'has a tensor blocks.12.norm1.weight'),
        ('blocks.10.norm1.weight', torch.ones(96), r'shape \(96,\), expected \(192,\)'),
        ('blocks.10.gate', torch.ones(192), 'has a tensor blocks.10.gate'),
    ],
)
def test_blocks_that_are_left_out_must_be_there_as_published(backbone, name, part, words):
    from vpr_ros.models.weights.checkpoint import load_backbone

    weights = {**load_file(backbone), name: part}
    save_file({key: value for key, value in weights.items() if value is not None}, backbone)
    with pytest.raises(CheckpointError, match=words):
        load_backbone(untrained_model('sage_vitti'), backbone)


def test_other_models_and_other_files_are_refused(trained, backbone, tmp_path):
    path = tmp_path / 'head.safetensors'
    save_head(trained, path, learned_names(trained))
    with pytest.raises(CheckpointError, match='head of sage_vitti, expected one of sage_test'):
        load_head(untrained_model('sage_test'), path, backbone)
    with pytest.raises(CheckpointError, match='is not a head'):
        load_head(untrained_model('sage_vitti'), backbone, backbone)


def test_the_head_of_another_network_of_that_name_is_refused(trained, backbone, tmp_path):
    """As of an earlier version: its backbone is not to blame."""
    path = tmp_path / 'head.safetensors'
    other = PlaceModel('sage_vitti', Sage(LOWER_TINY, SageConfig(tuned_blocks=2)), trained.input)
    save_head(other, path, learned_names(other))
    with pytest.raises(
        CheckpointError, match=r'head of another sage_vitti: expected tensor .*vpr'
    ):
        load_head(untrained_model('sage_vitti'), path, backbone)


def test_a_damaged_head_is_refused(trained, backbone, tmp_path):
    path = tmp_path / 'head.safetensors'
    save_head(trained, path, learned_names(trained))
    data = bytearray(path.read_bytes())
    data[-5] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match='damaged|not finite'):
        load_head(untrained_model('sage_vitti'), path, backbone)


def test_the_front_door_takes_a_backbone_for_a_model_with_a_head(
    trained, backbone, tmp_path, monkeypatch
):
    path = tmp_path / 'head.safetensors'
    save_head(trained, path, learned_names(trained), half=True)
    from dataclasses import replace

    monkeypatch.setitem(MODELS, 'sage_vitti', replace(MODELS['sage_vitti'], head=str(path)))
    model = build_model('sage_vitti', 'cpu', backbone, 'fp32')
    assert model.fingerprint == trained.fingerprint


def test_the_bundled_head_on_the_real_backbone():
    """At most 4 MB, and nothing of the backbone in it."""
    path = bundled_weights(MODELS['sage_vitti'].head)
    assert path.stat().st_size <= 4e6
    header = read_head_header(path)
    assert header.provenance['places'] > 2000
    backbone = shared_data('weights', 'vit_tiny_patch16_224.safetensors')
    model = build_model('sage_vitti', 'cpu', backbone, 'fp32')
    assert model.fingerprint == header.fingerprint
    assert model.similarity_threshold == header.similarity_threshold
    with safe_open(path, 'pt') as file:
        assert not [key for key in file.keys() if '.blocks.' in key]  # noqa: SIM118
