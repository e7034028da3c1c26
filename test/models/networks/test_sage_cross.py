"""The cross-image encoder: batch dependent, equivariant, refused where one image must do."""

import dataclasses

import numpy as np
import pytest
import torch

from vpr_ros.config import DecisionConfig, RecognizerConfig
from vpr_ros.errors import ConfigError
from vpr_ros.evaluation.loop_sets import describe
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import MODELS, PlaceModel
from vpr_ros.models.networks.sage import Sage
from vpr_ros.models.networks.sage_cross import CrossConfig, SageCross
from vpr_ros.models.registry import TEST_HEAD, TEST_VIT
from vpr_ros.recognition.mapping import build_map
from vpr_ros.recognition.recognizer import Recognizer
from vpr_ros.records import ImageInput

TEST_CROSS = CrossConfig(segment=8, heads=2, hidden=12)  # five segments of a descriptor of 40
UNUSED = 623_296 + 1024  # the branch that is never called, and the mask token


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = SageCross(TEST_VIT, TEST_HEAD, TEST_CROSS).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for parameter in model.encoder.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.fixture
def model(network):
    made = PlaceModel('cross_test', network, ImageInput(size=(70, 70)))
    made.fingerprint = 'of random weights'
    return made


def test_parameters_and_keys_are_the_published_ones():
    with torch.device('meta'):
        cross = MODELS['sage_vitl_cross'].network()
    assert sum(p.numel() for p in cross.parameters()) + UNUSED == 314_744_518
    assert sum(p.numel() for p in cross.encoder.parameters()) == 7_880_192
    state = cross.state_dict()
    assert len(state) + 1 + 4 == 407  # the mask token and the branch that is never called
    shapes = {k: tuple(v.shape) for k, v in state.items() if k.startswith('encoder.layers.1.')}
    assert shapes['encoder.layers.1.self_attn.in_proj_weight'] == (2304, 768)
    assert shapes['encoder.layers.1.linear1.weight'] == (1024, 768)
    assert len(shapes) == 12


def reference_layer(layer, x, heads):
    """Post-norm transformer layer over the batch (B, d) of one segment, written out."""
    attention, width = layer.self_attn, x.shape[1]
    query, key, value = (
        (x @ w.T + b).view(len(x), heads, -1)
        for w, b in zip(
            attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True
        )
    )
    mixed = torch.zeros(len(x), heads, width // heads)
    for head in range(heads):
        logits = query[:, head] @ key[:, head].T / (width // heads) ** 0.5
        mixed[:, head] = logits.softmax(dim=1) @ value[:, head]
    x = layer.norm1(x + attention.out_proj(mixed.flatten(1)))
    hidden = torch.nn.functional.gelu(layer.linear1(x))
    return layer.norm2(x + layer.linear2(hidden))


def test_attention_runs_across_the_images_segment_by_segment(network):
    images = torch.randn(4, 3, 70, 70)
    with torch.no_grad():
        single = Sage.forward(network, images)
        parts = []
        for segment in single.split(TEST_CROSS.segment, dim=1):
            for layer in network.encoder.layers:
                segment = reference_layer(layer, segment, TEST_CROSS.heads)  # noqa: PLW2901
            parts.append(segment)
        torch.testing.assert_close(network(images), torch.cat(parts, dim=1), atol=1e-5, rtol=1e-4)


def test_layer_norms_keep_their_own_epsilon(network):
    assert {n.eps for layer in network.encoder.layers for n in (layer.norm1, layer.norm2)} == {
        1e-5
    }


def test_a_descriptor_depends_on_its_batch(network):
    images = torch.randn(5, 3, 70, 70)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
        padded = network(torch.cat((images, torch.full((2, 3, 70, 70), 4.0))))[:5]
        order = torch.tensor([3, 0, 4, 2, 1])
        shuffled = network(images[order])
    assert (together - alone).abs().max() > 0.01
    assert (together - padded).abs().max() > 0.01
    torch.testing.assert_close(shuffled, together[order], atol=1e-5, rtol=1e-4)
    assert not network.single_image


def test_raw_as_released_and_unit_as_promised(network):
    images = torch.randn(3, 3, 70, 70)
    with torch.no_grad():
        raw, unit = network(images), network.features(images).descriptor
    assert (raw.norm(dim=1) - 1).abs().min() > 0.1
    torch.testing.assert_close(unit, raw / raw.norm(dim=1, keepdim=True))


def test_segments_must_divide_the_descriptor():
    with pytest.raises(ValueError, match='does not divide into segments of 7'):
        SageCross(TEST_VIT, TEST_HEAD, dataclasses.replace(TEST_CROSS, segment=7, heads=7))


def test_refused_at_the_front_door(model):
    config = RecognizerConfig(decision=DecisionConfig(similarity_threshold=0.9))
    places = PlaceMap.create(IN_MEMORY, model.name, 'x', model.descriptor_dim)
    with places, pytest.raises(ConfigError, match='depends on the other images of the batch'):
        Recognizer(model, places, config)


def test_refused_where_a_map_is_built(model, small_bag, tmp_path):
    with pytest.raises(ConfigError, match='cross_test is for evaluation only'):
        build_map(small_bag, model, tmp_path / 'm.vprmap')
    assert not list(tmp_path.iterdir())


def test_offered_for_place_sets_where_the_batch_is_the_context(model):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (70, 70, 3), dtype=np.uint8) for _ in range(5)]
    rows = {batch: describe(model, iter(images), batch) for batch in (1, 2, 5)}
    assert all(x.shape == (5, model.descriptor_dim) for x in rows.values())
    assert all(np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5) for x in rows.values())
    assert np.abs(rows[1] - rows[5]).max() > 1e-3
    assert np.abs(rows[2][:2] - rows[5][:2]).max() > 1e-3
    last = describe(model, images[4:])  # the last batch of two holds one image
    np.testing.assert_allclose(rows[2][4:], last, atol=1e-6)
