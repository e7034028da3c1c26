"""The models by name. To add one: a line in MODELS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import torch

from vpr_ros.errors import ConfigError
from vpr_ros.models.checkpoint import load_checkpoint
from vpr_ros.models.dinov2 import VIT_BASE, VIT_LARGE, VIT_SMALL, VIT_TINY, VitConfig
from vpr_ros.models.network import PlaceNetwork
from vpr_ros.models.place_model import PlaceModel, resolve_device
from vpr_ros.models.sage import Sage, SageConfig
from vpr_ros.records import ImageInput

NANO_VIT = VitConfig(
    dim=192, depth=7, heads=3, patch=16, grid=15, layer_scale=False, stem=(24, 48, 96, 192)
)
NANO_HEAD = SageConfig(features=64, clusters=32, token=128, hidden=256)
TEST_VIT = VitConfig(dim=32, depth=2, heads=2, patch=14, grid=5)
TEST_HEAD = SageConfig(features=8, clusters=4, token=8, hidden=16, tuned_blocks=2)
INPUT_322 = ImageInput(size=(322, 322))


@dataclass(frozen=True)
class ModelSpec:
    """How to build a model; `bundled` names weights inside the package."""

    network: Callable[[], PlaceNetwork]
    input: ImageInput
    about: str
    bundled: str = ''

    @property
    def descriptor_dim(self) -> int:
        with torch.device('meta'):
            return self.network().descriptor_dim


def _sage(backbone: VitConfig, head: SageConfig | None = None) -> Callable[[], PlaceNetwork]:
    return partial(Sage, backbone, head or SageConfig())


MODELS: dict[str, ModelSpec] = {
    'sage_nano': ModelSpec(
        _sage(NANO_VIT, NANO_HEAD), ImageInput(size=(240, 240)),
        'our own small model for CPUs, weights bundled', 'sage_nano.safetensors',
    ),
    'sage_vitti': ModelSpec(_sage(VIT_TINY), ImageInput(size=(240, 240)), 'SAGE on ViT-Ti/16'),
    'sage_vits': ModelSpec(_sage(VIT_SMALL), INPUT_322, 'SAGE on DINOv2 ViT-S/14'),
    'sage_vitb': ModelSpec(_sage(VIT_BASE), INPUT_322, 'SAGE on DINOv2 ViT-B/14'),
    'sage_vitl': ModelSpec(_sage(VIT_LARGE), INPUT_322, 'SAGE on DINOv2 ViT-L/14'),
    'sage_test': ModelSpec(
        _sage(TEST_VIT, TEST_HEAD), ImageInput(size=(70, 70)), 'two narrow blocks, for tests only'
    ),
}  # fmt: skip


def build_model(name: str, device: str = 'auto', weights: Path | str = '') -> PlaceModel:
    """Build a model by name, with its weights where there are any.

    Args:
        name: a key of MODELS.
        device: `auto`, `cpu` or `cuda`.
        weights: checkpoint file; empty takes the bundled weights. A model without either is
            returned without weights, for `load_checkpoint` or training, and refuses to describe.

    Raises:
        ConfigError: no such model or device.
        CheckpointError: the weights are missing, damaged or another model's.
    """
    model, bundled = untrained_model(name), MODELS[name].bundled
    if weights or bundled:
        load_checkpoint(model, weights or bundled_weights(bundled))
    model.network.to(resolve_device(device))
    return model


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
