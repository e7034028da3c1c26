"""What the rest of the house knows of a model: `describe`, `input` and an identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TypeVar

import numpy as np
import torch

from vpr_ros.errors import CheckpointError, ConfigError
from vpr_ros.image import check_tensor, to_batch
from vpr_ros.models.engines.int8 import read_ranges
from vpr_ros.models.engines.runtime import Placement, Runtime, resolve_device, resolve_precision
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.weights.published import PUBLISHED
from vpr_ros.records import Features, ImageInput

T = TypeVar('T')


class PlaceModel:
    """A network, its preprocessing and its identity.

    `fingerprint` is None until weights are loaded; until then `describe` refuses, because the
    descriptors of random weights look like any others. `network` is the reference, in fp32 on the
    CPU; what describes images is a copy of it, prepared by `place`.
    """

    def __init__(self, name: str, network: PlaceNetwork, image_input: ImageInput) -> None:
        """Combine them.

        Raises:
            ConfigError: the patches of the network do not fill the input.
        """
        (height, width), patch = image_input.size, network.backbone.config.patch
        if height % patch or width % patch:
            raise ConfigError(
                f'{name} cannot take images of {height}x{width}: '
                f'expected height and width in multiples of {patch} pixels'
            )
        self.name = name
        self.network = network.eval()
        self.input = image_input
        self.similarity_threshold: float | None = None
        self._fingerprint: str | None = None
        self._wishes: tuple[str, str] | None = None
        self._runtime: Runtime | None = None

    @property
    def fingerprint(self) -> str | None:
        return self._fingerprint

    @fingerprint.setter
    def fingerprint(self, value: str | None) -> None:
        self._fingerprint, self._runtime = value, None  # other weights were loaded
        self.network.ranges = None

    def place(self, device: str = 'auto', precision: str = 'auto') -> None:
        """Say where and how the model shall run; it starts there once it has weights.

        Args:
            device: `auto`, `cpu` or `cuda`.
            precision: `auto`, `fp32`, `bf16`, `fp16` or, on a CPU, `int8`.

        Raises:
            CheckpointError: `int8`, for which the model was not prepared.
            ConfigError: no such device, or it does not compute in that precision.
            DeviceError: the device has not enough memory.
        """
        self._wishes, self._runtime = (device, precision), None
        resolve_precision(precision, resolve_device(device))
        if self.fingerprint is not None:
            self._started()

    def release(self) -> None:
        """Give back the memory of the reference weights, where a prepared copy runs on the CPU.

        They are needed only to place the model anew, to train, convert or export it.
        """
        runtime = self._started()
        if runtime and runtime.placement.device.type == 'cpu':
            self.network.to('meta')

    @property
    def placement(self) -> Placement:
        """Where and how the model runs."""
        runtime = self._started()
        return runtime.placement if runtime else Placement(self.network.device, 'fp32')

    @property
    def device(self) -> torch.device:
        return self.placement.device

    def _started(self) -> Runtime | None:
        if self._runtime is None and self._wishes and self.fingerprint is not None:
            self._require_eval()
            if self._wishes[1] == 'int8' and self.network.ranges is None:
                self.network.ranges = read_ranges(self.name, self.fingerprint)
            self._runtime = Runtime(self.network, self.input, *self._wishes)
        return self._runtime

    def _require_eval(self) -> None:
        """Dropout would be drawn anew for each image, and nothing would show it."""
        if self.network.training:
            raise ConfigError(
                f'the network of {self.name} is in training mode, in which descriptors are noise: '
                'call model.network.eval() first'
            )

    @property
    def descriptor_dim(self) -> int:
        return self.network.descriptor_dim

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
            fetch = f'`vpr weights fetch {self.name}`, or ' if self.name in PUBLISHED else ''
            raise CheckpointError(
                f'{self.name} has no weights yet: {fetch}give a checkpoint with the setting '
                'model.weights'
            )
        return self.fingerprint

    def require_single_image(self) -> None:
        """Check that a descriptor says something of its image alone, as a map or a robot needs.

        Raises:
            ConfigError: it depends on the other images of its batch.
        """
        if not self.network.single_image:
            raise ConfigError(
                f'{self.name} is for evaluation only, because its descriptor of an image depends '
                'on the other images of the batch: choose a model without a cross-image encoder, '
                'such as sage_vitl'
            )

    def describe(self, images: Sequence[np.ndarray]) -> Features:
        """Describe B images, each by itself unless the network says otherwise.

        Args:
            images: RGB uint8 arrays (H, W, 3), each of any size; an array (B, H, W, 3) does, too.

        Returns:
            Features with descriptors (B, D), float32, unit length, on the model's device.

        Raises:
            ImageError: an image is not what is expected.
            CheckpointError: no weights were loaded.
            ConfigError: the network is in training mode.
            DeviceError: the GPU failed and was asked for by name; with `auto` the CPU goes on.
        """
        return self.surviving(lambda: self.describe_tensor(self.prepare(images)))

    def surviving(self, act: Callable[[], T]) -> T:
        """Do something with the model; where its GPU fails at that, once more on the CPU.

        Args:
            act: from images in the memory of the host: what is on a lost GPU is lost, too.

        Raises:
            DeviceError: the GPU failed and was asked for by name.
        """
        try:
            return act()
        except RuntimeError as error:
            runtime = self._started()
            if runtime is None:
                raise
            runtime.leave_gpu(error)
        return act()

    def prepare(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Resized, normalised images (B, 3, height, width), float32, on the model's device.

        Raises:
            ImageError: an image is not what is expected.
            DeviceError: the GPU failed and was asked for by name.
        """
        return self.surviving(lambda: to_batch(images, self.input, self.device))

    def describe_tensor(self, images: torch.Tensor) -> Features:
        """Describe images that are prepared already.

        Args:
            images: (B, 3, height, width), normalised by `prepare`.

        Raises:
            ImageError: another shape or type, or values that are not finite.
            CheckpointError: no weights were loaded.
            ConfigError: the network is in training mode.
        """
        self.require_weights()
        check_tensor(images, self.input)
        if runtime := self._started():
            return runtime(images)
        self._require_eval()
        with torch.inference_mode():
            return self.network.features(images.to(self.network.device))


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
