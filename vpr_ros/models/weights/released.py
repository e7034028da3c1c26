"""Files of weights that others published: SAGE, FoL, DINOv2, timm's ViT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from vpr_ros.errors import CheckpointError
from vpr_ros.models.weights.layouts import Layout, detect, model_name, translate
from vpr_ros.models.weights.unpickling import is_torch_file, read_torch_file, strip_prefixes

BRANCH = 'reb.'  # what FoL++ has beyond FoL


@dataclass(frozen=True)
class Released:
    """The content of such a file, under the names that it has there."""

    path: Path
    layout: Layout
    weights: Mapping[str, torch.Tensor]

    @property
    def model(self) -> str:
        """Name of our model that the weights belong to; of a backbone, a description."""
        return model_name(self.layout, self.weights)

    def for_model(
        self, name: str, expected: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The weights of a whole model, under our names.

        FoL++ takes those of FoL, without its reliability branch, which FoL does not have.

        Args:
            name: of the model.
            expected: its tensors by name, of which the shape counts.

        Raises:
            CheckpointError: they are another model's, or a tensor does not fit.
        """
        if not self.layout.families:
            raise CheckpointError(
                f'{self.path} holds the backbone {self.model} alone, expected weights of {name}: '
                f'train a head on it with `vpr train --model {name} --backbone {self.path}`'
            )
        self._require(name)
        expected = {key: part for key, part in expected.items() if not key.startswith(BRANCH)}
        return translate(self.layout, self.weights, expected, self.path)

    def for_backbone(
        self, name: str, dim: int, expected: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The weights of a backbone alone, under our names.

        Args:
            name: of the model whose backbone it shall be.
            dim: its width C.
            expected: the backbone's tensors by name, of which the shape counts.

        Raises:
            CheckpointError: a whole model, another width, or a tensor does not fit.
        """
        if self.layout.families:
            raise CheckpointError(
                f'{self.path} holds the whole model {self.model}, expected a backbone alone: '
                'give it with the setting weights'
            )
        found = self.layout.width(self.weights)
        if found not in (0, dim):
            raise CheckpointError(
                f'{self.path} holds {self.model} of width {found}, '
                f'expected a backbone of width {dim} for {name}'
            )
        return translate(self.layout, self.weights, expected, self.path)

    def _require(self, name: str) -> None:
        family, _, size = name.partition('_')
        _, known, found_size = self.model.partition('_')
        if family in self.layout.families and (not known or size == found_size):
            return
        remedy = f'set model.name to {self.model} or ' if known else ''
        raise CheckpointError(
            f'{self.path} holds weights of {self.model}, expected {name}: '
            f'{remedy}give other weights'
        )


def read_released(path: Path | str) -> Released:
    """Read a file that others published: torch checkpoint or safetensors.

    Raises:
        CheckpointError: no such file, damaged, not only weights, or in no layout known here.
    """
    if Path(path).is_file() and is_torch_file(path):
        weights = read_torch_file(path)
    else:
        weights = strip_prefixes(read_safetensors(path), path)
    return Released(Path(path), detect(weights, path), weights)


def is_backbone(path: Path | str) -> bool:
    """Whether a safetensors file holds a published backbone alone; a look at its names.

    Raises:
        CheckpointError: no such file.
    """
    if Path(path).is_file() and is_torch_file(path):
        return not read_released(path).layout.families
    with open_safetensors(path) as file:
        names = set(file.keys())
    return 'patch_embed.proj.weight' in names or 'embeddings.cls_token' in names


def read_safetensors(path: Path | str) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: no such file, not safetensors, or of a type that torch does not have.
    """
    with open_safetensors(path) as file:
        try:
            return {key: file.get_tensor(key) for key in sorted(file.keys())}
        except SafetensorError as error:
            raise CheckpointError(f'{path} cannot be read: {error}') from None


def open_safetensors(path: Path | str) -> Any:
    """An open safetensors file.

    Raises:
        CheckpointError: no such file, or not safetensors.
    """
    if not Path(path).is_file():
        raise CheckpointError(f'no weights at {path}: expected a .safetensors or .pth file')
    try:
        return safe_open(str(path), framework='pt')
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path} is not a safetensors file: {error}') from None
