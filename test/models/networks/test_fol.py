"""FoL against its definition: counts, keys, geometry, padding, and a slow reference."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from vpr_ros.models.networks.dinov2 import VIT_BASE, VIT_LARGE
from vpr_ros.models.networks.fol import Fol, FolConfig, class_attention
from vpr_ros.models.networks.fol_masks import saliency
from vpr_ros.models.registry import MODELS, TEST_FOL, TEST_VIT

PUBLISHED = {VIT_BASE: (90_056_256, 191), VIT_LARGE: (308_827_456, 359)}
TRAINED = {VIT_BASE: 31_834_944, VIT_LARGE: 54_853_952}
DECODER = {VIT_BASE: (1_769_728, 295_040), VIT_LARGE: (2_359_552, 295_040)}
both = pytest.mark.parametrize('backbone', [VIT_BASE, VIT_LARGE], ids=['B', 'L'])


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = Fol(TEST_VIT, TEST_FOL).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def on_meta(backbone):
    with torch.device('meta'):
        return Fol(backbone, FolConfig())


def count(*parts):
    return sum(p.numel() for part in parts for p in part.parameters())


@both
def test_parameters_and_keys_are_the_published_ones(backbone):
    model = on_meta(backbone)
    parameters, keys = PUBLISHED[backbone]
    assert count(model) + backbone.dim == parameters  # + mask token
    assert len(model.state_dict()) + 1 == keys
    assert (count(model.upconv), count(model.upconv2)) == DECODER[backbone]
    trained = [*model.backbone.blocks[-4:], model.backbone.norm, model.aggregator]
    assert count(*trained, model.upconv, model.upconv2) == TRAINED[backbone]


@both
def test_shapes_of_the_published_keys(backbone):
    shapes = {k: tuple(v.shape) for k, v in on_meta(backbone).state_dict().items()}
    width = backbone.dim
    expected = {
        'aggregator.token_features.2.weight': (256, 512),
        'aggregator.cluster_features.0.weight': (512, width),
        'aggregator.cluster_features.3.weight': (128, 512),
        'aggregator.score.3.bias': (64,),
        'upconv.weight': (width, 256, 3, 3),
        'upconv2.weight': (256, 128, 3, 3),
        'upconv2.bias': (128,),
    }
    assert expected.items() <= shapes.items()
    assert not [key for key in shapes if 'dust' in key]


def test_unit_norm_and_equal_shares(network):
    descriptor = network(torch.randn(2, 3, 70, 98))
    torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(2))
    shares = torch.full((2,), 1 / (TEST_FOL.clusters + 1))
    token = descriptor[:, : TEST_FOL.token].square().sum(dim=1)
    torch.testing.assert_close(token, shares)
    columns = descriptor[:, TEST_FOL.token :].view(2, TEST_FOL.features, TEST_FOL.clusters)
    expected = shares[:, None].expand(2, TEST_FOL.clusters)
    torch.testing.assert_close(columns.square().sum(dim=1), expected)


def test_class_attention_is_the_first_row_of_the_softmax(network):
    block, stream = network.backbone.blocks[-1], torch.randn(2, 26, 32)
    attention = block.attn
    query, key, _ = (
        part.view(2, 26, attention.heads, -1)
        for part in attention.qkv(block.norm1(stream)).split(32, dim=2)
    )
    expected = torch.zeros(2, 25)
    for head in range(attention.heads):
        logits = query[:, :, head] @ key[:, :, head].transpose(1, 2) / 16**0.5
        expected += logits.softmax(dim=2)[:, 0, 1:]
    torch.testing.assert_close(class_attention(block, stream), expected)


def test_the_guide_is_read_before_the_last_block(network):
    seen, images = {}, torch.randn(1, 3, 70, 70)
    last = network.backbone.blocks[-1]
    last.attn.qkv.weight.data *= 2  # so that attention falls on both sides of the threshold
    last.register_forward_pre_hook(lambda _, inputs: seen.update(stream=inputs[0]))
    guide = network.maps(images).guide
    attention = class_attention(last, seen['stream'])
    torch.testing.assert_close(guide, attention.where(attention >= 0.01, 0.0))
    assert (attention < 0.01).any()
    assert (attention > 0.01).any()


def reference_descriptor(head, cls, patches, assignment):
    """Section 4.2 after the transport, for one image with loops."""
    features = head.cluster_features(patches)
    pooled = torch.zeros(features.shape[1], assignment.shape[1])
    for n in range(len(patches)):
        for k in range(assignment.shape[1]):
            pooled[:, k] += features[n] * assignment[n, k]
    pooled = pooled / pooled.norm(dim=0, keepdim=True)
    token = head.token_features(cls)
    flat = [pooled[d, k] for d in range(pooled.shape[0]) for k in range(pooled.shape[1])]
    whole = torch.cat((token / token.norm(), torch.stack(flat)))
    return whole / whole.norm()


def test_aggregation_against_the_slow_reference(network):
    cls, patches, guide = torch.randn(2, 32), torch.randn(2, 20, 32), torch.rand(2, 20)
    with torch.no_grad():
        found, assignment = network.aggregator(cls, patches, guide)
        for b in range(2):
            expected = reference_descriptor(network.aggregator, cls[b], patches[b], assignment[b])
            torch.testing.assert_close(found[b], expected, atol=1e-5, rtol=1e-4)


def test_an_impulse_appears_where_the_geometry_says(network):
    """Patch (5, 22) of a 23 x 23 grid is dense cell (20, 88)."""
    patches = torch.zeros(1, 529, 32)
    patches[0, 5 * 23 + 22] = 1.0
    maps = network.maps(torch.randn(1, 3, 70, 70))._replace(patches=patches, grid=(23, 23))
    with torch.no_grad():
        for layer in (network.upconv, network.upconv2):
            layer.weight.abs_()  # an impulse is positive in all channels then
            layer.bias.zero_()
        response = network.dense_tokens(maps)[0].norm(dim=2)
    assert response.shape == (89, 89)
    rows, columns = (response > 0).nonzero().T
    assert (rows.min(), rows.max()) == (17, 23)  # three cells about its own in every direction
    assert (columns.min(), columns.max()) == (85, 88)
    network.upconv.weight.data[:, :, 1, 1] += 5
    network.upconv2.weight.data[:, :, 1, 1] += 5
    with torch.no_grad():
        response = network.dense_tokens(maps)[0].norm(dim=2)
    assert divmod(int(response.argmax()), 89) == (20, 88)


def reference_local(network, maps, rows):
    """Section 4.4 for one image at a time, with lists."""
    dense = F.normalize(network.dense_tokens(maps), dim=3)
    height, width = dense.shape[1:3]
    h, w = maps.grid
    for b in range(len(dense)):
        chosen = set(saliency(maps.assignment)[b].argsort(descending=True)[:10].tolist())
        cells = [
            (y, x)
            for y in range(height)
            for x in range(width)
            if (y * h // height) * w + x * w // width in chosen
        ]
        tokens = torch.zeros(rows, dense.shape[3])
        tokens[: len(cells)] = torch.stack([dense[b, y, x] for y, x in cells])
        yield tokens, torch.tensor(cells)


@pytest.mark.parametrize('size', [(70, 70), (70, 98), (112, 56)])
def test_local_features_against_the_slow_reference(network, size):
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        local, maps = network.features(images).local, network.maps(images)
        rows = local.tokens.shape[1]
        for b, (tokens, cells) in enumerate(reference_local(network, maps, rows)):
            torch.testing.assert_close(local.tokens[b], tokens, atol=1e-6, rtol=1e-5)
            assert local.valid[b].tolist() == [i < len(cells) for i in range(rows)]
            expected = 3.5 * cells + 7  # pixels
            torch.testing.assert_close(local.position[b, : len(cells)], expected)
    norms = local.tokens.norm(dim=2)
    torch.testing.assert_close(norms, local.valid.float())
    assert (local.reliability == local.valid).all()
    assert (local.position[~local.valid] == 0).all()
    assert not local.valid.all()


def test_a_patch_centre_lies_at_its_pixels(network):
    cells = torch.tensor([[0, 0], [20, 88]])
    assert network.cell_position(cells).tolist() == [[7, 7], [5 * 14 + 7, 22 * 14 + 7]]


def test_sizes_at_which_the_released_code_fails(network):
    """At 224 pixels 225 patches overflow its table; at any size fewer patches than 225 do."""
    model = Fol(TEST_VIT, dataclasses.replace(TEST_FOL, positions=225)).eval()
    local = model.features(torch.randn(1, 3, 224, 224)).local
    assert local.tokens.shape == (1, 3600, 128)
    assert 3000 < int(local.valid.sum()) <= 3600
    local = model.features(torch.randn(1, 3, 70, 70)).local
    assert local.valid.all()  # all of the 25 patches, all of the 17 x 17 cells
    assert local.tokens.shape == (1, 289, 128)


@pytest.mark.parametrize(
    ('name', 'tokens'),
    [('fol_vitb', 3600), ('fol_vitl', 3600), ('folpp_vitti', 90), ('folpp_vitl', 212)],
)
def test_shapes_depend_on_no_value(name, tokens):
    """On tensors without values nothing can ask for one: a CUDA graph can hold the call."""
    spec = MODELS[name]
    with torch.device('meta'):
        features = spec.network().eval().features(torch.empty(2, 3, *spec.input.size))
    assert features.descriptor.shape == (2, 8448)
    assert features.local.tokens.shape == (2, tokens, 128)
    assert features.local.position.shape == (2, tokens, 2)
    assert features.local.valid.shape == features.local.reliability.shape == (2, tokens)


def test_a_grid_no_larger_than_the_clusters_is_refused(network):
    with pytest.raises(ValueError, match='larger input size'):
        network(torch.randn(1, 3, 28, 28))
