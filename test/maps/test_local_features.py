"""Local features to bytes and back: eight bits cost little, what is damaged is said."""

import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vpr_ros.errors import MapError
from vpr_ros.maps.local_features import LIMIT_BYTES, pack, unpack
from vpr_ros.records import LocalFeatures


def features(count, dim=128, seed=0):
    """Local features of one image, all valid, at patch centres."""
    generator = torch.Generator().manual_seed(seed)
    cell = torch.stack((torch.arange(count) // 37, torch.arange(count) % 37), dim=1)
    return LocalFeatures(
        F.normalize(torch.randn(1, count, dim, generator=generator), dim=2),
        torch.ones(1, count, dtype=torch.bool),
        (cell * 14 + 7.0)[None],
        torch.rand(1, count, generator=generator),
    )


def test_round_trip():
    one = features(100)
    found, has = unpack([pack(one)])
    assert has.tolist() == [True]
    assert found.valid.all()
    assert (found.tokens * one.tokens).sum(dim=2).min() >= 0.999
    torch.testing.assert_close(found.tokens.norm(dim=2), torch.ones(1, 100))
    assert torch.equal(found.position, one.position)
    assert (found.reliability - one.reliability).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize('peak', [1.0, 100.0])
def test_a_token_of_one_large_value_survives(peak):
    one = features(3)
    one.tokens[0, 0, 5] = peak
    one = LocalFeatures(F.normalize(one.tokens, dim=2), *list(vars(one).values())[1:])
    found, _ = unpack([pack(one)])
    assert (found.tokens * one.tokens).sum(dim=2).min() >= 0.999


def test_what_does_not_fit_is_the_least_reliable():
    one = features(212)
    blob = pack(one)
    assert LIMIT_BYTES - 140 < len(blob) <= LIMIT_BYTES
    found, _ = unpack([blob])
    kept = one.reliability[0].argsort(descending=True)[:120].sort().values
    assert torch.equal(found.position[0], one.position[0, kept])
    assert unpack([pack(one, 1000)])[0].tokens.shape == (1, 7, 128)


def test_rows_that_say_nothing_are_dropped():
    one = features(6)
    one.valid[0, 0] = False
    one.tokens[0, 1] = 0.0
    one.tokens[0, 2, 3] = torch.nan
    one.position[0, 3, 0] = torch.inf
    one.reliability[0, 4] = torch.nan
    found, _ = unpack([pack(one)])
    assert torch.equal(found.position[0], one.position[0, 5:])


def test_places_without_and_with_are_padded():
    short, long = features(3), features(5, seed=1)
    found, has = unpack([None, pack(short), pack(features(0)), pack(long)])
    assert has.tolist() == [False, True, False, True]
    assert found.valid.sum(dim=1).tolist() == [0, 3, 0, 5]
    assert found.tokens.shape == (4, 5, 128)
    assert not found.tokens[~found.valid].any()
    assert torch.equal(found.tokens[1, :3], unpack([pack(short)])[0].tokens[0])
    assert torch.equal(found.position[3], long.position[0])


@pytest.mark.parametrize('blobs', [[], [None], [None, None]])
def test_nothing_at_all(blobs):
    found, has = unpack(blobs)
    assert found.tokens.shape == (len(blobs), 0, 128)
    assert found.valid.shape == found.reliability.shape == (len(blobs), 0)
    assert found.position.shape == (len(blobs), 0, 2)
    assert has.tolist() == [False] * len(blobs)


def damaged_blobs():
    blob = pack(features(4))
    header, body = blob[:6], blob[6:]
    yield 'empty', b''
    yield 'half a header', blob[:3]
    yield 'cut', blob[:-1]
    yield 'longer', blob + b'x'
    yield 'another version', bytes([9]) + blob[1:]
    yield 'another count', struct.pack('<BxHH', 1, 5, 128) + body
    yield 'a token of no length', header + bytes(128) + body[128:]
    yield 'a position that is no number', blob[:-2] + np.float16(np.nan).tobytes()


@pytest.mark.parametrize('blob', [pytest.param(blob, id=name) for name, blob in damaged_blobs()])
def test_damage_is_one_sentence(blob):
    with pytest.raises(MapError) as raised:
        unpack([pack(features(2)), blob])
    assert str(raised.value).startswith('damaged local features')
    assert '\n' not in str(raised.value)


def test_blobs_of_different_models_are_damage():
    with pytest.raises(MapError, match='64 and 128'):
        unpack([pack(features(2)), pack(features(2, dim=64))])
