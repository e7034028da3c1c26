"""A training that was interrupted, in one file: enough to go on as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vpr_ros.config import TrainConfig, to_dict
from vpr_ros.errors import CheckpointError
from vpr_ros.models import PlaceModel
from vpr_ros.models.place_model import fingerprint
from vpr_ros.training.views import ViewSet

FORMAT = 1
KEY = 'vpr_ros_training'
# Settings that may change between an interruption and the rest of the run.
FREE = ('device', 'decoders', 'save_every', 'backbone', 'weights', 'teacher')


@dataclass
class State:
    """What the loop needs besides its settings and data.

    Tensors by name: `weights/...`, `average/...`, AdamW's `first/...`, `second/...` and
    `count/...`, `best/...`, `plan/images` and `plan/labels`.
    """

    step: int  # the next one
    run: dict[str, Any]  # what must be the same to go on: settings, data, starting weights
    progress: dict[str, Any] = field(default_factory=dict)  # JSON: best, history, losses ...
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Tensors below a prefix, by the rest of their names."""
        start = prefix + '/'
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def save_state(state: State, path: Path) -> None:
    """Write a state whole; what was at the path stays until the new one is safe on disk.

    Raises:
        CheckpointError: it cannot be written, for want of space perhaps; the old one is intact.
    """
    words = {'format': FORMAT, 'step': state.step, 'run': state.run, 'progress': state.progress}
    part = path.with_name(path.name + '.part')
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.tensors.items()}
    try:
        save_file(tensors, part, metadata={KEY: json.dumps(words)})
        with part.open('rb') as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        left = (
            'the state saved before is intact: make room and go on with --resume'
            if path.exists()
            else 'none was saved before: make room and start again'
        )
        raise CheckpointError(
            f'cannot save the training at step {state.step} to {path}: {error}; {left}'
        ) from None
    finally:
        part.unlink(missing_ok=True)


def load_state(path: Path) -> State:
    """Read a saved state.

    Raises:
        CheckpointError: no such file, damaged, or something else.
    """
    if not path.is_file():
        raise CheckpointError(f'no saved training at {path}: start without --resume')
    try:
        with safe_open(path, 'pt') as file:
            words = json.loads((file.metadata() or {})[KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if words['format'] != FORMAT:
            raise CheckpointError(
                f'{path} has format {words["format"]}, this version reads {FORMAT}'
            )
        return State(words['step'], words['run'], words['progress'], tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise CheckpointError(
            f'{path} is damaged or no saved training: expected the state of an earlier '
            '`vpr train`; start without --resume'
        ) from None


def require_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on with something else: the curve would belong to neither.

    Raises:
        CheckpointError: the first setting, data or starting weights that differ.
    """
    for key in sorted(saved.keys() | now.keys()):
        if saved.get(key) != now.get(key):
            raise CheckpointError(
                f'{path} was trained with {key} = {_short(saved.get(key))}, found '
                f'{_short(now.get(key))}: give the same again, or start without --resume'
            )


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: Mapping[str, torch.nn.Parameter]
) -> dict[str, torch.Tensor]:
    """AdamW's moments by the names of the parameters; none before the first step."""
    found = {}
    for name, parameter in names.items():
        moments = optimizer.state.get(parameter)
        if moments:
            found[f'first/{name}'] = moments['exp_avg']
            found[f'second/{name}'] = moments['exp_avg_sq']
            found[f'count/{name}'] = moments['step']
    return found


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[str, torch.nn.Parameter], state: State
) -> None:
    """Put AdamW's moments back."""
    first, second, counts = (state.part(key) for key in ('first', 'second', 'count'))
    for name, parameter in names.items():
        if name in first:
            optimizer.state[parameter] = {
                'step': counts[name].clone(),
                'exp_avg': first[name].to(parameter.device),
                'exp_avg_sq': second[name].to(parameter.device),
            }


def run_identity(
    model: PlaceModel, views: ViewSet, config: TrainConfig, processes: int
) -> dict[str, Any]:
    """What must be the same for a run to go on: settings, data, starting weights, processes."""
    settings = {k: v for k, v in to_dict(config).items() if k not in FREE}
    digest = hashlib.sha256(json.dumps(views.names).encode())
    for column in (views.position_m, views.heading_rad, views.places, views.sessions):
        digest.update(np.ascontiguousarray(column).tobytes())
    return {
        **{k: json.loads(json.dumps(v)) for k, v in settings.items()},
        'data': digest.hexdigest()[:16],
        'starting weights': fingerprint(model.name, model.input, model.network.state_dict())[:16],
        'processes': processes,
    }


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else text[:57] + '...'
