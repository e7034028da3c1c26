"""Checkpoints as released: names and shapes of section 7 of the method, in any size."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Widths:
    """Sizes of a backbone and the heads on it; the defaults are those of the released ViT-B."""

    dim: int = 768
    depth: int = 12
    grid: int = 37
    hidden: int = 512
    features: int = 128
    clusters: int = 64
    token: int = 256
    tuned: int = 4
    decoder: tuple[int, int] = (256, 128)


LARGE = Widths(dim=1024, depth=24)
TINY = Widths(32, 2, 5, 16, 8, 4, 8, 2, (16, 128))  # sage_test, fol_test, folpp_test


def linear(name: str, out: int, into: int, *kernel: int) -> Shapes:
    return {f'{name}.weight': (out, into, *kernel), f'{name}.bias': (out,)}


def norm(name: str, dim: int) -> Shapes:
    return {f'{name}.weight': (dim,), f'{name}.bias': (dim,)}


def dinov2(w: Widths) -> Shapes:
    """torch.hub names."""
    d = w.dim
    shapes: Shapes = {
        'cls_token': (1, 1, d), 'pos_embed': (1, 1 + w.grid**2, d), 'mask_token': (1, d),
        **linear('patch_embed.proj', d, 3, 14, 14), **norm('norm', d),
    }  # fmt: skip
    for i in range(w.depth):
        block = f'blocks.{i}'
        shapes |= {
            **norm(f'{block}.norm1', d), **norm(f'{block}.norm2', d),
            **linear(f'{block}.attn.qkv', 3 * d, d), **linear(f'{block}.attn.proj', d, d),
            f'{block}.ls1.gamma': (d,), f'{block}.ls2.gamma': (d,),
            **linear(f'{block}.mlp.fc1', 4 * d, d), **linear(f'{block}.mlp.fc2', d, 4 * d),
        }  # fmt: skip
    return shapes


def hugging_face(w: Widths) -> Shapes:
    d = w.dim
    embeddings = 'embeddings'
    shapes: Shapes = {
        f'{embeddings}.cls_token': (1, 1, d), f'{embeddings}.mask_token': (1, d),
        f'{embeddings}.position_embeddings': (1, 1 + w.grid**2, d),
        **linear(f'{embeddings}.patch_embeddings.projection', d, 3, 14, 14),
        **norm('layernorm', d),
    }  # fmt: skip
    for i in range(w.depth):
        layer = f'encoder.layer.{i}'
        for part in ('query', 'key', 'value'):
            shapes |= linear(f'{layer}.attention.attention.{part}', d, d)
        shapes |= {
            **norm(f'{layer}.norm1', d), **norm(f'{layer}.norm2', d),
            **linear(f'{layer}.attention.output.dense', d, d),
            f'{layer}.layer_scale1.lambda1': (d,), f'{layer}.layer_scale2.lambda1': (d,),
            **linear(f'{layer}.mlp.fc1', 4 * d, d), **linear(f'{layer}.mlp.fc2', d, 4 * d),
        }  # fmt: skip
    return shapes


def heads(w: Widths) -> Shapes:
    return {
        **linear('aggregator.token_features.0', w.hidden, w.dim),
        **linear('aggregator.token_features.2', w.token, w.hidden),
        **linear('aggregator.cluster_features.0', w.hidden, w.dim, 1, 1),
        **linear('aggregator.cluster_features.3', w.features, w.hidden, 1, 1),
        **linear('aggregator.score.0', w.hidden, w.dim, 1, 1),
        **linear('aggregator.score.3', w.clusters, w.hidden, 1, 1),
    }


def within(shapes: Shapes) -> Shapes:
    return {f'backbone.model.{name}': shape for name, shape in shapes.items()}


def sage(w: Widths, cross: bool = False) -> Shapes:
    shapes = {
        **within(dinov2(w)), **heads(w),
        **linear('aggregator.soft_weighting.predictor.0', 128, 1),
        **linear('aggregator.soft_weighting.predictor.2', 1, 128),
        **linear('aggregator.single_branch.0', w.hidden, w.dim, 1, 1),
        **linear('aggregator.single_branch.3', 192, w.hidden, 1, 1),
        **linear('aggregator.gpn.projection.0', w.clusters // 2, w.clusters),
        **linear('aggregator.gpn.projection.3', 1, w.clusters // 2),
    }  # fmt: skip
    for i in range(w.tuned):
        shapes |= linear(f'backbone.gpn_norms.{i}.projection.0', 16, w.dim)
        shapes |= linear(f'backbone.gpn_norms.{i}.projection.3', 1, 16)
    for i in range(2 * cross):
        layer = f'encoder.layers.{i}'
        shapes |= {
            f'{layer}.self_attn.in_proj_weight': (2304, 768),
            f'{layer}.self_attn.in_proj_bias': (2304,),
            **linear(f'{layer}.self_attn.out_proj', 768, 768),
            **linear(f'{layer}.linear1', 1024, 768), **linear(f'{layer}.linear2', 768, 1024),
            **norm(f'{layer}.norm1', 768), **norm(f'{layer}.norm2', 768),
        }  # fmt: skip
    return shapes


def fol(w: Widths) -> Shapes:
    middle, last = w.decoder
    return {
        **within(dinov2(w)), **heads(w),
        'upconv.weight': (w.dim, middle, 3, 3), 'upconv.bias': (middle,),
        'upconv2.weight': (middle, last, 3, 3), 'upconv2.bias': (last,),
    }  # fmt: skip


def tensors(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(shape, generator=rng) for name, shape in shapes.items()}


def on_meta(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device='meta') for name, shape in shapes.items()}


def container(weights: Mapping[str, torch.Tensor]) -> dict:
    """What the authors' training script saves: DataParallel's names, and figures in NumPy."""
    return {
        'epoch_num': 7,
        'model_state_dict': {f'module.{name}': tensor for name, tensor in weights.items()},
        'recalls': np.array([91.5, 96.0], dtype=np.float32),
        'best': np.float64(91.5),
        'losses': [np.arange(3, dtype=np.float64)],
    }


def rewrite(path: Path, change: Callable[[bytes], bytes], compress: bool = False) -> None:
    """Change the pickle inside a zip checkpoint."""
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    old = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with old, zipfile.ZipFile(path, 'w', kind) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith('/data.pkl') else data)
