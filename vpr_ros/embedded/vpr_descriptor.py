"""Our model within RTAB-Map: a PyDescriptor script, with no ROS traffic.

RTAB-Map imports this file by the parameter PyDescriptor/Path, calls `init` once and `extract` for
every node. It survives neither an exception out of `init` nor two nodes with different numbers or
lengths of descriptors: so nothing is ever raised here, and an image that cannot be described has
the descriptor zero, which RTAB-Map takes for half alike to everything.

Which model: environment variables VPR_MODEL, VPR_WEIGHTS, VPR_DEVICE and VPR_PRECISION, as the
settings of `model`. Imported by its bare name, in a folder of its own, so that nothing of ours
stands in the way of other scripts' modules.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

JUST_BELOW_ONE = 1.0 - 1e-6  # length: RTAB-Map ends where two descriptors are less than -1 alike
TOLD = (1, 10, 100)  # troubles of a kind that are said; then every thousandth


class Describer:
    """A model that may be missing, and what is said of that."""

    def __init__(self) -> None:
        self._model: Any = None
        self._dim = 1
        self._troubles = 0

    def init(self, dim: int) -> None:
        """Load the model; what is wrong is said, and every descriptor is zero then.

        Args:
            dim: the parameter PyDescriptor/Dim.
        """
        self._model, self._dim, self._troubles = None, max(1, int(dim)), 0
        try:
            model = _load()
            if model.descriptor_dim != dim:
                raise ValueError(
                    f'PyDescriptor/Dim is {dim}, and {model.name} describes images by '
                    f'{model.descriptor_dim} numbers: set it, and begin a new database'
                )
            self._model = model
            _say(f'{model.id} on {model.placement} describes the nodes of RTAB-Map')
        except BaseException as error:  # an exception out of here ends RTAB-Map
            _say(f'no model, so no node resembles another: {_words(error)}')

    def extract(self, image: np.ndarray) -> np.ndarray:
        """Describe an image.

        Args:
            image: (H, W, 1 or 3), grey or BGR, bytes, which RTAB-Map declares as signed.

        Returns:
            (1, D) float32, a hair shorter than unit length; zero where there is no descriptor.
        """
        try:
            if self._model is not None:
                features = self._model.describe([to_rgb(image)])
                return to_row(features.descriptor.float().cpu().numpy(), self._dim)
        except BaseException as error:  # without a descriptor the next node would end RTAB-Map
            self._troubles += 1
            if self._troubles in TOLD or self._troubles % 1000 == 0:
                _say(f'image {self._troubles} without a descriptor: {_words(error)}')
        return np.zeros((1, self._dim), np.float32)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """RGB uint8 (H, W, 3) of an image as RTAB-Map hands it over, in memory of our own."""
    if image.ndim != 3 or image.dtype.itemsize != 1 or image.shape[2] not in (1, 3):
        raise ValueError(
            f'expected bytes (H, W, 1 or 3), found {image.dtype} {image.shape}: give RTAB-Map '
            'bgr8, rgb8 or mono8 images'
        )
    pixels = image.view(np.uint8)[:, :, ::-1]
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def to_row(descriptor: np.ndarray, dim: int) -> np.ndarray:
    """A descriptor (1, D) of unit length as RTAB-Map takes it."""
    if descriptor.shape != (1, dim) or not np.isfinite(descriptor).all():
        raise ValueError(f'the model gave no finite descriptor (1, {dim})')
    length = max(float(np.linalg.norm(descriptor)), 1e-12)
    return np.ascontiguousarray(descriptor * (JUST_BELOW_ONE / length), np.float32)


def _load() -> Any:
    if not hasattr(sys, 'argv'):  # an embedded interpreter may have none, and libraries look
        sys.argv = ['']
    if find_spec('vpr_ros') is None:
        sys.path.append(str(Path(__file__).resolve().parents[2]))
    from vpr_ros.threads import share_the_processor

    share_the_processor()
    from vpr_ros.config import ModelConfig, from_dict
    from vpr_ros.models import build_model

    given = {name: os.environ.get(f'VPR_{name.upper()}', '') for name in ModelConfig().__dict__}
    given['name'] = os.environ.get('VPR_MODEL', '')
    wanted = from_dict(ModelConfig, {k: v for k, v in given.items() if v}, 'VPR_* in environment')
    model = build_model(wanted.name, wanted.device, wanted.weights, wanted.precision)
    model.require_weights()
    model.require_single_image()
    return model


def _words(error: BaseException) -> str:
    text = ' '.join(str(error).split())
    return (
        text if type(error).__module__ == 'vpr_ros.errors' else f'{type(error).__name__}: {text}'
    )


def _say(sentence: str) -> None:
    try:
        sys.stderr.write(f'vpr_descriptor: {sentence}\n')
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # nobody listens
        pass


_ours = Describer()
init, extract = _ours.init, _ours.extract  # the names that RTAB-Map calls
