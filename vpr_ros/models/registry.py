"""The models by name. To add one: a line in MODELS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import torch

from vpr_ros.errors import ConfigError
from vpr_ros.models.networks.dinov2 import VIT_BASE, VIT_LARGE, VIT_SMALL, VIT_TINY, VitConfig
from vpr_ros.models.networks.fol import Fol, FolConfig
from vpr_ros.models.networks.folpp import Folpp, FolppConfig
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.networks.sage import Sage, SageConfig
from vpr_ros.models.networks.sage_cross import CrossConfig, SageCross
from vpr_ros.models.place_model import PlaceModel
from vpr_ros.models.weights.checkpoint import load_checkpoint
from vpr_ros.models.weights.heads import load_head
from vpr_ros.models.weights.published import fetched_weights
from vpr_ros.models.weights.released import is_backbone
from vpr_ros.records import ImageInput

NANO_VIT = VitConfig(
    dim=192, depth=7, heads=3, patch=16, grid=15, layer_scale=False, stem=(24, 48, 96, 192)
)
NANO_HEAD = SageConfig(features=64, clusters=32, token=128, hidden=256)
# Places are told apart best by middle features; the last blocks of a classifier know its classes.
LOWER_TINY = replace(VIT_TINY, depth=7, left_out=5)
TEST_VIT = VitConfig(dim=32, depth=2, heads=2, patch=14, grid=5)
TEST_HEAD = SageConfig(features=8, clusters=4, token=8, hidden=16, tuned_blocks=2)
TEST_FOL = FolConfig(features=8, clusters=4, token=8, hidden=16, decoder=(16, 128), positions=10)
TEST_FOLPP = FolppConfig(8, 4, 8, 16, decoder=(16, 128), levels=2, reduced=8)
NANO_FOLPP = FolppConfig(64, 32, 128, 256, decoder=(128, 128))
INPUT_322 = ImageInput(size=(322, 322))
# The published ViT-Ti/16 was trained on pixels in -1 to 1, DINOv2's on ImageNet's mean and std.
INPUT_TINY = ImageInput(size=(240, 240), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@dataclass(frozen=True)
class ModelSpec:
    """How to build a model.

    `bundled` names weights inside the package, `head` such without the backbone, which the user
    then gives in place of a checkpoint.
    """

    network: Callable[[], PlaceNetwork]
    input: ImageInput
    about: str
    bundled: str = ''
    head: str = ''

    @property
    def descriptor_dim(self) -> int:
        with torch.device('meta'):
            return self.network().descriptor_dim


def _sage(backbone: VitConfig, head: SageConfig | None = None) -> Callable[[], PlaceNetwork]:
    return partial(Sage, backbone, head or SageConfig())


def _fol(backbone: VitConfig, config: FolConfig | None = None) -> Callable[[], PlaceNetwork]:
    return partial(Fol, backbone, config or FolConfig())


def _folpp(backbone: VitConfig, config: FolppConfig | None = None) -> Callable[[], PlaceNetwork]:
    return partial(Folpp, backbone, config or FolppConfig())


MODELS: dict[str, ModelSpec] = {
    'sage_nano': ModelSpec(
        _sage(NANO_VIT, NANO_HEAD), ImageInput(size=(240, 240)),
        'our own small model for CPUs, weights bundled', 'sage_nano.safetensors',
    ),
    'sage_vitti': ModelSpec(
        _sage(LOWER_TINY), INPUT_TINY,
        'SAGE on the first seven blocks of ViT-Ti/16; head bundled, give the backbone as weights',
        head='sage_vitti_head.safetensors',
    ),
    'sage_vits': ModelSpec(_sage(VIT_SMALL), INPUT_322, 'SAGE on DINOv2 ViT-S/14'),
    'sage_vitb': ModelSpec(_sage(VIT_BASE), INPUT_322, 'SAGE on DINOv2 ViT-B/14'),
    'sage_vitl': ModelSpec(_sage(VIT_LARGE), INPUT_322, 'SAGE on DINOv2 ViT-L/14'),
    'sage_vitl_cross': ModelSpec(
        partial(SageCross, VIT_LARGE, SageConfig(), CrossConfig()), INPUT_322,
        'sage_vitl with attention across the images of a batch, for evaluation only',
    ),
    'fol_vitb': ModelSpec(_fol(VIT_BASE), INPUT_322, 'FoL on DINOv2 ViT-B/14'),
    'fol_vitl': ModelSpec(_fol(VIT_LARGE), INPUT_322, 'FoL on DINOv2 ViT-L/14'),
    'folpp_nano': ModelSpec(
        _folpp(NANO_VIT, NANO_FOLPP), ImageInput(size=(240, 240)),
        'FoL++, reconstructed, on the backbone of sage_nano; weights bundled',
        'folpp_nano.safetensors',
    ),
    'folpp_vitti': ModelSpec(_folpp(VIT_TINY), INPUT_TINY, 'FoL++, reconstructed, on ViT-Ti/16'),
    'folpp_vits': ModelSpec(_folpp(VIT_SMALL), INPUT_322, 'FoL++, reconstructed, on ViT-S/14'),
    'folpp_vitb': ModelSpec(_folpp(VIT_BASE), INPUT_322, 'FoL++, reconstructed, on ViT-B/14'),
    'folpp_vitl': ModelSpec(_folpp(VIT_LARGE), INPUT_322, 'FoL++, reconstructed, on ViT-L/14'),
    'sage_test': ModelSpec(
        _sage(TEST_VIT, TEST_HEAD), ImageInput(size=(70, 70)), 'two narrow blocks, for tests only'
    ),
    'fol_test': ModelSpec(
        _fol(TEST_VIT, TEST_FOL), ImageInput(size=(70, 70)), 'two narrow blocks, for tests only'
    ),
    'folpp_test': ModelSpec(
        _folpp(TEST_VIT, TEST_FOLPP), ImageInput(size=(70, 70)),
        'two narrow blocks, for tests only',
    ),
}  # fmt: skip


def build_model(
    name: str, device: str = 'auto', weights: Path | str = '', precision: str = 'auto'
) -> PlaceModel:
    """Build a model by name, with its weights where there are any, ready to describe images.

    Args:
        name: a key of MODELS.
        device: `auto`, `cpu` or `cuda`; `auto` takes a GPU where there is one with enough memory.
        weights: checkpoint file; empty takes those of `find_weights`. A model without either is
            returned without weights, for `load_checkpoint` or training, and refuses to describe.
        precision: `auto`, `fp32`, `bf16`, `fp16` or `int8`; `auto` takes the fastest that stays
            within cosine 0.999 of fp32.

    Raises:
        ConfigError: no such model or device, or the device does not compute in that precision.
        CheckpointError: the weights are missing, damaged or another model's.
    """
    model = load_model(name, weights)
    model.place(device, precision)
    return model


def load_model(name: str, weights: Path | str = '') -> PlaceModel:
    """A model in fp32 with its weights where there are any: to be trained, converted, exported.

    Args:
        name: a key of MODELS.
        weights: checkpoint file; empty takes those of `find_weights`. For a model with a head in
            the package, the file of its backbone does, too.

    Raises:
        ConfigError: no such model.
        CheckpointError: the weights are missing, damaged or another model's.
    """
    model = untrained_model(name)
    path, head = weights or find_weights(name), MODELS[name].head
    if path and head and is_backbone(path):
        load_head(model, bundled_weights(head), path)
    elif path:
        load_checkpoint(model, path)
    return model


def find_weights(name: str) -> Path | None:
    """Weights of a model on this machine: bundled, or else fetched with `vpr weights fetch`."""
    if bundled := MODELS[name].bundled:
        return bundled_weights(bundled)
    fetched = fetched_weights(name)
    return fetched if fetched.is_file() else None


def untrained_model(name: str, seed: int = 0) -> PlaceModel:
    """A model with random weights, the same from the same seed: to be trained or loaded.

    Raises:
        ConfigError: no such model.
    """
    if name not in MODELS:
        raise ConfigError(f'no model {name!r}: expected one of {", ".join(MODELS)}')
    spec = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PlaceModel(name, spec.network(), spec.input)


def bundled_weights(file: str) -> Path:
    """Path of a checkpoint that is installed with the package."""
    return Path(str(files('vpr_ros') / 'resource' / file))
