"""The node of a map in the making."""

from __future__ import annotations

import threading
from pathlib import Path

from vpr_ros.config.executables import MapBuilderConfig
from vpr_ros.errors import ConfigError
from vpr_ros.maps.compress import Compression
from vpr_ros.models import build_model
from vpr_ros.nodes.batch_node import BatchNode
from vpr_ros.recognition.drive import DriveOptions
from vpr_ros.recognition.mapping import build_map


class MapBuilder(BatchNode):
    """Builds one map, whole or not at all, and tells of it in the diagnostics."""

    def __init__(self, stop: threading.Event, **kwargs) -> None:
        super().__init__('map_builder', MapBuilderConfig, stop, **kwargs)

    def work(self, config: MapBuilderConfig) -> str:
        bag, path = ordered(config)
        wanted = config.model
        model = build_model(wanted.name, wanted.device, wanted.weights, wanted.precision)
        compression = Compression(config.dim, stage=self.stage) if config.dim else None
        options = DriveOptions(
            config.image_topic, config.pose_topic, config.keyframes, config.pose,
            base_frame=config.base_frame, pose_frame=config.pose_frame,
        )  # fmt: skip
        progress = self.stage('reading images')
        summary = build_map(bag, model, path, options, progress, config.overwrite, compression)
        self.warn(summary.losses)
        if compression and not summary.compression:
            self.warn([f'not compressed to {config.dim}: {summary.places} places are too few'])
        return (
            f'wrote {path}: {summary.places} places from {summary.images} images, '
            f'{summary.posed} with a pose, {model.id}'
        )


def ordered(config: MapBuilderConfig) -> tuple[Path, Path]:
    """The recording and the map that are wanted.

    Raises:
        ConfigError: one is not named, or the map is called otherwise.
    """
    if not config.bag:
        raise ConfigError('parameter bag is empty: name the recording of a drive')
    path = Path(config.map).expanduser()
    if path.suffix != '.vprmap':
        raise ConfigError(f'parameter map: expected a .vprmap file, found {config.map!r}')
    return Path(config.bag).expanduser(), path
