"""A head without its backbone is laid on the same one, and on no other."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from shared_data import shared_data

from vpr_ros.errors import CheckpointError
from vpr_ros.models import build_model
from vpr_ros.models.registry import MODELS, bundled_weights, untrained_model
from vpr_ros.models.weights.heads import load_head, read_head_header, save_head

LEARNED = ('gpn_norms.', 'aggregator.', 'backbone.norm.')


@pytest.fixture
def backbone(tmp_path):
    model = untrained_model('sage_vitti', 1)
    path = tmp_path / 'vit.safetensors'
    save_file({k: v.contiguous() for k, v in model.network.backbone.state_dict().items()}, path)
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
    save_file(untrained_model('sage_vitti', 9).network.backbone.state_dict(), other)
    with pytest.raises(CheckpointError, match=r'was trained on \(vit.safetensors\): its weights'):
        load_head(untrained_model('sage_vitti'), path, other)


def test_other_models_and_other_files_are_refused(trained, backbone, tmp_path):
    path = tmp_path / 'head.safetensors'
    save_head(trained, path, learned_names(trained))
    with pytest.raises(CheckpointError, match='head of sage_vitti, expected one of sage_test'):
        load_head(untrained_model('sage_test'), path, backbone)
    with pytest.raises(CheckpointError, match='is not a head'):
        load_head(untrained_model('sage_vitti'), backbone, backbone)


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
