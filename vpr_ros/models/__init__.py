"""Place recognition models: torch and nothing else."""

from vpr_ros.models.place_model import PlaceModel
from vpr_ros.models.registry import MODELS, build_model
from vpr_ros.models.weights.checkpoint import (
    Header,
    load_backbone,
    load_checkpoint,
    read_header,
    save_checkpoint,
)

__all__ = [
    'MODELS',
    'Header',
    'PlaceModel',
    'build_model',
    'load_backbone',
    'load_checkpoint',
    'read_header',
    'save_checkpoint',
]
