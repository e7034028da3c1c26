"""The map of a live session: opened or begun as the mode asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vpr_ros.config import NodeConfig
from vpr_ros.errors import ConfigError, MapError
from vpr_ros.maps.address import map_path
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.models import PlaceModel
from vpr_ros.nodes.services.packages import package_share


@contextmanager
def live_map(config: NodeConfig, model: PlaceModel) -> Iterator[PlaceMap]:
    """Give the map of the mode, and commit and close it at the end.

    A new map that stayed empty leaves no file, so that the same settings can be tried again.

    Raises:
        ConfigError: the mode needs a map and none is named.
        MapError: the map is missing, damaged or another model's, or is to be new and is there.
    """
    if config.mode == 'map':
        yield from _new_map(config, model)
        return
    if not config.map:
        raise ConfigError(
            f'parameter map is empty: mode {config.mode} needs a map file; set map, or use mode '
            'map to record one'
        )
    path = map_path(config.map, package_share).absolute()
    writable = config.mode == 'both'
    with PlaceMap.open(path, model.require_weights(), model.name, writable) as place_map:
        yield place_map


def _new_map(config: NodeConfig, model: PlaceModel) -> Iterator[PlaceMap]:
    path = map_path(config.map, package_share).absolute() if config.map else IN_MEMORY
    if isinstance(path, Path) and path.exists():
        raise MapError(f'{path} exists already: use mode both to extend it, or another name')
    place_map = PlaceMap.create(
        path, model.name, model.require_weights(), model.descriptor_dim, config.map_frame
    )
    try:
        with place_map:
            yield place_map
    finally:
        if isinstance(path, Path) and not len(place_map):
            path.unlink(missing_ok=True)
