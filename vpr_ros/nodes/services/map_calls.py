"""Maps loaded, saved and merged while the node runs. All of it in the worker's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from vpr_msgs.msg import MapInfo
from vpr_msgs.srv import LoadMap, MergeMap, SaveMap
from vpr_ros.errors import (
    MapAddressError,
    MapDamagedError,
    MapExistsError,
    MapFormatError,
    MapFrameError,
    MapMetadataError,
    MapMissingError,
    MapModelError,
    MapWriteError,
    VprError,
)
from vpr_ros.maps.address import map_path
from vpr_ros.maps.check import check_pages
from vpr_ros.maps.merge import merge
from vpr_ros.maps.place_map import IN_MEMORY, PlaceMap
from vpr_ros.nodes.outputs.messages import to_time
from vpr_ros.nodes.outputs.status import map_info
from vpr_ros.nodes.responder import Responder
from vpr_ros.nodes.services.packages import package_share

Clock = Callable[[], int]  # nanoseconds
Response = TypeVar('Response', LoadMap.Response, SaveMap.Response, MergeMap.Response)


class WrongModeError(VprError):
    """What is asked for is not done in the mode of the node."""


class NoNameError(VprError):
    """A map in memory was to be saved without a name."""


# The first that fits; what is not named is UNDEFINED.
READING: dict[type[Exception], str] = {
    MapMissingError: 'DOES_NOT_EXIST',
    MapAddressError: 'DOES_NOT_EXIST',
    MapMetadataError: 'INVALID_METADATA',
    MapDamagedError: 'INVALID_DATA',
    MapModelError: 'MODEL_MISMATCH',
    MapFormatError: 'VERSION',
    MapFrameError: 'FRAME_MISMATCH',
    WrongModeError: 'WRONG_MODE',
    MemoryError: 'NO_MEMORY',
}
WRITING: dict[type[Exception], str] = {
    MapExistsError: 'EXISTS',
    MapAddressError: 'NOT_WRITTEN',
    MapWriteError: 'NOT_WRITTEN',
    NoNameError: 'NO_NAME',
}


def load_map(
    responder: Responder, request: LoadMap.Request, now_ns: Clock = time.time_ns
) -> LoadMap.Response:
    """Search another map from now on; when that fails, the one before stays in use.

    Args:
        responder: of the node, in mode localize.
        request: it.
        now_ns: clock of the node.

    Returns:
        The answer; never raises.
    """

    def act(response: LoadMap.Response) -> str:
        if responder.config.mode != 'localize':
            raise WrongModeError(
                f'in mode {responder.config.mode} the node records into its map: no other can be '
                'loaded; merge_map adds the places of one'
            )
        path = map_path(request.map_url, package_share)
        if request.verify:
            check_pages(path)
        model, before = responder.recognizer.model, responder.recognizer.place_map
        _use(responder, PlaceMap.open(path, model.require_weights(), model.name))
        before.close()
        return f'{path}: {len(responder.recognizer.place_map)} places'

    return _answered(responder, LoadMap.Response(), READING, now_ns, act)


def save_map(
    responder: Responder, request: SaveMap.Request, now_ns: Clock = time.time_ns
) -> SaveMap.Response:
    """Write the map; it is on the disk when this returns.

    Args:
        responder: of the node, in any mode.
        request: it; without a name the map's own file is made durable.
        now_ns: clock of the node.

    Returns:
        The answer; never raises.
    """

    def act(response: SaveMap.Response) -> str:
        place_map = responder.recognizer.place_map
        if not request.map_url and place_map.path == IN_MEMORY:
            raise NoNameError('the map is kept in memory: give the file in map_url to save it to')
        path = map_path(request.map_url or place_map.path)
        revision = place_map.info.revision
        place_map.save_as(path, request.overwrite)
        if place_map.info.revision != revision:
            responder.map_changed()
        return f'{path}: {len(place_map)} places'

    return _answered(responder, SaveMap.Response(), WRITING, now_ns, act)


def merge_map(
    responder: Responder, request: MergeMap.Request, now_ns: Clock = time.time_ns
) -> MergeMap.Response:
    """Add the places of another map to the one in use, all or none; they are searched at once.

    Args:
        responder: of the node, in mode map or both.
        request: it.
        now_ns: clock of the node.

    Returns:
        The answer; never raises.
    """

    def act(response: MergeMap.Response) -> str:
        if responder.config.mode == 'localize':
            raise WrongModeError(
                'in mode localize the map is only read: merge into it in mode map or both, or '
                'with `vpr map merge`'
            )
        path, place_map = map_path(request.map_url, package_share), responder.recognizer.place_map
        with PlaceMap.open(path, None) as source:
            gained = merge(place_map, source)
        response.places_added = gained.places
        responder.recognizer.follow_map()
        responder.map_changed()
        return f'{gained.places} places of {path} added, {len(place_map)} in all'

    return _answered(responder, MergeMap.Response(), READING, now_ns, act)


def _use(responder: Responder, place_map: PlaceMap) -> None:
    try:
        responder.use(place_map)
    except BaseException:
        if responder.recognizer.place_map is not place_map:
            place_map.close()
        raise


def _answered(
    responder: Responder,
    response: Response,
    codes: dict[type[Exception], str],
    now_ns: Clock,
    act: Callable[[Response], str],
) -> Response:
    try:
        response.message = act(response)
        response.result = response.SUCCESS
    except Exception as error:
        response.message = _sentence(error)
        response.result = _code(response, codes, error)
        if not isinstance(error, VprError):
            responder.failed(error)
    response.info = _info(responder, now_ns)
    return response


def _code(response: Response, codes: dict[type[Exception], str], error: Exception) -> int:
    named = (name for kind, name in codes.items() if isinstance(error, kind))
    return getattr(response, next(named, 'UNDEFINED'), response.UNDEFINED)


def _sentence(error: Exception) -> str:
    if isinstance(error, VprError):
        return str(error)
    if isinstance(error, MemoryError):
        return 'there is not enough memory for this map beside the one in use'
    return f'it failed, and the log of the node says where: {error!r}'


def _info(responder: Responder, now_ns: Clock) -> MapInfo:
    """Of the map in use now; empty where even that fails."""
    recognizer = responder.recognizer
    try:
        return map_info(recognizer.place_map, recognizer.model.id, to_time(now_ns()))
    except Exception as error:
        responder.failed(error)
        return MapInfo()
