"""The steps of describing an image one by one, and what they are compared with: to be timed.

Every function returns when its work is done, on a GPU too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from vpr_ros.errors import ConfigError
from vpr_ros.image import to_batch
from vpr_ros.models.engines.int8 import Ranges, measured_ranges
from vpr_ros.models.engines.packed import PackedLinear, can_pack
from vpr_ros.models.engines.processor import float_precision
from vpr_ros.models.engines.runtime import PRECISIONS, as_called, prepared, probe_image
from vpr_ros.models.networks.network import PlaceNetwork
from vpr_ros.models.place_model import PlaceModel
from vpr_ros.models.registry import MODELS, load_model
from vpr_ros.records import Features, ImageInput

RANDOM = 'random'  # in place of a fingerprint
PRODUCT = {'cpu': 2048, 'cuda': 8192}  # side of the matrices whose product is taken for the peak

Images = Sequence[np.ndarray]


def model_to_time(name: str, size: tuple[int, int] | None = None) -> PlaceModel:
    """A model with its weights where there are any; random ones take the same time.

    Args:
        name: a key of MODELS.
        size: (height, width) of its input; None: its own.

    Raises:
        ConfigError: no such model, or its patches do not fill that input.
        CheckpointError: its weights are damaged.
    """
    model = load_model(name)
    fingerprint = model.fingerprint or RANDOM
    if size is not None:
        model = PlaceModel(name, model.network, replace(model.input, size=size))
    model.fingerprint = fingerprint
    return model


def check_model(name: str, size: tuple[int, int] | None = None) -> None:
    """Refuse what `model_to_time` would refuse, without building a model.

    Raises:
        ConfigError: no such model, or its patches do not fill that input.
    """
    if name not in MODELS:
        raise ConfigError(f'no model {name!r}: expected one of {", ".join(MODELS)}')
    spec = MODELS[name]
    with torch.device('meta'):
        PlaceModel(name, spec.network(), replace(spec.input, size=size or spec.input.size))


def random_ranges(network: PlaceNetwork, image_input: ImageInput) -> Ranges:
    """Ranges for int8 of a network with random weights: enough for its time."""
    return measured_ranges(network, [to_batch([probe_image(image_input.size)], image_input)])


@dataclass(frozen=True)
class Stages:
    """Steps of a placed model; `describe` is all but the decoding."""

    describe: Callable[[Images], np.ndarray]  # to descriptors (B, D) in the memory of the host
    prepare: Callable[[Images], torch.Tensor]  # to (B, 3, height, width) on the device
    network: Callable[[torch.Tensor], torch.Tensor]  # to descriptors (B, D) on the device
    backbone: Callable[[torch.Tensor], torch.Tensor]  # to class tokens (B, C) on the device


def stages(model: PlaceModel, reference: PlaceNetwork) -> Stages:
    """The steps of a placed model.

    Args:
        model: the model; it may have released its weights.
        reference: its network in fp32 on the CPU, to take the backbone alone from.
    """
    placement = model.placement
    reference.ranges = model.network.ranges
    alone = BackboneAlone(prepared(reference, model.input, placement))
    backbone = as_called(alone, model.input, placement)

    def prepare(images: Images) -> torch.Tensor:
        return done(model.prepare(images))

    def describe(images: Images) -> np.ndarray:
        return model.describe(images).descriptor.cpu().numpy()

    def network(x: torch.Tensor) -> torch.Tensor:
        return done(model.describe_tensor(x).descriptor)

    @torch.inference_mode()
    def backbone_alone(x: torch.Tensor) -> torch.Tensor:
        return done(backbone(x).descriptor)

    return Stages(describe, prepare, network, backbone_alone)


class BackboneAlone(PlaceNetwork):
    """The transformer of a network without what hooks into it or follows it."""

    def __init__(self, network: PlaceNetwork) -> None:
        super().__init__()
        self.backbone = network.backbone
        self.descriptor_dim = network.backbone.config.dim

    def features(self, images: torch.Tensor) -> Features:
        """Class tokens (B, C) of images (B, 3, H, W)."""
        return Features(self.backbone(images).cls)


def plain(
    network: torch.nn.Module, device: torch.device
) -> Callable[[torch.Tensor], torch.Tensor]:
    """A network as torch runs it in fp32: nothing packed, cast or recorded.

    Its answer is the descriptors (B, D), or features, or a tuple that begins with descriptors.
    """
    network = network.eval().to(device)
    call = network.features if isinstance(network, PlaceNetwork) else network

    @torch.inference_mode()
    def run(images: torch.Tensor) -> torch.Tensor:
        found = call(images)
        found = found.descriptor if isinstance(found, Features) else found
        return done(found[0] if isinstance(found, tuple) else found)

    return run


def product(device: torch.device, precision: str) -> Callable[[], torch.Tensor]:
    """A large product of matrices, for the peak of a device in a precision.

    On a CPU by oneDNN with the weight reordered, as in our own layers; never in 8 bits.
    """
    side, dtype = PRODUCT[device.type], PRECISIONS[float_precision(precision)]
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    if device.type == 'cpu' and can_pack(dtype):
        layer = PackedLinear(torch.nn.Linear(side, side, bias=False), dtype)
        return torch.inference_mode()(partial(layer, left))
    return lambda: done(left @ right)


def product_flop(device: torch.device) -> int:
    """Floating point operations of `product`."""
    return 2 * PRODUCT[device.type] ** 3


def done(x: torch.Tensor) -> torch.Tensor:
    """The tensor, once it is computed."""
    if x.device.type == 'cuda':
        torch.cuda.synchronize(x.device)
    return x


def least_cosine(some: torch.Tensor, others: torch.Tensor) -> float:
    """The least cosine of descriptors (B, D) to others (B, D), row by row."""
    x, y = (torch.nn.functional.normalize(z.double().cpu(), dim=1) for z in (some, others))
    return float((x * y).sum(dim=1).min())
