"""What the rest of the house knows of a model: `describe`, `input` and an identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch

from vpr_ros.errors import CheckpointError, ConfigError
from vpr_ros.image import to_tensor
from vpr_ros.models.network import PlaceNetwork
from vpr_ros.records import Features, ImageInput


class PlaceModel:
    """A network, its preprocessing and its identity.

    `fingerprint` is None until weights are loaded; until then `describe` refuses, because the
    descriptors of random weights look like any others.
    """

    def __init__(self, name: str, network: PlaceNetwork, image_input: ImageInput) -> None:
        self.name = name
        self.network = network.eval()
        self.input = image_input
        self.fingerprint: str | None = None
        self.similarity_threshold: float | None = None

    @property
    def descriptor_dim(self) -> int:
        return self.network.descriptor_dim

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def id(self) -> str:
        """Name and the first 16 digits of the fingerprint, as messages carry it."""
        return f'{self.name}:{(self.fingerprint or "no weights")[:16]}'

    def require_weights(self) -> str:
        """Return the fingerprint, to which a map is bound.

        Raises:
            CheckpointError: no weights were loaded.
        """
        if self.fingerprint is None:
            raise CheckpointError(
                f'{self.name} has no weights yet: give a checkpoint with the setting model.weights'
            )
        return self.fingerprint

    def describe(self, images: Sequence[np.ndarray]) -> Features:
        """Describe B images, each by itself.

        Args:
            images: RGB uint8 arrays (H, W, 3), each of any size; an array (B, H, W, 3) does, too.

        Returns:
            Features with descriptors (B, D), float32, unit length, on the model's device.

        Raises:
            ImageError: an image is not what is expected.
            CheckpointError: no weights were loaded.
        """
        return self.describe_tensor(self.prepare(images))

    def prepare(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Resized, normalised images (B, 3, height, width), float32, on the model's device.

        Raises:
            ImageError: an image is not what is expected.
        """
        return torch.cat([to_tensor(image, self.input, self.device) for image in images])

    def describe_tensor(self, images: torch.Tensor) -> Features:
        """Describe images that are prepared already.

        Args:
            images: (B, 3, height, width), normalised by `prepare`.

        Raises:
            CheckpointError: no weights were loaded.
        """
        self.require_weights()
        with torch.inference_mode():
            return self.network.features(images.to(self.device))


def resolve_device(device: str) -> torch.device:
    """Device of a setting: `auto` takes a GPU where there is one.

    Raises:
        ConfigError: `cuda` was asked for and there is none.
    """
    if device == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    if device.startswith('cuda') and not torch.cuda.is_available():
        raise ConfigError(
            f'device {device} was asked for, but torch {torch.__version__} finds no GPU: '
            'use device auto or cpu, or install a CUDA build of torch'
        )
    return torch.device(device)


def fingerprint(name: str, image_input: ImageInput, weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over architecture name, preprocessing and every tensor as it is stored."""
    digest = hashlib.sha256(
        json.dumps([name, asdict(image_input)], sort_keys=True).encode('utf-8')
    )
    for key in sorted(weights):
        tensor = weights[key].detach().cpu().contiguous()
        digest.update(f'{key} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.view(torch.uint8).numpy().data)
    return digest.hexdigest()
