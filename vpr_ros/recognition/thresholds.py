"""What settings, weights and calibrator make of yes and no."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vpr_ros.config import RecognizerConfig
from vpr_ros.errors import ConfigError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.recognition.calibration import Calibrator
from vpr_ros.recognition.decision import Thresholds

if TYPE_CHECKING:
    from vpr_ros.models import PlaceModel


def thresholds(
    model: PlaceModel,
    place_map: PlaceMap,
    config: RecognizerConfig,
    calibrator: Calibrator | None = None,
) -> Thresholds:
    """What the settings, the weights and the calibrator make of yes and no.

    Raises:
        ConfigError: there is no similarity threshold, or no calibrator where one is needed.
    """
    decision = config.decision
    by_probability = decision.max_false_closure_rate or decision.min_probability
    similarity = decision.similarity_threshold or model.similarity_threshold or 0.0
    if by_probability:
        if calibrator is None:
            raise ConfigError(
                f'{place_map.path} has no calibrator, which an accepted probability needs: '
                'run `vpr calibrate`, or set decision.similarity_threshold'
            )
        return Thresholds(similarity, decision.min_probability or _promised(calibrator, config))
    return Thresholds(_similarity(model, place_map, config))


def _promised(calibrator: Calibrator, config: RecognizerConfig) -> float:
    rate = config.decision.max_false_closure_rate
    threshold = calibrator.threshold_for(rate)
    if math.isinf(threshold):
        raise ConfigError(
            f'max_false_closure_rate {rate:g} cannot be promised: the data of the calibrator '
            f'allow {calibrator.least_rate:.2g} at best; run `vpr calibrate` with a longer drive, '
            'ask for less, or set decision.min_probability'
        )
    return threshold


def _similarity(model: PlaceModel, place_map: PlaceMap, config: RecognizerConfig) -> float:
    given = config.decision.similarity_threshold
    if not given and not place_map.keeps_cosines:
        raise ConfigError(
            f'the similarities of {place_map.path} are those of a centred compression, which no '
            'threshold of weights is made for: set decision.similarity_threshold'
        )
    threshold = given or model.similarity_threshold
    if not threshold:
        raise ConfigError(
            f'the weights of {model.name} carry no similarity threshold: '
            'set decision.similarity_threshold'
        )
    return threshold
