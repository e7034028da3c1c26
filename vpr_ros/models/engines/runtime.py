"""The one inference path: a network prepared for a device, in a precision that was checked.

The best that the machine offers is chosen from what it reports, never from timings, so that the
same machine gives the same bytes. On a CPU: OpenVINO where it is installed, else torch with packed
weights; bf16 where the processor has it. On a GPU: bf16 (fp16 before Ampere), fused attention, and
one CUDA graph for each small input shape.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch

from vpr_ros.errors import ConfigError
from vpr_ros.image import to_tensor
from vpr_ros.models.engines import compiled, gpu_failure, int8, packed, processor
from vpr_ros.models.engines.compiled import CompiledCall
from vpr_ros.models.engines.cuda_graph import GraphedCall
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.records import Features, ImageInput

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
LEAST_COSINE = 0.999  # of a descriptor in lower precision to that in fp32
LEAST_COSINE_INT8 = 0.995
AMPERE = 8

Call = Callable[[torch.Tensor], Features]


@dataclass(frozen=True)
class Placement:
    """Where a model runs, how, and why."""

    device: torch.device
    precision: str
    reason: str = ''
    engine: str = 'torch'  # or openvino
    fell_back: bool = False  # from a GPU, on which it ran or should have

    def gpu_memory_mb(self) -> float:
        """Memory of the GPU that this process holds, in 10^6 bytes; nan on a CPU."""
        is_gpu = self.device.type == 'cuda'
        return torch.cuda.memory_reserved(self.device) / 1e6 if is_gpu else math.nan

    def name(self) -> str:
        """Of the device, as its maker calls it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == 'cuda' else 'cpu'

    def __str__(self) -> str:
        reason = f' ({self.reason})' if self.reason else ''
        return f'{self.name()}, {self.precision}, {self.engine}{reason}'


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


def resolve_precision(precision: str, device: torch.device) -> Placement:
    """Precision of a setting: `auto` takes the fastest that the device has in hardware.

    Raises:
        ConfigError: the device cannot compute in the precision asked for.
    """
    if precision not in (*PRECISIONS, 'auto', 'int8'):
        expected = ', '.join(('auto', *PRECISIONS, 'int8'))
        raise ConfigError(f'precision {precision!r}: expected one of {expected}')
    if precision == 'int8':
        return _in_int8(device)
    if device.type == 'cuda':
        return _on_gpu(precision, device)
    can_bf16 = compiled.can_compile() or packed.can_pack(torch.bfloat16)
    found = {
        'bf16': can_bf16 and processor.first_of(processor.BF16),
        'fp16': packed.can_pack(torch.float16) and processor.first_of(processor.FP16),
    }
    if precision == 'auto':
        if found['bf16']:
            return Placement(device, 'bf16', f'the processor has {found["bf16"]}')
        return Placement(device, 'fp32', 'the processor has no bf16')
    if precision != 'fp32' and not found[precision]:
        raise ConfigError(
            f'precision {precision} was asked for, but this processor does not compute in it: '
            'use precision auto or fp32'
        )
    return Placement(device, precision)


def _in_int8(device: torch.device) -> Placement:
    if device.type == 'cuda':
        raise ConfigError('precision int8 is for CPUs alone: use device cpu, or precision auto')
    if not compiled.can_compile():
        raise ConfigError('precision int8 needs OpenVINO: `pip install openvino`, or use auto')
    found = processor.first_of(processor.INT8)
    if not found:
        raise ConfigError(
            'precision int8 was asked for, but this processor has no fast products of 8 bits '
            f'({", ".join(processor.INT8)}): use precision auto'
        )
    return Placement(device, 'int8', f'the processor has {found}')


def _on_gpu(precision: str, device: torch.device) -> Placement:
    if precision != 'auto':
        return Placement(device, precision)
    major, minor = torch.cuda.get_device_capability(device)
    best = 'bf16' if major >= AMPERE else 'fp16'
    return Placement(device, best, f'compute capability {major}.{minor}')


class Runtime:
    """A network on its device, called with normalised images.

    `placement` says what became of the wishes.
    """

    def __init__(
        self,
        network: PlaceNetwork,
        spec: ImageInput,
        device: str = 'auto',
        precision: str = 'auto',
    ) -> None:
        """Prepare a network, check it against itself in fp32, and warm it up.

        Args:
            network: in eval mode, fp32, on the CPU; it is left as it is.
            spec: its input.
            device: `auto`, `cpu` or `cuda`; `auto` may fall back to the CPU.
            precision: `auto`, `fp32`, `bf16`, `fp16` or, on a CPU, for a network whose ranges
                are known, `int8`; `auto` may fall back to fp32 and never takes int8.

        Raises:
            ConfigError: no such device or precision, or a precision asked for by name moves the
                descriptors too far.
            CheckpointError: the ranges for int8 are missing or another network's.
            DeviceError: the device asked for by name has not enough memory.
        """
        self._network, self._spec, self._asked = network, spec, precision
        self._may_fall_back = device == 'auto'
        self.placement = with_engine(resolve_precision(precision, resolve_device(device)), network)
        try:
            self._start(asked=precision)
        except RuntimeError as error:
            self.leave_gpu(error)

    def __call__(self, images: torch.Tensor) -> Features:
        """Features of images (B, 3, H, W), normalised.

        Raises:
            DeviceError: the device asked for by name failed or has not enough memory.
            RuntimeError: the GPU failed with the images on it; the next ones go to the CPU.
        """
        try:
            with torch.inference_mode():
                features = self._run(images.to(self.placement.device))
            if self.placement.device.type == 'cuda':
                torch.cuda.synchronize(self.placement.device)  # a GPU tells of its failures late
            return features
        except RuntimeError as error:
            if self.placement.device.type == 'cpu':
                raise
            self.leave_gpu(error)
        return self(images.cpu())

    def leave_gpu(self, error: RuntimeError) -> None:
        """Go on on the CPU after a GPU failed or ran out of memory.

        Args:
            error: that it raised.

        Raises:
            DeviceError: the GPU was asked for by name.
            RuntimeError: `error`, for which no GPU is to blame.
        """
        failure = gpu_failure.told(error)
        if failure is None:
            raise error
        if self.placement.device.type == 'cpu':
            return
        if not self._may_fall_back:
            raise gpu_failure.as_error(self.placement.device, failure) from None
        self._start_on_cpu(failure)

    def _start(self, asked: str) -> None:
        self._prepare()
        probe = to_tensor(probe_image(self._spec.size), self._spec)
        found = self(probe).descriptor.cpu()
        if self.placement.precision == 'fp32':
            return
        with torch.inference_mode():
            wanted = self._network.features(probe).descriptor
        cosine = float((found.double() * wanted.double()).sum())
        least = LEAST_COSINE_INT8 if asked == 'int8' else LEAST_COSINE
        if cosine >= least:
            return
        if asked != 'auto':
            raise ConfigError(
                f'{asked} turns the descriptor of a test image to cosine {cosine:.4f} with fp32, '
                f'at least {least} is wanted: use precision auto or fp32'
            )
        reason = f'{self.placement.precision} only reaches cosine {cosine:.4f}'
        if self.placement.fell_back:
            reason = f'{self.placement.reason}; {reason}'
        self.placement = replace(self.placement, precision='fp32', reason=reason)
        self._start(asked='fp32')

    def _prepare(self) -> None:
        network = prepared(self._network, self._spec, self.placement)
        try:
            self._run = as_called(network, self._spec, self.placement)
        except compiled.CompileError as error:
            if self.placement.precision == 'int8':
                raise ConfigError(f'no int8 here, use precision auto: {error}') from None
            self.placement = replace(self.placement, engine='torch', reason=str(error))
            self._prepare()

    def _start_on_cpu(self, failure: str) -> None:
        device = torch.device('cpu')
        try:
            cpu = resolve_precision(self._asked, device)
        except ConfigError:  # a precision that only the GPU has
            cpu = resolve_precision('auto', device)
        reason = '; '.join(filter(None, [f'the GPU {failure}', cpu.reason]))
        self.placement = with_engine(replace(cpu, reason=reason, fell_back=True), self._network)
        self._start(asked='auto')  # in the middle of work fp32 is better than an error
        with suppress(RuntimeError):  # of a GPU that is gone
            torch.cuda.empty_cache()


def prepared(network: PlaceNetwork, spec: ImageInput, placement: Placement) -> PlaceNetwork:
    """A copy of a network on its device, with the kernels and types of its precision."""
    network = copy.deepcopy(network).requires_grad_(False).to(placement.device)
    patch = network.backbone.config.patch
    network.backbone.fix_positions((spec.size[0] // patch, spec.size[1] // patch))
    packed.fold_layer_scale(network)
    if placement.precision == 'int8':
        int8.quantise(network, network.ranges or {})
    dtype = PRECISIONS[processor.float_precision(placement.precision)]
    if placement.device.type == 'cuda':
        packed.cast_weights(network, dtype)
    elif placement.engine == 'torch' and packed.can_pack(dtype):
        packed.choose_attention(network, dtype)
        packed.pack(network, dtype)
        packed.cast_inputs(network)
    return network


def with_engine(placement: Placement, network: PlaceNetwork) -> Placement:
    """OpenVINO for what it computes in, image by image, where it is installed."""
    floats = processor.float_precision(placement.precision)
    possible = placement.device.type == 'cpu' and floats in compiled.HINTS
    if possible and network.single_image and compiled.can_compile():
        return replace(placement, engine='openvino')
    if placement.precision == 'int8':
        raise ConfigError('int8 is for networks that describe an image by itself: use auto')
    return placement


def as_called(network: PlaceNetwork, spec: ImageInput, placement: Placement) -> Call:
    """What is called for each batch: of a prepared network, or of a part of one."""
    if placement.engine == 'openvino':
        return CompiledCall(network, spec, placement.precision)
    return GraphedCall(network) if placement.device.type == 'cuda' else network.features


def probe_image(size: tuple[int, int]) -> np.ndarray:
    """A picture with edges, slopes and noise, the same everywhere: (H, W, 3), uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    slopes = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * y - 3 * x), np.sin(30 * x * y)], axis=2)
    picture = 90 + 40 * slopes + rng.normal(0, 6, (*size, 3))
    for _ in range(12):
        top, left = (int(rng.integers(0, side)) for side in size)
        height, width = (int(rng.integers(side // 8, side // 2 + 1)) for side in size)
        picture[top : top + height, left : left + width] += rng.uniform(-90, 90, 3)
    return picture.clip(0, 255).astype(np.uint8)
