"""Whose weights they are: the names that others give to the tensors of our networks.

A table for each layout says, for a tensor of ours, which tensors of theirs it is made of. Read so,
a table finds what is missing and what is left over, and it can be turned round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from vpr_ros.errors import CheckpointError

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WIDTHS = {192: 'vitti', 384: 'vits', 768: 'vitb', 1024: 'vitl'}


@dataclass(frozen=True)
class Rule:
    """Which of their tensors one of ours is made of."""

    ours: str  # regular expression
    theirs: tuple[str, ...]  # in the order of the rows that each contributes
    convolution: bool = False  # theirs is a 1x1 convolution (O, I, 1, 1), ours linear (O, I)


@dataclass(frozen=True)
class Layout:
    """The names in one kind of file."""

    name: str
    sign: str  # regular expression: tensors that tell it from those below it in LAYOUTS
    rules: tuple[Rule, ...]
    unused: str = ''  # regular expression: tensors of theirs that no network of ours has
    families: tuple[str, ...] = ()  # how the names of models begin that take it; none: a backbone

    def parts(self, ours: str) -> tuple[tuple[str, ...], bool]:
        """Names of theirs that make up one of ours, and whether it is a convolution there.

        Raises:
            CheckpointError: this layout has nothing of the kind.
        """
        for rule in self.rules:
            if match := re.fullmatch(rule.ours, ours):
                return tuple(match.expand(name) for name in rule.theirs), rule.convolution
        raise CheckpointError(f'weights in the layout {self.name} have no tensor for {ours}')

    def width(self, weights: Mapping[str, torch.Tensor]) -> int:
        """Width C of the backbone; 0 where it cannot be told."""
        ours = 'backbone.cls_token' if self.families else 'cls_token'
        token = weights.get(self.parts(ours)[0][0])
        return token.shape[-1] if token is not None and token.ndim else 0


_SAME = (Rule('(.*)', (r'\1',)),)
_HEADS = (
    Rule(r'(aggregator\.(cluster_features|score)\.\d\.weight)', (r'\1',), convolution=True),
    Rule(r'(aggregator\..*)', (r'\1',)),
)
_BACKBONE = Rule(r'backbone\.(.*)', (r'backbone.model.\1',))
_HF_BLOCK = r'encoder.layer.\1.'

SAGE = Layout(
    'SAGE',
    r'aggregator\.soft_weighting\..*',
    (
        *_HEADS, _BACKBONE,
        Rule(r'(gpn_norms\..*)', (r'backbone.\1',)),
        Rule(r'(encoder\..*)', (r'\1',)),
    ),
    r'backbone\.model\.mask_token|aggregator\.single_branch\..*',
    ('sage',),
)  # fmt: skip
FOL = Layout(
    'FoL',
    r'upconv2?\..*',
    (*_HEADS, _BACKBONE, Rule(r'(upconv2?\..*)', (r'\1',))),
    r'backbone\.model\.mask_token',
    ('fol', 'folpp'),
)
DINOV2 = Layout('DINOv2 (torch.hub)', r'blocks\.\d+\.ls[12]\.gamma', _SAME, 'mask_token')
TIMM = Layout('ViT (timm)', r'blocks\.\d+\.norm1\.weight', _SAME, r'head\..*')
HUGGING_FACE = Layout(
    'DINOv2 (Hugging Face)',
    r'encoder\.layer\.\d+\.layer_scale[12]\.lambda1',
    (
        Rule('cls_token', ('embeddings.cls_token',)),
        Rule('pos_embed', ('embeddings.position_embeddings',)),
        Rule(r'patch_embed\.proj\.(.*)', (r'embeddings.patch_embeddings.projection.\1',)),
        Rule(
            r'blocks\.(\d+)\.attn\.qkv\.(.*)',
            tuple(_HF_BLOCK + rf'attention.attention.{n}.\2' for n in ('query', 'key', 'value')),
        ),
        Rule(r'blocks\.(\d+)\.attn\.proj\.(.*)', (_HF_BLOCK + r'attention.output.dense.\2',)),
        Rule(r'blocks\.(\d+)\.ls([12])\.gamma', (_HF_BLOCK + r'layer_scale\2.lambda1',)),
        Rule(r'blocks\.(\d+)\.((norm[12]|mlp\.fc[12])\..*)', (_HF_BLOCK + r'\2',)),
        Rule(r'norm\.(.*)', (r'layernorm.\1',)),
    ),
    r'embeddings\.mask_token|classifier\..*',
)
LAYOUTS = (SAGE, FOL, DINOV2, TIMM, HUGGING_FACE)


def detect(names: Iterable[str], path: Path | str) -> Layout:
    """The layout of a file by the names of its tensors.

    Raises:
        CheckpointError: none that is known here, or one with register tokens.
    """
    names = set(names)
    for name in sorted(names):
        if name.endswith(('register_tokens', 'reg_token')):
            raise CheckpointError(
                f'{path} has register tokens ({name}), which SAGE, FoL and their backbones do not '
                'have: take the checkpoint that was trained without registers'
            )
    for layout in LAYOUTS:
        if any(re.fullmatch(layout.sign, name) for name in names):
            return layout
    known = ', '.join(layout.name for layout in LAYOUTS)
    raise CheckpointError(
        f'{path} has no vpr_ros header, and its tensors are named as in none of {known}'
    )


def model_name(layout: Layout, weights: Mapping[str, torch.Tensor]) -> str:
    """Name of the model or backbone that weights belong to, as far as we have one."""
    width = layout.width(weights)
    if (size := WIDTHS.get(width)) is None:
        return f'{layout.name} of width {width}' if width else layout.name
    if not layout.families:
        return f'{layout.name} {size}'
    crossing = '_cross' if any(key.startswith('encoder.') for key in weights) else ''
    return f'{layout.families[0]}_{size}{crossing}'


def translate(
    layout: Layout,
    weights: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    path: Path | str,
) -> dict[str, torch.Tensor]:
    """Tensors under our names and in our shapes, in float32.

    Args:
        layout: whose names they have.
        weights: tensors under their names.
        expected: our tensors by name, of which the shape counts; may be on the meta device.
        path: the file, for the error.

    Raises:
        CheckpointError: a tensor is missing, left over, of another shape or not of floats.
    """
    translated: dict[str, torch.Tensor] = {}
    used: set[str] = set()
    for ours, wanted in expected.items():
        names, convolution = layout.parts(ours)
        rows = wanted.shape[0] // len(names)
        shape = (rows, *wanted.shape[1:], *((1, 1) if convolution else ()))
        parts = [_part(weights, name, shape, path) for name in names]
        joined = torch.cat(parts) if len(parts) > 1 else parts[0]
        translated[ours] = joined.reshape(wanted.shape)
        used.update(names)
    for name in sorted(weights.keys() - used):
        if not re.fullmatch(layout.unused, name):
            raise CheckpointError(f'{path} has a tensor {name} that the model does not know')
    return translated


def _part(
    weights: Mapping[str, torch.Tensor], name: str, shape: tuple[int, ...], path: Path | str
) -> torch.Tensor:
    if name not in weights:
        raise CheckpointError(f'{path} lacks the tensor {name}')
    tensor = weights[name]
    if tuple(tensor.shape) != shape:
        raise CheckpointError(
            f'{path}: tensor {name} has shape {tuple(tensor.shape)}, expected {shape}'
        )
    if tensor.dtype not in FLOATS:
        raise CheckpointError(f'{path}: tensor {name} has type {tensor.dtype}, expected floats')
    return tensor.float()
