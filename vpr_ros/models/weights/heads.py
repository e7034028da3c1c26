"""What was learned on a frozen backbone, in a file of its own: power norms, last norm, head.

A backbone that may not be shipped, or that everybody has already, stays out of the file; the head
is laid on top of the user's own copy and knows by a fingerprint whether it is the same one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from vpr_ros.errors import CheckpointError
from vpr_ros.models.place_model import PlaceModel, fingerprint
from vpr_ros.models.weights.checkpoint import load_backbone, load_strictly, write_whole
from vpr_ros.models.weights.inputs import check_threshold, read_input, require_patches
from vpr_ros.models.weights.released import open_safetensors, read_safetensors
from vpr_ros.records import ImageInput

FORMAT = 1
HEAD_KEY = 'vpr_ros_head'


@dataclass(frozen=True)
class HeadHeader:
    """What a head says of itself."""

    model: str
    input: ImageInput
    fingerprint: str  # of the model with head and backbone
    backbone: str  # fingerprint of the tensors that are not in the file
    backbone_file: str = ''  # name of the file that it was trained on
    similarity_threshold: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def save_head(
    model: PlaceModel,
    path: Path | str,
    learned: Collection[str],
    provenance: dict[str, Any] | None = None,
    backbone_file: str = '',
    half: bool = False,
) -> HeadHeader:
    """Write the tensors that were learned, whole or not at all; the model takes their identity.

    Args:
        model: with head and backbone.
        path: the `.safetensors` file.
        learned: names of the tensors to write.
        provenance: what they were made from; JSON values only.
        backbone_file: name of the file of the backbone, for people.
        half: store them as fp16; the model goes on with the rounded values.

    Raises:
        CheckpointError: the file cannot be written.
    """
    state = model.network.state_dict()
    stored = {k: state[k].detach().cpu().contiguous() for k in learned}
    if half:
        stored = {k: v.half() for k, v in stored.items()}
    whole = {**state, **{k: v.float() for k, v in stored.items()}}
    model.network.load_state_dict(whole)
    header = HeadHeader(
        model.name, model.input, fingerprint(model.name, model.input, whole),
        _frozen_fingerprint(model, learned), backbone_file, model.similarity_threshold,
        provenance or {},
    )  # fmt: skip
    write_whole(Path(path), stored, {HEAD_KEY: json.dumps(asdict(header), sort_keys=True)})
    model.fingerprint = header.fingerprint
    return header


def load_head(model: PlaceModel, path: Path | str, backbone: Path | str) -> HeadHeader:
    """Load a backbone and lay a head on top of it, strictly.

    Args:
        model: as `untrained_model` gives it.
        path: of the head.
        backbone: file of the backbone that the head was trained on, in any layout that
            `load_backbone` reads.

    Raises:
        CheckpointError: another model's head, one of another shape, another backbone than it was
            trained on, or a damaged file.
    """
    header, learned = _read(model, path)
    _require_same_shape(model, learned, path)
    require_patches(header.input, model.network.backbone.config.patch, path)
    load_backbone(model, backbone)
    if _frozen_fingerprint(model, learned) != header.backbone:
        wanted = f' ({header.backbone_file})' if header.backbone_file else ''
        raise CheckpointError(
            f'{backbone} is not the backbone that the head of {model.name} was trained on{wanted}:'
            ' its weights differ; give that file, or train a head with `vpr train --backbone`'
        )
    state = {**model.network.state_dict(), **{k: v.float() for k, v in learned.items()}}
    load_strictly(model.network, state, path)
    if fingerprint(header.model, header.input, state) != header.fingerprint:
        raise CheckpointError(f'{path} is damaged: its weights do not match its fingerprint')
    model.input = header.input
    model.similarity_threshold = header.similarity_threshold
    model.fingerprint = header.fingerprint
    return header


def is_head(path: Path | str) -> bool:
    """Whether a safetensors file is a head of ours."""
    with open_safetensors(path) as file:
        return HEAD_KEY in (file.metadata() or {})


def read_head_header(path: Path | str) -> HeadHeader:
    """What a head says of itself, without its weights.

    Raises:
        CheckpointError: no such file, or no head of ours.
    """
    with open_safetensors(path) as file:
        metadata = file.metadata() or {}
    try:
        data = json.loads(metadata[HEAD_KEY])
        if data['format'] != FORMAT:
            raise CheckpointError(
                f'{path} has format {data["format"]}, this version reads {FORMAT}'
            )
        check_threshold(data.get('similarity_threshold'))
        return HeadHeader(**{**data, 'input': read_input(data['input'])})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CheckpointError(f'{path} is not a head written by `vpr train --head-only`') from None


def _read(model: PlaceModel, path: Path | str) -> tuple[HeadHeader, Mapping[str, torch.Tensor]]:
    header = read_head_header(path)
    if header.model != model.name:
        raise CheckpointError(
            f'{path} is a head of {header.model}, expected one of {model.name}: '
            f'set model.name to {header.model} or give another head'
        )
    return header, read_safetensors(path)


def _require_same_shape(
    model: PlaceModel, learned: Mapping[str, torch.Tensor], path: Path | str
) -> None:
    """Whether the head is of this network, before its backbone is blamed for not fitting."""
    wanted = {
        name: tuple(tensor.shape)
        for name, tensor in model.network.state_dict().items()
        if name in learned or not name.startswith('backbone.')
    }
    found = {name: tuple(tensor.shape) for name, tensor in learned.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise CheckpointError(
                f'{path} is a head of another {model.name}: expected tensor {name} of shape '
                f'{wanted.get(name, "none")}, found {found.get(name, "none")}; take the head of '
                'this version of the package, or train one with `vpr train --head-only`'
            )


def _frozen_fingerprint(model: PlaceModel, learned: Collection[str]) -> str:
    """Of the tensors that the head is laid on; their names count, the input does not."""
    frozen = {k: v.float() for k, v in model.network.state_dict().items() if k not in learned}
    return fingerprint('backbone', ImageInput(size=(1, 1)), frozen)
