"""What runs of `benchmarks/sampler.py` share: settings, model, streams behind frozen blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vpr_ros.config import AugmentConfig, SamplerConfig, TrainConfig, ValidationConfig
from vpr_ros.models import PlaceModel
from vpr_ros.models.networks.dinov2 import VIT_TINY
from vpr_ros.models.networks.sage import Sage, SageConfig
from vpr_ros.models.registry import INPUT_TINY, NANO_HEAD, NANO_VIT, load_model
from vpr_ros.models.weights.checkpoint import load_backbone
from vpr_ros.training.feed import PictureFeed, StoredFeed, store_views
from vpr_ros.training.views import ViewSet

VARIANTS: dict[str, dict] = {
    'places': {'kind': 'places'},
    'cliques': {'kind': 'cliques'},
    'sage': {'kind': 'sage'},
    'sage-offline': {'kind': 'sage', 'online': False},
    'sage-unweighted': {'kind': 'sage', 'weighted': False},
    'sage-nosoft': {'kind': 'sage'},
    'sharp-unweighted': {'kind': 'sage', 'sharpness': 8.0, 'weighted': False},
}
SIDE = 160
VERSIONS = 2  # augmented ones of each view


@dataclass(frozen=True)
class Setting:
    """What all runs share."""

    train: tuple[str, ...]
    test: str
    backbone: str
    out: Path
    steps: int
    epochs: int
    places: int
    rate: float


def make_model(setting: Setting, seed: int, soft: bool = True) -> PlaceModel:
    """The bundled sage_nano; or, where a backbone is given, sage_vitti under a random head."""
    torch.manual_seed(seed)
    if setting.backbone:
        name, network = 'sage_vitti', Sage(VIT_TINY, SageConfig(soft_probing=soft))
        spec = INPUT_TINY
    else:
        bundled = load_model('sage_nano')
        name, spec = bundled.name, bundled.input
        network = Sage(NANO_VIT, replace(NANO_HEAD, soft_probing=soft))
        network.load_state_dict(bundled.network.state_dict(), strict=soft)
    model = PlaceModel(name, network, replace(spec, size=(SIDE, SIDE)))
    if setting.backbone:
        load_backbone(model, setting.backbone)
    model.network.eval()
    return model


def make_config(setting: Setting, variant: str, seed: int) -> TrainConfig:
    sampler = replace(SamplerConfig(heading_rad=0.8), **VARIANTS[variant])
    # What is mined once is mined for all steps, as much as the others mine in all.
    once = sampler.kind == 'cliques' or (sampler.kind == 'sage' and not sampler.online)
    epoch = setting.steps // (1 if once else setting.epochs)
    name = 'sage_vitti' if setting.backbone else 'sage_nano'
    return TrainConfig(
        model=name, trainable='head', device='cpu', precision='bf16', seed=seed,
        steps=setting.steps, epoch_steps=epoch,
        places_per_batch=setting.places, views_per_place=4, learning_rate=setting.rate,
        average=0.9, save_every=10**9, sampler=sampler, validation=ValidationConfig(share=0.0),
        augment=AugmentConfig(smallest_crop=0.7, tilt_deg=4.0, random_ops=0),
    )  # fmt: skip


class Pictures:
    """Pictures of an evaluation set."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return str(index)

    def read(self, index: int) -> np.ndarray:
        return self.images[index]

    def check(self, index: int) -> str:
        return ''


def views_of(images: list[np.ndarray]) -> ViewSet:
    none = np.zeros(len(images), np.int64)
    nowhere = np.full((len(images), 2), np.nan)
    return ViewSet(Pictures(images), nowhere, nowhere[:, 0], none, none, none, ('images',))


def stored(name: str, views: ViewSet, setting: Setting, versions: int) -> StoredFeed:
    """Streams of views behind the frozen blocks, made once."""
    folder = setting.out / 'streams' / name
    model = make_model(setting, 0)
    config = replace(make_config(setting, 'places', 0), stored_views=versions)
    frozen = model.network.first_adapted
    if (folder / 'done').exists():
        return StoredFeed.reopened(folder, (SIDE // 16, SIDE // 16), frozen)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = PictureFeed(views, model, config, torch.device('cpu'))
    with torch.autocast('cpu', torch.bfloat16):
        feed = store_views(pictures, len(views), model, config, folder, frozen)
    feed.file.flush()
    (folder / 'done').touch()
    return feed


def describe(model: PlaceModel, feed: StoredFeed) -> np.ndarray:
    model.network.eval()
    rows = []
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        for stream in feed.plain(np.arange(feed.file.shape[1])):
            rows.append(model.network(stream).float().numpy())
    x = np.concatenate(rows)
    return x / np.linalg.norm(x, axis=1, keepdims=True)
