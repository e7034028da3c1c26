"""What a file of weights is, and the same weights in our own format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vpr_ros.download import sha256
from vpr_ros.errors import CheckpointError
from vpr_ros.models.networks.dinov2 import (
    VIT_BASE,
    VIT_LARGE,
    VIT_SMALL,
    VIT_TINY,
    VisionTransformer,
)
from vpr_ros.models.networks.folpp import Folpp
from vpr_ros.models.place_model import fingerprint
from vpr_ros.models.registry import MODELS, load_model
from vpr_ros.models.weights.checkpoint import is_own, read_header, save_checkpoint, write_whole
from vpr_ros.models.weights.layouts import TIMM
from vpr_ros.models.weights.published import PUBLISHED, Published
from vpr_ros.models.weights.released import Released, open_safetensors, read_released

BACKBONES = {vit.dim: vit for vit in (VIT_SMALL, VIT_BASE, VIT_LARGE)}
SOURCE_KEY = 'vpr_ros_source'  # in the metadata of a converted backbone
LINEAGE = 'source'  # in the provenance of a converted model


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights says of itself, or was found to be."""

    kind: str  # how its tensors are named
    model: str
    tensors: int
    parameters: int
    sha256: str
    fingerprint: str | None  # of the model with these weights; None: no whole model of ours
    threshold: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    published: Published | None = None  # the published file that this is, byte for byte


def inspect(path: Path | str) -> WeightsFile:
    """Look at a file of weights: our own, or one of those that `load_checkpoint` reads.

    Raises:
        CheckpointError: no such file, damaged, not only weights, or in no layout known here.
    """
    if is_own(path):
        return _inspect_own(path)
    released, digest = read_released(path), sha256(path)
    weights = released.weights.values()
    known = [entry for entry in PUBLISHED.values() if entry.sha256 == digest]
    return WeightsFile(
        released.layout.name,
        released.model,
        len(weights),
        sum(tensor.numel() for tensor in weights),
        digest,
        _fingerprint(released),
        provenance=_backbone_source(path),
        published=known[0] if known else None,
    )


def convert(
    path: Path | str, out: Path | str, model: str = '', source: Mapping[str, Any] | None = None
) -> WeightsFile:
    """Write the weights of a released file in our own format, whole or not at all.

    A backbone becomes a safetensors file with DINOv2's own names, for `load_backbone`.

    Args:
        path: the released file.
        out: the `.safetensors` file.
        model: name of the model; empty takes the one that the weights belong to.
        source: what is known of the file, for the record.

    Raises:
        CheckpointError: the file is not what it should be, or `out` cannot be written.
    """
    if is_own(path):
        raise CheckpointError(f'{path} is a checkpoint of ours already: use it as it is')
    released = read_released(path)
    lineage = {
        'file': Path(path).name,
        'layout': released.layout.name,
        'sha256': sha256(path),
        **(source or {}),
    }
    if not released.layout.families:
        _convert_backbone(released, Path(out), lineage)
    else:
        name = model or released.model
        if name not in MODELS:
            raise CheckpointError(
                f'{path} holds {released.model}, which no model here is built for: '
                f'name one with --model if it fits'
            )
        del released  # a gigabyte
        ours = load_model(name, path)
        if isinstance(ours.network, Folpp):
            lineage['reliability'] = 'attention of the class token: FoL has no reliability branch'
        save_checkpoint(ours, Path(out), {LINEAGE: lineage})
    return inspect(out)


def _inspect_own(path: Path | str) -> WeightsFile:
    header = read_header(path)
    with open_safetensors(path) as file:
        shapes = [file.get_slice(key).get_shape() for key in sorted(file.keys())]
    return WeightsFile(
        'vpr_ros checkpoint',
        header.model,
        len(shapes),
        sum(torch.Size(shape).numel() for shape in shapes),
        sha256(path),
        header.fingerprint,
        header.similarity_threshold,
        header.provenance,
    )


def _fingerprint(released: Released) -> str | None:
    """Fingerprint of our model with these weights, if there is one."""
    if released.model not in MODELS:
        return None
    spec = MODELS[released.model]
    with torch.device('meta'):
        expected = spec.network().state_dict()
    return fingerprint(released.model, spec.input, released.for_model(released.model, expected))


def _convert_backbone(released: Released, out: Path, lineage: Mapping[str, Any]) -> None:
    width = released.layout.width(released.weights)
    config = VIT_TINY if released.layout is TIMM else BACKBONES.get(width)
    if config is None:
        raise CheckpointError(f'{released.path} holds {released.model}, which no model here uses')
    with torch.device('meta'):
        expected = VisionTransformer(config).state_dict()
    weights = released.for_backbone('a model here', config.dim, expected)
    stored = {key: tensor.contiguous() for key, tensor in weights.items()}
    write_whole(out, stored, {SOURCE_KEY: json.dumps(lineage, sort_keys=True)})


def _backbone_source(path: Path | str) -> dict[str, Any]:
    """What a converted backbone says of where it comes from."""
    try:
        with open_safetensors(path) as file:
            return {LINEAGE: json.loads((file.metadata() or {})[SOURCE_KEY])}
    except (CheckpointError, KeyError, ValueError):
        return {}
