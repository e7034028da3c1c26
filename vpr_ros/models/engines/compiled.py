"""A network compiled by OpenVINO for this processor: fused kernels without Python between them.

For CPUs only, where OpenVINO is installed. Images run one by one, so that nothing but its own
pixels can reach a descriptor.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import nn

from vpr_ros.models.engines import processor
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.records import Features, ImageInput, LocalFeatures

HINTS = {'fp32': 'f32', 'bf16': 'bf16'}


class CompileError(Exception):
    """OpenVINO cannot run this network; torch can."""


def can_compile() -> bool:
    """Whether OpenVINO is installed."""
    try:
        openvino()
    except (ImportError, OSError):
        return False
    return True


def openvino() -> Any:
    """The package, imported without what reports every use of it to a server."""
    if 'openvino' not in sys.modules:
        sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    return import_module('openvino')


class Outputs(nn.Module):
    """The features of a network as a tuple of tensors."""

    def __init__(self, network: PlaceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.network.features(images)
        if features.local is None:
            return (features.descriptor,)
        return (features.descriptor, *vars(features.local).values())


class CompiledCall:
    """`network.features` as OpenVINO runs it."""

    def __init__(self, network: PlaceNetwork, spec: ImageInput, precision: str) -> None:
        """Compile.

        Args:
            network: in eval mode, fp32, on the CPU.
            spec: its input.
            precision: `fp32`, `bf16` or, of a network that was quantised, `int8`.

        Raises:
            CompileError: OpenVINO refuses.
        """
        package = openvino()
        settings = {
            'INFERENCE_PRECISION_HINT': HINTS[processor.float_precision(precision)],
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_NUM_THREADS': torch.get_num_threads(),
            # Pinned threads wait for a core that another process of the robot keeps busy.
            'ENABLE_CPU_PINNING': False,
            'DYNAMIC_QUANTIZATION_GROUP_SIZE': 0,
        }
        try:
            model = _converted(network, spec)
            self._compiled = package.Core().compile_model(model, 'CPU', settings)
        except Exception as error:  # its front end and its plug-in raise what they like
            first = str(error).strip().splitlines()[0]
            raise CompileError(f'OpenVINO {package.__version__} failed: {first}') from error
        self._request = self._compiled.create_infer_request()

    def __call__(self, images: torch.Tensor) -> Features:
        """Features of images (B, 3, height, width), normalised, float32, on the CPU."""
        rows = [self._one(image) for image in images.numpy()]
        descriptor, *local = (torch.from_numpy(np.concatenate(x)) for x in zip(*rows, strict=True))
        return Features(descriptor, LocalFeatures(*local) if local else None)

    def _one(self, image: np.ndarray) -> list[np.ndarray]:
        found = self._request.infer([image[None]], share_inputs=True)
        return list(found.to_tuple())


def _converted(network: PlaceNetwork, spec: ImageInput) -> Any:
    """OpenVINO's graph of a network, for one image.

    By the front end alone: `openvino.convert_model` would do the same, and report that it was used
    to a server.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    example = torch.zeros(1, 3, *spec.size)
    with torch.no_grad(), _without_log():
        program = torch.export.export(Outputs(network).eval(), (example,), strict=False)
        decoder = TorchFXPythonDecoder.from_exported_program(program)  # must outlive `load`
    frontend = FrontEndManager().load_by_framework('pytorch')
    model = frontend.convert(frontend.load(decoder))
    model.reshape(list(example.shape))
    return model


@contextmanager
def _without_log() -> Iterator[None]:
    """Keep back what is said of operators that this network does not have, and of torch."""
    root, before = logging.getLogger(), logging.root.manager.disable
    nothing = logging.NullHandler()  # else the first warning sets up the root logger
    root.addHandler(nothing)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)
        root.removeHandler(nothing)
