"""The authors' networks, built from checkouts of their code, and weights handed to and fro.

The checkouts are github.com/chenshunpeng/SAGE, chenshunpeng/FoL and facebookresearch/dinov2, which
both take their backbone from. Nothing is downloaded, and no module of theirs stays loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch import nn

from vpr_ros.models.networks.fol import Fol
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.networks.sage_cross import SageCross
from vpr_ros.models.weights.layouts import detect, translate

HUB_NAMES = {384: 'dinov2_vits14', 768: 'dinov2_vitb14', 1024: 'dinov2_vitl14'}
# What the authors' modules import and the calls here do not use.
NOT_USED = ('faiss', 'matplotlib', 'matplotlib.pyplot', 'prettytable', 'tqdm')


@dataclass(frozen=True)
class Folders:
    """Where the checkouts are; empty: there is none."""

    sage: str
    fol: str
    dinov2: str


@contextmanager
def authors_code(folder: str, dinov2: str) -> Iterator[None]:
    """Import from the authors' folders inside, and leave no module of theirs behind."""
    folders = [str(Path(path).resolve()) for path in (folder, dinov2) if path]
    stubs = {n: MagicMock() for n in NOT_USED if importlib.util.find_spec(n.split('.')[0]) is None}
    hub_load = torch.hub.load
    sys.modules.update(stubs)
    sys.path[:0] = folders
    torch.hub.load = lambda _, name, **__: hub_backbone(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        torch.hub.load = hub_load
        del sys.path[: len(folders)]
        for name, module in list(sys.modules.items()):
            if name in stubs or lies_in(module, folders):
                del sys.modules[name]


def lies_in(module: types.ModuleType, folders: list[str]) -> bool:
    if type(module) is not types.ModuleType:  # torch.ops and the like answer to any name
        return False
    paths = [getattr(module, '__file__', None), *getattr(module, '__path__', [])]
    return any(str(path).startswith(folder + os.sep) for path in paths for folder in folders)


def hub_backbone(name: str) -> nn.Module:
    return getattr(importlib.import_module('dinov2.hub.backbones'), name)(pretrained=False)


def make_dinov2(folders: Folders, width: int) -> nn.Module:
    with authors_code('', folders.dinov2):
        return hub_backbone(HUB_NAMES[width])


def make_fol(folders: Folders, width: int) -> nn.Module:
    with authors_code(folders.fol, folders.dinov2):
        network = importlib.import_module('network_FoL')
        theirs = network.FoLNet(num_channels=width, model_name=HUB_NAMES[width])
        theirs.match = importlib.import_module('test_FoL').match_batch_tensor
        return theirs


def make_sage(folders: Folders, width: int, cross: bool = False) -> nn.Module:
    """Their network, whose ViT-L is hard-coded, with the parts of another width put in."""
    with authors_code(folders.sage, folders.dinov2), quiet():
        network = importlib.import_module('network')
        backbone, aggregator = network.DINOv2, network.SoftP
        network.DINOv2 = lambda **k: backbone(**{**k, 'model_name': HUB_NAMES[width]})
        network.SoftP = lambda **k: aggregator(**{**k, 'num_channels': width})
        return network.SAGE(types.SimpleNamespace(crossimage_encoder=cross))


@contextmanager
def quiet() -> Iterator[None]:
    """Without what a constructor prints."""
    shown, sys.stdout = sys.stdout, open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115
    try:
        yield
    finally:
        sys.stdout.close()
        sys.stdout = shown


def counterpart(folders: Folders, ours: PlaceNetwork) -> nn.Module:
    """Their network of the same kind with our weights; it answers descriptors, or them first."""
    width = ours.backbone.config.dim
    if isinstance(ours, Fol):
        theirs = make_fol(folders, width)
        theirs.forward = partial(theirs.forward, test=True)
    else:
        theirs = make_sage(folders, width, cross=isinstance(ours, SageCross))
    hand_back(ours, theirs)
    return theirs.eval()


# Scale of a weight by part of its name: sharper before a softmax, gentler before a sigmoid.
GAINS = {
    'patch_embed.': 3.0, '.qkv.': 1.7, '.score.3.': 5.0,
    '.predictor.0.': 0.1, '.projection.3.': 0.2,
}  # fmt: skip


@torch.no_grad()
def randomise(network: nn.Module) -> None:
    """Weights that keep the scale of what flows through them, with uneven norms and biases."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.named_parameters():
        layer = network.get_submodule(name.rpartition('.')[0])
        value.normal_(generator=generator)
        if name.endswith('.gamma'):
            value.mul_(0.5).exp_().mul_(0.5)
        elif isinstance(layer, nn.LayerNorm) and name.endswith('.weight'):
            value.mul_(0.5).exp_()
        elif isinstance(layer, nn.ConvTranspose2d) and name.endswith('.weight'):
            value.mul_((value[:, 0].numel() / 4) ** -0.5)  # a quarter of the taps meet a cell
        elif name.endswith('weight'):
            gain = next((g for part, g in GAINS.items() if part in name), 1.0)
            value.mul_(gain * value[0].numel() ** -0.5)
        else:
            value.mul_(0.3)


def hand_over(theirs: nn.Module, ours: nn.Module) -> None:
    """Their weights to our network, through the table that their released files are read by."""
    weights = theirs.state_dict()
    layout = detect(weights, 'their network')
    ours.load_state_dict(translate(layout, weights, ours.state_dict(), 'their network'))


def hand_back(ours: nn.Module, theirs: nn.Module) -> None:
    """Our weights to their network; parts that they store and never call keep theirs."""
    weights = theirs.state_dict()
    layout = detect(weights, 'their network')
    for key, value in ours.state_dict().items():
        (name,), _ = layout.parts(key)
        weights[name] = value.reshape(weights[name].shape)
    theirs.load_state_dict(weights)
