"""Local features as a map keeps them: one small blob a place.

Little endian: version (uint8), zero (uint8), number of tokens n and their length d (uint16 each);
tokens (int8, n d), reliabilities (uint8, n) and positions (float16, n 2). A token is a direction:
what it was multiplied by on its way to eight bits is not kept.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vpr_ros.errors import MapDamagedError

if TYPE_CHECKING:
    from vpr_ros.records import LocalFeatures

VERSION = 1
HEADER = struct.Struct('<BxHH')
DIM = 128  # of no tokens at all
LIMIT_BYTES = 16_000
DAMAGED = 'damaged local features ({}): build the map again'


def pack(features: LocalFeatures, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Local features of one image as bytes: the most reliable ones that fit, in their order.

    Of 128 values each, 120 fit by default. Rows that are not valid, not finite or of no length
    are left out. Positions are exact at multiples of half a pixel below 1024.

    Args:
        features: of one image.
        limit_bytes: most bytes of the result; at least the header's six are needed.
    """
    tokens, valid, position, reliability = (
        getattr(features, name)[0].detach().cpu().numpy()
        for name in ('tokens', 'valid', 'position', 'reliability')
    )
    largest = np.abs(tokens).max(axis=1, initial=0.0)
    sound = valid & (largest > 0.0) & np.isfinite(largest) & np.isfinite(position).all(axis=1)
    rows = np.flatnonzero(sound & np.isfinite(reliability))
    most = max(0, limit_bytes - HEADER.size) // _row_bytes(tokens.shape[1])
    if len(rows) > most:
        rows = np.sort(rows[np.argsort(-reliability[rows], kind='stable')[:most]])
    whole = np.rint(tokens[rows] * (127.0 / largest[rows, None])).astype(np.int8)
    trust = np.rint(255.0 * reliability[rows].clip(0.0, 1.0)).astype(np.uint8)
    place = position[rows].astype('<f2')
    head = HEADER.pack(VERSION, len(rows), tokens.shape[1])
    return b''.join((head, whole.tobytes(), trust.tobytes(), place.tobytes()))


def unpack(blobs: Sequence[bytes | None]) -> tuple[LocalFeatures, np.ndarray]:
    """Local features of K places, padded to the longest, and which places have any, (K,) bool.

    Args:
        blobs: what `pack` made; None for a place without.

    Returns:
        Features on the CPU, tokens of unit length; without any blob they have no rows.

    Raises:
        MapDamagedError: a blob is damaged.
    """
    import torch  # maps are listed, copied and compressed without it

    from vpr_ros.records import LocalFeatures

    counts, dim = _sizes(blobs)
    shape = (len(blobs), int(counts.max(initial=0)))
    whole = np.zeros((*shape, dim), np.int8)
    trust, place = np.zeros(shape, np.uint8), np.zeros((*shape, 2), '<f2')
    for i, blob in enumerate(blobs):
        if blob is None:
            continue
        n = int(counts[i])
        start = HEADER.size + n * dim
        whole[i, :n] = np.frombuffer(blob, np.int8, n * dim, HEADER.size).reshape(n, dim)
        trust[i, :n] = np.frombuffer(blob, np.uint8, n, start)
        place[i, :n] = np.frombuffer(blob, '<f2', 2 * n, start + n).reshape(n, 2)
    valid = np.arange(shape[1]) < counts[:, None]
    tokens = torch.from_numpy(whole).float()
    length = torch.linalg.vector_norm(tokens, dim=2, keepdim=True)
    if not np.isfinite(place).all() or bool((length[:, :, 0] == 0).numpy()[valid].any()):
        raise MapDamagedError(DAMAGED.format('a value that cannot be'))
    features = LocalFeatures(
        tokens.div_(length.clamp_(min=1.0)),
        torch.from_numpy(valid),
        torch.from_numpy(place.astype(np.float32)),
        torch.from_numpy(trust.astype(np.float32) / 255.0),
    )
    return features, counts > 0


def _sizes(blobs: Sequence[bytes | None]) -> tuple[np.ndarray, int]:
    """Number of tokens of each, (K,), and their length."""
    counts, dims = np.zeros(len(blobs), np.int64), set()
    for i, blob in enumerate(blobs):
        if blob is None:
            continue
        if len(blob) < HEADER.size:
            raise MapDamagedError(DAMAGED.format(f'{len(blob)} bytes'))
        version, counts[i], dim = HEADER.unpack_from(blob)
        if version != VERSION:
            raise MapDamagedError(DAMAGED.format(f'version {version} instead of {VERSION}'))
        expected = HEADER.size + int(counts[i]) * _row_bytes(dim)
        if len(blob) != expected:
            raise MapDamagedError(DAMAGED.format(f'{len(blob)} bytes instead of {expected}'))
        dims.add(dim)
    if len(dims) > 1:
        raise MapDamagedError(
            DAMAGED.format(f'tokens of {" and ".join(map(str, sorted(dims)))} values')
        )
    return counts, dims.pop() if dims else DIM


def _row_bytes(dim: int) -> int:
    """Bytes of one token with its reliability and position."""
    return dim + 1 + 4
