"""Our own checkpoint format: safetensors, with a JSON header that says what the weights are.

The header travels in the safetensors metadata under the key `vpr_ros`. Nothing in such a file is
executed when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vpr_ros.errors import CheckpointError
from vpr_ros.models.place_model import PlaceModel, fingerprint
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
    part = path.with_name(path.name + '.part')
    save_file(weights, part, metadata={HEADER_KEY: json.dumps(asdict(header), sort_keys=True)})
    part.chmod(0o644)  # safetensors keeps its files to their owner
    os.replace(part, path)
    return header


def read_header(path: Path | str) -> Header:
    """Read what a checkpoint says of itself, without its weights.

    Raises:
        CheckpointError: no such file, not safetensors, or not one of ours.
    """
    with _opened(path) as file:
        return _header(path, file.metadata() or {})


def load_checkpoint(model: PlaceModel, path: Path | str) -> Header:
    """Load weights into a model, strictly, and give it their identity.

    Raises:
        CheckpointError: the file is missing, damaged, or made for another model or another
            preprocessing, or a tensor is missing, unexpected, of another shape or not finite.
    """
    with _opened(path) as file:
        header = _header(path, file.metadata() or {})
        if header.model != model.name:
            raise CheckpointError(
                f'{path} holds weights of {header.model}, expected {model.name}: '
                f'set model.name to {header.model} or give other weights'
            )
        weights = {key: file.get_tensor(key) for key in sorted(file.keys())}
    if fingerprint(header.model, header.input, weights) != header.fingerprint:
        raise CheckpointError(f'{path} is damaged: its weights do not match its fingerprint')
    load_strictly(model.network, weights, path)
    model.input = header.input
    model.similarity_threshold = header.similarity_threshold
    model.fingerprint = header.fingerprint
    return header


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
        if not torch.isfinite(weights[key]).all():
            raise CheckpointError(f'{path}: tensor {key} has values that are not finite')
    network.load_state_dict(dict(weights), strict=True)


def _stored(tensor: torch.Tensor, half: bool) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def _opened(path: Path | str) -> Any:
    if not Path(path).is_file():
        raise CheckpointError(f'no weights at {path}: expected a .safetensors file')
    try:
        return safe_open(str(path), framework='pt')
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path} is not a safetensors file: {error}') from None


def _header(path: Path | str, metadata: Mapping[str, str]) -> Header:
    try:
        data = json.loads(metadata[HEADER_KEY])
        if data['format'] != FORMAT:
            raise CheckpointError(
                f'{path} has checkpoint format {data["format"]}, this version reads {FORMAT}'
            )
        image_input: Any = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data['input'].items()
        }
        return Header(**{**data, 'input': ImageInput(**image_input)})
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(
            f'{path} has no vpr_ros header: expected a checkpoint written by `vpr train`'
        ) from None
