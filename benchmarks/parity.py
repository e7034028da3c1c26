"""Our models beside the authors' public code: same weights, same images, fp32, on the CPU.

    python benchmarks/parity.py --sage DIR --fol DIR --dinov2 DIR [--json OUT] [MODEL ...]

The folders are checkouts of github.com/chenshunpeng/SAGE, chenshunpeng/FoL and
facebookresearch/dinov2; a row needs its own one and that of DINOv2. Nothing is downloaded: both
sides get the same random weights, with LayerNorm, LayerScale and softmaxes as uneven as trained
ones. Printed is the largest difference over the mean magnitude of the authors' values; masks and
counts pass only if they are equal. A size at which the authors' code fails is said to.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from authors import Folders, hand_over, make_dinov2, make_fol, make_sage, randomise
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from vpr_ros.models.networks.dinov2 import VIT_BASE, VIT_LARGE, VIT_SMALL, VisionTransformer
from vpr_ros.models.networks.fol import Fol
from vpr_ros.models.networks.fol_masks import saliency, soft_mask
from vpr_ros.models.networks.sage import Sage
from vpr_ros.models.registry import MODELS
from vpr_ros.recognition.reranking import fol_scores
from vpr_ros.records import LocalFeatures

SIZES = ((322, 322), (224, 308), (504, 504))
TOLERANCE = 1e-4

Values = dict[str, torch.Tensor]  # by what they are


@dataclass(frozen=True)
class Row:
    """One comparison; `error` is None where the authors' code fails."""

    model: str
    size: str
    what: str
    error: float | None
    note: str = ''

    @property
    def verdict(self) -> str:
        if self.error is None:
            return f'theirs fails: {self.note}'
        return 'pass' if self.error <= TOLERANCE else 'FAIL'


@dataclass(frozen=True)
class Pair:
    """A network of ours and what makes the authors' one and asks it the same."""

    ours: Callable[[], nn.Module]
    theirs: Callable[[Folders, int], nn.Module]  # by width
    ask_ours: Callable[[Any, torch.Tensor], Values]
    ask_theirs: Callable[[Any, torch.Tensor], Values]
    folder: str = ''


def ask_our_backbone(network: VisionTransformer, images: torch.Tensor) -> Values:
    tokens = network(images)
    return {'class token': tokens.cls, 'tokens': tokens.patches}


def ask_their_backbone(network: Any, images: torch.Tensor) -> Values:
    found = network.forward_features(images)
    return {'class token': found['x_norm_clstoken'], 'tokens': found['x_norm_patchtokens']}


def ask_our_sage(network: Sage, images: torch.Tensor) -> Values:
    return {'tokens': network.tokens(images).patches, 'descriptor': network(images)}


def ask_their_sage(network: Any, images: torch.Tensor) -> Values:
    seen = watched(network, 'backbone')
    descriptor = network(images)
    return {'tokens': seen['backbone'][0].flatten(2).transpose(1, 2), 'descriptor': descriptor}


def ask_our_fol(network: Fol, images: torch.Tensor) -> Values:
    maps = network.maps(images)
    chosen = torch.zeros_like(maps.guide).scatter(1, network.places(maps), 1.0)
    local = network.local_features(maps)
    return {
        'attention guide': maps.guide,
        'descriptor': maps.descriptor,
        'soft mask': soft_mask(saliency(maps.assignment)),
        'binary mask': chosen,
        'local features': local.tokens,
        're-ranking score': fol_scores(local[0], part(local, slice(1, None))),
    }


def ask_their_fol(network: Any, images: torch.Tensor) -> Values:
    seen = watched(network, 'backbone', 'aggregator')
    try:
        local, failure = network(images, test=True)[1], None
    except RuntimeError as error:
        local, failure = None, error
    attention = seen['backbone'][2]
    descriptor, _, mask, _, _, soft, _ = seen['aggregator']
    values = {
        'attention guide': torch.where(attention >= 0.01, attention, 0.0),
        'descriptor': descriptor,
        'soft mask': soft,
        'binary mask': mask.flatten(1),
    }
    if failure is not None:
        return {**values, 'local features': failure, 're-ranking score': failure}
    score = network.match(local[0], local[1:], False, None)
    return {**values, 'local features': local, 're-ranking score': score}


def watched(network: nn.Module, *names: str) -> dict[str, tuple[torch.Tensor, ...]]:
    """Outputs of the named parts, as they are when they leave them; filled by the next call."""
    seen: dict[str, tuple[torch.Tensor, ...]] = {}

    def remember(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, __: Any, out: tuple) -> None:
            seen[name] = tuple(x.clone() if torch.is_tensor(x) else x for x in out)
            handle.remove()

        handle = module.register_forward_hook(hook)

    for name in names:
        remember(name, network.get_submodule(name))
    return seen


def part(local: LocalFeatures, some: slice) -> LocalFeatures:
    return LocalFeatures(*(value[some] for value in vars(local).values()))


def backbone_pair(config: Any) -> Pair:
    return Pair(
        partial(VisionTransformer, config), make_dinov2, ask_our_backbone, ask_their_backbone
    )


def sage_pair(name: str, cross: bool = False) -> Pair:
    make = partial(make_sage, cross=cross)
    return Pair(MODELS[name].network, make, ask_our_sage, ask_their_sage, 'sage')


PAIRS = {
    'dinov2_vits14': backbone_pair(VIT_SMALL),
    'dinov2_vitb14': backbone_pair(VIT_BASE),
    'dinov2_vitl14': backbone_pair(VIT_LARGE),
    'sage_vits': sage_pair('sage_vits'),
    'sage_vitb': sage_pair('sage_vitb'),
    'sage_vitl': sage_pair('sage_vitl'),
    'sage_vitl_cross': sage_pair('sage_vitl_cross', cross=True),
    'fol_vitb': Pair(MODELS['fol_vitb'].network, make_fol, ask_our_fol, ask_their_fol, 'fol'),
    'fol_vitl': Pair(MODELS['fol_vitl'].network, make_fol, ask_our_fol, ask_their_fol, 'fol'),
}


def pictures(size: tuple[int, int]) -> torch.Tensor:
    """A picture, the same one moved a little, and another, (3, 3, H, W), normalised."""
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(2, 3, *size)
    for octave in range(2, 7):
        cells = torch.randn(2, 3, 2**octave, 2**octave, generator=generator)
        images += F.interpolate(cells, size, mode='bicubic') / octave
    moved = images[:1].roll((3, -4), (2, 3))
    return torch.cat((images[:1], moved, images[1:]))


def compare(model: str, pair: Pair, folders: Folders, sizes: list[tuple[int, int]]) -> list[Row]:
    """Both networks on every size."""
    ours, rows = pair.ours().eval(), []
    theirs = pair.theirs(folders, getattr(ours, 'backbone', ours).config.dim).eval()
    randomise(theirs)
    hand_over(theirs, ours)
    for height, width in sizes:
        images = pictures((height, width))
        with torch.inference_mode():
            found, wanted = pair.ask_ours(ours, images), pair.ask_theirs(theirs, images.clone())
        for what, value in wanted.items():
            note, error = '', None
            if isinstance(value, Exception):
                note = str(value)
            else:
                difference = (found[what].double() - value.double()).abs().max()
                error = (difference / value.double().abs().mean()).item()
            rows.append(Row(model, f'{height}x{width}', what, error, note))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('models', nargs='*', metavar='MODEL', help=', '.join(PAIRS))
    parser.add_argument('--sage', default='', help="checkout of SAGE's code")
    parser.add_argument('--fol', default='', help="checkout of FoL's code")
    parser.add_argument('--dinov2', required=True, help="checkout of DINOv2's code")
    parser.add_argument('--sizes', nargs='+', default=['x'.join(map(str, s)) for s in SIZES])
    parser.add_argument('--json', help='also write the rows to this file')
    arguments = parser.parse_args()
    folders = Folders(arguments.sage, arguments.fol, arguments.dinov2)
    for path in filter(None, (folders.sage, folders.fol, folders.dinov2)):
        if not Path(path).is_dir():
            parser.error(f'no folder {path}: expected a checkout of the authors code')
    names = [n for n, pair in PAIRS.items() if not pair.folder or getattr(folders, pair.folder)]
    if unknown := set(arguments.models) - set(names):
        parser.error(f'no model {min(unknown)}, or its folder is not given: {", ".join(names)}')
    sizes = [tuple(map(int, size.split('x'))) for size in arguments.sizes]
    rows: list[Row] = []
    for name in track(arguments.models or names, 'comparing', console=Console(stderr=True)):
        rows += compare(name, PAIRS[name], folders, sizes)
    table = Table('model', 'size', 'what', 'difference', 'verdict')
    for row in rows:
        error = '-' if row.error is None else f'{row.error:.1e}'
        table.add_row(row.model, row.size, row.what, error, row.verdict)
    Console().print(f'torch {torch.__version__}, fp32, {torch.get_num_threads()} threads')
    Console().print(table)
    if arguments.json:
        text = json.dumps([{**asdict(row), 'verdict': row.verdict} for row in rows], indent=1)
        Path(arguments.json).write_text(text + '\n', encoding='utf-8')
    return int(any(row.verdict == 'FAIL' for row in rows))


if __name__ == '__main__':
    sys.exit(main())
