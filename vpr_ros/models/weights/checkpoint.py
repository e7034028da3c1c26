"""Weights into models and out of them.

Our own format is safetensors, with a JSON header that says what the weights are; it travels in the
safetensors metadata under the key `vpr_ros`. The files that the authors of SAGE, FoL and DINOv2
released are read, too. Nothing in a file is executed when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from vpr_ros.errors import CheckpointError
from vpr_ros.models.networks.dinov2 import VisionTransformer
from vpr_ros.models.networks.folpp import Folpp
from vpr_ros.models.place_model import PlaceModel, fingerprint
from vpr_ros.models.weights.inputs import check_threshold, read_input, require_patches
from vpr_ros.models.weights.layouts import FLOATS
from vpr_ros.models.weights.released import (
    BRANCH,
    open_safetensors,
    read_released,
    read_safetensors,
)
from vpr_ros.models.weights.unpickling import is_torch_file
from vpr_ros.records import ImageInput

FORMAT = 1
HEADER_KEY = 'vpr_ros'


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself."""

    model: str
    input: ImageInput
    fingerprint: str
    similarity_threshold: float | None = None  # cosine above which the trainer trusts a match
    provenance: dict[str, Any] = field(default_factory=dict)  # data, recipe, figures
    format: int = FORMAT


def save_checkpoint(
    model: PlaceModel,
    path: Path | str,
    provenance: dict[str, Any] | None = None,
    half: bool = False,
) -> Header:
    """Write a model's weights, whole or not at all.

    Args:
        model: its network's state is written.
        path: the `.safetensors` file.
        provenance: what the weights were made from; JSON values only.
        half: store weights as fp16, at half the size.

    Returns:
        The header written.

    Raises:
        CheckpointError: the file cannot be written.
    """
    path = Path(path)
    weights = {k: _stored(v, half) for k, v in model.network.state_dict().items()}
    header = Header(
        model=model.name,
        input=model.input,
        fingerprint=fingerprint(model.name, model.input, weights),
        similarity_threshold=model.similarity_threshold,
        provenance=provenance or {},
    )
    write_whole(path, weights, {HEADER_KEY: json.dumps(asdict(header), sort_keys=True)})
    return header


def write_whole(path: Path, weights: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        CheckpointError: it cannot be written.
    """
    part = path.with_name(path.name + '.part')
    try:
        save_file(weights, part, metadata=metadata)
        part.chmod(0o644)  # safetensors keeps its files to their owner
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'cannot write {path}: {error}') from None
    finally:
        part.unlink(missing_ok=True)


def read_header(path: Path | str) -> Header:
    """Read what a checkpoint says of itself, without its weights.

    Raises:
        CheckpointError: no such file, not safetensors, or not one of ours.
    """
    if not is_own(path):
        raise CheckpointError(
            f'{path} has no vpr_ros header: expected a checkpoint written by `vpr train`; '
            'see `vpr weights info`'
        )
    with open_safetensors(path) as file:
        return _header(path, file.metadata() or {})


def is_own(path: Path | str) -> bool:
    """Whether a file is a checkpoint of ours.

    Raises:
        CheckpointError: no such file, or neither safetensors nor a torch checkpoint.
    """
    if Path(path).is_file() and is_torch_file(path):
        return False
    with open_safetensors(path) as file:
        return HEADER_KEY in (file.metadata() or {})


def load_checkpoint(model: PlaceModel, path: Path | str) -> Header:
    """Load weights into a model, strictly, and give it their identity.

    Besides our own files, those that the authors of SAGE and FoL released; these come without a
    similarity threshold. FoL++ takes the weights of FoL and then has no reliability branch.

    Raises:
        CheckpointError: the file is missing, damaged, would run code, or is made for another model
            or another preprocessing, or a tensor is missing, unexpected, of another shape or not
            finite.
    """
    header, weights = (_own if is_own(path) else _released)(model, path)
    require_patches(header.input, model.network.backbone.config.patch, path)
    if isinstance(model.network, Folpp) and not any(key.startswith(BRANCH) for key in weights):
        _load_without_branch(model.network, weights, path)
    else:
        load_strictly(model.network, weights, path)
    model.input = header.input
    model.similarity_threshold = header.similarity_threshold
    model.fingerprint = header.fingerprint
    return header


def load_backbone(model: PlaceModel, path: Path | str) -> None:
    """Load a backbone under a head that is yet to be trained.

    It is a published one (DINOv2, timm's ViT), or that of another model of ours with the same
    backbone. Where the model leaves blocks out, they must be there all the same, and are left
    behind. The model keeps its head, and still refuses to describe.

    Raises:
        CheckpointError: as for `load_checkpoint`; also released weights of a whole model, a
            checkpoint of this very model, or one with other pixel values.
    """
    backbone = model.network.backbone
    beyond = _left_out(backbone)
    if is_own(path):
        weights = _own_backbone(model, path)
    else:
        expected = {**backbone.state_dict(), **beyond}
        weights = read_released(path).for_backbone(model.name, backbone.config.dim, expected)
    load_strictly(backbone, {k: v for k, v in weights.items() if k not in beyond}, path)
    model.fingerprint, model.similarity_threshold = None, None


def load_strictly(
    network: torch.nn.Module, weights: Mapping[str, torch.Tensor], path: Path | str
) -> None:
    """Copy weights into a network; every tensor must be there, fit and be finite."""
    expected = network.state_dict()
    for key in sorted(expected.keys() | weights.keys()):
        if key not in weights:
            raise CheckpointError(f'{path} lacks the tensor {key}')
        if key not in expected:
            raise CheckpointError(f'{path} has a tensor {key} that the model does not know')
        found, wanted = tuple(weights[key].shape), tuple(expected[key].shape)
        if found != wanted:
            raise CheckpointError(f'{path}: tensor {key} has shape {found}, expected {wanted}')
        if weights[key].dtype not in FLOATS:
            raise CheckpointError(
                f'{path}: tensor {key} has type {weights[key].dtype}, not floats'
            )
        if not torch.isfinite(weights[key]).all():
            raise CheckpointError(f'{path}: tensor {key} has values that are not finite')
    network.load_state_dict(dict(weights), strict=True)


def _load_without_branch(
    network: Folpp, weights: Mapping[str, torch.Tensor], path: Path | str
) -> None:
    """As `load_strictly`, weights of FoL; where they are refused, the branch stays."""
    branch = network.reb
    network.rely_on_attention()
    try:
        load_strictly(network, weights, path)
    except CheckpointError:
        network.reb = branch
        raise


def _left_out(backbone: VisionTransformer) -> dict[str, torch.Tensor]:
    """Tensors of the published blocks that are not run, of which the shape counts."""
    config, block = backbone.config, backbone.blocks[0].state_dict()
    indices = range(config.depth, config.depth + config.left_out)
    return {f'blocks.{index}.{name}': part for index in indices for name, part in block.items()}


def _stored(tensor: torch.Tensor, half: bool) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def _own_backbone(model: PlaceModel, path: Path | str) -> dict[str, torch.Tensor]:
    """Backbone of a checkpoint of ours of another model."""
    header, start = read_header(path), 'backbone.'
    if header.model == model.name:
        raise CheckpointError(
            f'{path} holds the whole model {header.model}, expected a backbone alone: '
            'give it with the setting weights'
        )
    if (header.input.mean, header.input.std) != (model.input.mean, model.input.std):
        raise CheckpointError(
            f'{path} was trained on pixels normalised by {header.input.mean}, '
            f'{header.input.std}, but {model.name} takes {model.input.mean}, {model.input.std}: '
            'give another backbone'
        )
    weights = _undamaged(header, path)
    return {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}


def _own(model: PlaceModel, path: Path | str) -> tuple[Header, dict[str, torch.Tensor]]:
    header = read_header(path)
    if header.model != model.name:
        raise CheckpointError(
            f'{path} holds weights of {header.model}, expected {model.name}: '
            f'set model.name to {header.model} or give other weights'
        )
    return header, _undamaged(header, path)


def _undamaged(header: Header, path: Path | str) -> dict[str, torch.Tensor]:
    weights = read_safetensors(path)
    if fingerprint(header.model, header.input, weights) != header.fingerprint:
        raise CheckpointError(f'{path} is damaged: its weights do not match its fingerprint')
    return weights


def _released(model: PlaceModel, path: Path | str) -> tuple[Header, dict[str, torch.Tensor]]:
    released = read_released(path)
    weights = released.for_model(model.name, model.network.state_dict())
    identity = fingerprint(model.name, model.input, weights)
    provenance = {'layout': released.layout.name, 'file': Path(path).name}
    return Header(model.name, model.input, identity, None, provenance), weights


def _header(path: Path | str, metadata: Mapping[str, str]) -> Header:
    try:
        data = json.loads(metadata[HEADER_KEY])
        if data['format'] != FORMAT:
            raise CheckpointError(
                f'{path} has checkpoint format {data["format"]}, this version reads {FORMAT}'
            )
        check_threshold(data.get('similarity_threshold'))
        return Header(**{**data, 'input': read_input(data['input'])})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CheckpointError(
            f'{path} has a damaged vpr_ros header: expected a checkpoint written by `vpr train`'
        ) from None
